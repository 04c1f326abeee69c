#include "core/cpu.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string_view>

#if defined(__x86_64__) || defined(_M_X64)
#define PYFAST_X86
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace pyfast {

namespace {

#ifdef PYFAST_X86

struct Registers {
  std::uint32_t word[4];  // eax, ebx, ecx, edx
};

Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  Registers r{};
#ifdef _MSC_VER
  int words[4];
  __cpuid(words, static_cast<int>(leaf & 0x80000000u));
  if (static_cast<std::uint32_t>(words[0]) < leaf) return r;
  __cpuidex(words, static_cast<int>(leaf), static_cast<int>(subleaf));
  std::memcpy(r.word, words, sizeof words);
#else
  __get_cpuid_count(leaf, subleaf, &r.word[0], &r.word[1], &r.word[2], &r.word[3]);
#endif
  return r;
}

// The register state that the operating system saves: bits 1-2 AVX, 5-7 AVX-512, 17-18 AMX.
std::uint64_t enabled_state() {
  if (!(cpuid(1).word[2] >> 27 & 1)) return 0;  // no xgetbv
  std::uint32_t low, high;                      // the intrinsic needs a compiler flag of its own
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

constexpr std::uint64_t kAvxState = 0x6, kAvx512State = 0xe6, kAmxState = 0x60006;

struct Feature {
  const char* name;
  std::uint32_t leaf, subleaf;
  int word, bit;
  std::uint64_t state;
};

constexpr Feature kFeatures[] = {
    {"sse4_2", 1, 0, 2, 20, 0},
    {"avx", 1, 0, 2, 28, kAvxState},
    {"fma", 1, 0, 2, 12, kAvxState},
    {"f16c", 1, 0, 2, 29, kAvxState},
    {"avx2", 7, 0, 1, 5, kAvxState},
    {"bmi2", 7, 0, 1, 8, 0},
    {"avx512f", 7, 0, 1, 16, kAvx512State},
    {"avx512dq", 7, 0, 1, 17, kAvx512State},
    {"avx512cd", 7, 0, 1, 28, kAvx512State},
    {"avx512bw", 7, 0, 1, 30, kAvx512State},
    {"avx512vl", 7, 0, 1, 31, kAvx512State},
    {"avx512_vnni", 7, 0, 2, 11, kAvx512State},
    {"avx512_bf16", 7, 1, 0, 5, kAvx512State},
    {"avx512_fp16", 7, 0, 3, 23, kAvx512State},
    {"amx_tile", 7, 0, 3, 24, kAmxState},
    {"amx_bf16", 7, 0, 3, 22, kAmxState},
    {"amx_int8", 7, 0, 3, 25, kAmxState},
};

bool has(const Feature& f, std::uint64_t state) {
  return (cpuid(f.leaf, f.subleaf).word[f.word] >> f.bit & 1) != 0 && (state & f.state) == f.state;
}

std::string brand() {
  std::string text;
  for (std::uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const Registers r = cpuid(leaf);
    text.append(reinterpret_cast<const char*>(r.word), sizeof r.word);
  }
  text.resize(std::strlen(text.c_str()));
  const auto first = text.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// Leaf 4, which AMD has at 0x8000001d: one cache a subleaf.
void caches_by_cpuid(CacheSizes& sizes) {
  for (const std::uint32_t leaf : {4u, 0x8000001du}) {
    for (std::uint32_t i = 0; i < 16; ++i) {
      const auto [eax, ebx, ecx, edx] = cpuid(leaf, i).word;
      const std::uint32_t type = eax & 31, level = eax >> 5 & 7;
      if (type == 0) break;
      const std::int64_t ways = (ebx >> 22) + 1, partitions = (ebx >> 12 & 1023) + 1;
      const std::int64_t size = ways * partitions * ((ebx & 4095) + 1) * (std::int64_t{ecx} + 1);
      if (level == 1 && type == 1 && !sizes.l1d) sizes.l1d = size;
      if (level == 2 && !sizes.l2) sizes.l2 = size;
      if (level == 3 && !sizes.l3) sizes.l3 = size;
    }
  }
}

#endif  // PYFAST_X86

#ifdef __linux__

void caches_by_sysfs(CacheSizes& sizes) {
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    std::string type;
    int level = 0;
    std::int64_t size = 0;
    char unit = 0;
    std::ifstream(folder + "type") >> type;
    std::ifstream(folder + "level") >> level;
    std::ifstream(folder + "size") >> size >> unit;  // "48K"
    size <<= unit == 'K' ? 10 : unit == 'M' ? 20 : 0;
    if (type == "Instruction") continue;
    if (level == 1) sizes.l1d = size;
    if (level == 2) sizes.l2 = size;
    if (level == 3) sizes.l3 = size;
  }
}

std::string model_by_proc() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return {};
}

#endif  // __linux__

#ifdef __APPLE__

std::int64_t sysctl_size(const char* name) {
  std::int64_t value = 0;
  std::size_t bytes = sizeof value;
  return sysctlbyname(name, &value, &bytes, nullptr, 0) == 0 ? value : 0;
}

std::string sysctl_text(const char* name) {
  char text[256] = {};
  std::size_t bytes = sizeof text - 1;
  return sysctlbyname(name, text, &bytes, nullptr, 0) == 0 ? text : "";
}

#endif  // __APPLE__

struct IsaChoice {
  Isa isa;
  const char* problem;
};

// PYFAST_ISA bounds what was detected.
IsaChoice choose_isa() {
  const Isa detected = detect_isa();
  const char* text = std::getenv("PYFAST_ISA");
  if (!text || !*text) return {detected, nullptr};
  Isa bound = Isa::scalar;
  bool known = false;
  for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx}) {
    if (std::strcmp(text, isa_name(isa)) != 0) continue;
    bound = isa;
    known = true;
  }
  if (!known)
    return {detected, "PYFAST_ISA is none of scalar, neon, avx2, avx512, amx: it is ignored"};
  const bool foreign = (bound == Isa::neon) != (detected == Isa::neon);
  if (foreign && bound != Isa::scalar && detected != Isa::scalar)
    return {detected, "PYFAST_ISA names the instruction set of another processor: it is ignored"};
  return {bound < detected ? bound : detected, nullptr};
}

