// Inner loops of glu and prelu.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

template <class T>
struct GatedKernels {
  // y = a sigmoid(b) and its derivatives, over n contiguous elements
  void (*glu)(T* y, const T* a, const T* b, std::int64_t n);
  void (*glu_backward)(T* da, T* db, const T* g, const T* a, const T* b, std::int64_t n);
  // one channel: n contiguous elements of one slope; backward returns the slope's gradient
  void (*prelu)(T* y, const T* x, T slope, std::int64_t n);
  double (*prelu_backward)(T* dx, const T* g, const T* x, T slope, std::int64_t n);
  // n channels side by side, a slope each; backward adds to the slopes' gradients
  void (*prelu_columns)(T* y, const T* x, const T* slopes, std::int64_t n);
  void (*prelu_columns_backward)(T* dx, double* dslopes, const T* g, const T* x, const T* slopes,
                                 std::int64_t n);
};

PYFAST_KERNEL_TABLE(GatedKernels, gated_kernels)

}  // namespace pyfast
