// simd/math.h and simd/vec.h of the running instruction set, for the tests to look at.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

enum class SimdFunction : std::uint8_t { exp, exp2, expm1, log, log1p, tanh, sigmoid, erf };

template <class T>
struct SimdKernels {
  // y = function(x), n contiguous elements
  void (*evaluate)(SimdFunction function, T* y, const T* x, std::int64_t n);
  // The name of the first operation of vec<T> that misbehaves; null when none does.
  const char* (*selftest)();
};

PYFAST_KERNEL_TABLE(SimdKernels, simd_kernels)

}  // namespace pyfast
