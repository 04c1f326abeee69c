// Inner loops of softmax: contiguous rows, or a bundle of neighbouring columns.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

template <class T>
struct SoftmaxKernels {
  // `rows` rows of n contiguous elements, one after the other
  void (*forward_rows)(T* y, const T* x, std::int64_t rows, std::int64_t n, bool log);
  void (*backward_rows)(T* dx, const T* g, const T* y, std::int64_t rows, std::int64_t n, bool log);
  // `columns` neighbouring columns of n elements, `stride` apart
  void (*forward_columns)(T* y, const T* x, std::int64_t n, std::int64_t columns,
                          std::int64_t stride, bool log);
  void (*backward_columns)(T* dx, const T* g, const T* y, std::int64_t n, std::int64_t columns,
                           std::int64_t stride, bool log);
};

PYFAST_KERNEL_TABLE(SoftmaxKernels, softmax_kernels)

}  // namespace pyfast
