// What the machine is: instruction sets, caches, cores. Read once, never changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/isa.h"

namespace pyfast {

Isa detect_isa();  // the best ISA that this processor and its operating system run

// What is wrong with PYFAST_ISA, fit for a warning; null when nothing is.
const char* isa_env_problem();

struct CacheSizes {  // bytes of one instance; 0 where the system doesn't tell
  std::int64_t l1d, l2, l3;
};
CacheSizes cache_sizes();

std::string cpu_model();               // "unknown" where the system doesn't tell
std::vector<std::string> cpu_flags();  // the features kernels might care about: "avx2", "amx_bf16"

// Cores this process may use at once: affinity, bounded by the cgroup's quota (rounded up).
int available_cores();

}  // namespace pyfast
