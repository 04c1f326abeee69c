// The sum of a matrix over its rows: the bias gradient.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

template <class T>
struct LinearKernels {
  // sums[c] = sum of x[r * row_stride + c] over r < rows, in double, c < cols
  void (*sum_rows)(double* sums, const T* x, std::int64_t row_stride, std::int64_t rows,
                   std::int64_t cols);
};

PYFAST_KERNEL_TABLE(LinearKernels, linear_kernels)

}  // namespace pyfast
