#include "gemm/amx.h"

#include <algorithm>
#include <memory>

#include "core/isa.h"
#include "core/precision.h"
#include "gemm/amx_engine.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pyfast::gemm {

namespace {

bool request_tiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr int kRequestPermission = 0x1023,
                kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool amx_ready() {
  static const bool ready = active_isa() == Isa::amx && request_tiles();
  return ready;
}

int amx_parts() { return 3 - static_cast<int>(matmul_precision()); }

namespace {

// What an element costs to split must be earned back by the products it takes part in.
double uses(std::int64_t m, std::int64_t n) {
  return static_cast<double>(m) * static_cast<double>(n) / static_cast<double>(m + n);
}
// In digits 40 x 512 by 512 deep gained 7 %, but 96^3 lost as much; in parts, at 128^3, 64 uses,
// the FMAs were still 10 % faster.
constexpr double kDigitUses = 36, kPartUses = 72, kFewerPartUses = 24;
constexpr std::int64_t kDigitDepths = 2 * kAmxDigitDepth;

bool digits_pay(std::int64_t m, std::int64_t n, std::int64_t k) {
  return amx_parts() == kAmxDigits && k >= kDigitDepths && uses(m, n) >= kDigitUses;
}
bool parts_pay(std::int64_t m, std::int64_t n, std::int64_t k) {
  return k >= kAmxDepth && uses(m, n) >= (amx_parts() == 3 ? kPartUses : kFewerPartUses);
}

}  // namespace

bool amx_pays(std::int64_t m, std::int64_t n, std::int64_t k) {
  return digits_pay(m, n, k) || parts_pay(m, n, k);
}

namespace {

template <class Format>
std::unique_ptr<const typename Format::Panels> pack_all(const Format& format, int parts,
                                                        const Source<float>& right,
                                                        std::int64_t rows, std::int64_t depth) {
  using Panels = typename Format::Panels;
  const AmxSide<Format> side(format, {right.pack, right.context}, rows, false);
  const std::int64_t kc = format.depths().block(depth), count = ceil_div(rows, kAmxPanel);
  const std::int64_t panels = ceil_div(depth, kc) * count, panel = side.panel_items(kc);
  std::unique_ptr<Panels> all(
      new Panels{{parts, kc, count, Workspace<typename Format::Item>(panels * panel),
                  Workspace<typename Format::Seen>(panels)}});
  parallel_for(panels, grain_for(8 * kc * kAmxPanel), [&](std::int64_t i, std::int64_t end) {
    for (; i < end; ++i) {
      all->seen[i] = {};
      side.pack(all->items.data() + i * panel, i % count * kAmxPanel,
                cut(i / count * kc, kc, depth), all->seen[i]);
    }
  });
  return all;
}

// By digits; false, and nothing is done, where a sample of the operands or the whole of the shared
// one does not suit them.
bool gemm_by_digits(const Problem<float>& p) {
  const DigitFormat format{std::min(kAmxSummed, 2 * p.chain)};
  const AmxSide<DigitFormat> a(format, p.a, p.m, true);
  const AmxSide<DigitFormat> b(format, p.b, p.n, false,
                               p.b.digits ? p.b.digits(p.b.context) : nullptr);
  const std::int64_t kc = format.depths().block(p.k);
  const auto sample = [&](const AmxSide<DigitFormat>& side) {
    constexpr std::int64_t kOneIn = 16 * kAmxPanel, kMost = 4;
    return side.sample(std::min(side.size() / kOneIn, kMost), cut(0, kc, p.k));
  };
  return format.products(sample(a), sample(b), kc) > 0 && AmxEngine(p, format, a, b).run();
}

}  // namespace

std::unique_ptr<const AmxPanels> amx_split(const Source<float>& right, std::int64_t rows,
                                           std::int64_t depth) {
  return pack_all(PartFormat{amx_parts()}, amx_parts(), right, rows, depth);
}
std::unique_ptr<const AmxDigits> amx_digits(const Source<float>& right, std::int64_t rows,
                                            std::int64_t depth) {
  return pack_all(DigitFormat(), kAmxDigits, right, rows, depth);
}

void amx_gemm_by_parts(const Problem<float>& p) {
  const PartFormat format{amx_parts()};
  const AmxPanels* panels = p.b.split ? p.b.split(p.b.context) : nullptr;
  if (panels && panels->parts != format.parts) panels = nullptr;  // the precision has changed since
  const AmxSide<PartFormat> a(format, p.a, p.m, true), b(format, p.b, p.n, false, panels);
  AmxEngine(p, format, a, b).run();
}

void amx_gemm(const Problem<float>& problem) {
  const std::int64_t m = problem.m, n = problem.n, k = problem.k;
  if (digits_pay(m, n, k) && gemm_by_digits(problem)) return;
  if (parts_pay(m, n, k)) return amx_gemm_by_parts(problem);
  fma_gemm(problem);
}

}  // namespace pyfast::gemm
