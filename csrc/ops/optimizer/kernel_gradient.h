// Inner loops over the gradients, n contiguous elements.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

template <class T>
struct GradientKernels {
  double (*sum_of_squares)(const T* g, std::int64_t n);
  double (*sum_of_magnitudes)(const T* g, std::int64_t n);
  double (*largest)(const T* g, std::int64_t n);
  void (*scale)(T* g, std::int64_t n, double factor);
  void (*clamp)(T* g, std::int64_t n, double limit);
};

PYFAST_KERNEL_TABLE(GradientKernels, gradient_kernels)

}  // namespace pyfast
