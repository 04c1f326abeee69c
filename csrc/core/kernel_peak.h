// The fused multiply-adds that one core can do: what every kernel's speed is compared with.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

template <class T>
struct PeakKernels {
  // `rounds` multiply-adds on each of several independent registers; the flops that were done.
  // sink takes one register (at most 64 bytes), so that nothing is optimised away.
  double (*multiply_add)(T* sink, std::int64_t rounds);
};

PYFAST_KERNEL_TABLE(PeakKernels, peak_kernels)

}  // namespace pyfast
