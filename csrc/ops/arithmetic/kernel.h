// Inner loops of the arithmetic on large arrays, over contiguous results.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/arithmetic/arithmetic.h"

namespace pyfast {

template <class T>
struct ArithmeticKernels {
  // y[i] = a[i a_step] operation b[i b_step]; steps are 0 or 1
  void (*binary)(Binary operation, T* y, const T* a, std::int64_t a_step, const T* b,
                 std::int64_t b_step, std::int64_t n);
  void (*elementary)(Elementary function, T* y, const T* x, std::int64_t n);
};

PYFAST_KERNEL_TABLE(ArithmeticKernels, arithmetic_kernels)

}  // namespace pyfast