const IsaChoice& isa_choice() {
  static const IsaChoice choice = choose_isa();
  return choice;
}

}  // namespace

Isa detect_isa() {
#if defined(PYFAST_X86)
  const std::uint64_t state = enabled_state();
  bool avx2 = true, avx512 = true, amx = true;
  for (const Feature& feature : kFeatures) {
    const std::string_view name = feature.name;
    const bool present = has(feature, state);
    if (name == "avx2" || name == "fma" || name == "f16c" || name == "bmi2") avx2 &= present;
    if (name.starts_with("avx512") && !name.starts_with("avx512_")) avx512 &= present;
    if (name.starts_with("amx_")) amx &= present;
  }
  if (!avx2) return Isa::scalar;
  if (!avx512) return Isa::avx2;
  return amx ? Isa::amx : Isa::avx512;
#elif defined(__aarch64__) || defined(_M_ARM64)
  return Isa::neon;  // part of the architecture
#else
  return Isa::scalar;
#endif
}

Isa active_isa() { return isa_choice().isa; }
const char* isa_env_problem() { return isa_choice().problem; }

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar: return "scalar";
    case Isa::neon: return "neon";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::amx: return "amx";
  }
  return "?";
}

CacheSizes cache_sizes() {
  CacheSizes sizes{};
#if defined(__linux__)
  caches_by_sysfs(sizes);
#elif defined(__APPLE__)
  sizes = {sysctl_size("hw.l1dcachesize"), sysctl_size("hw.l2cachesize"),
           sysctl_size("hw.l3cachesize")};
#endif
#ifdef PYFAST_X86
  caches_by_cpuid(sizes);  // fills what is still missing
#endif
  return sizes;
}

std::string cpu_model() {
  std::string model;
#if defined(__APPLE__)
  model = sysctl_text("machdep.cpu.brand_string");
#elif defined(PYFAST_X86)
  model = brand();
#endif
#ifdef __linux__
  if (model.empty()) model = model_by_proc();
#endif
  return model.empty() ? "unknown" : model;
}

std::vector<std::string> cpu_flags() {
  std::vector<std::string> flags;
#if defined(PYFAST_X86)
  const std::uint64_t state = enabled_state();
  for (const Feature& feature : kFeatures)
    if (has(feature, state)) flags.emplace_back(feature.name);
#elif defined(__aarch64__) || defined(_M_ARM64)
  flags.emplace_back("neon");
#endif
  return flags;
}

}  // namespace pyfast
