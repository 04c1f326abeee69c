// Where a product goes and what happens to it on the way.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace pyfast::gemm {

// C(r, c) = activation(alpha * row_scale[r] * sum + row_bias[r] + col_bias[c] + residual(r, c))
template <class T>
struct Epilogue {
  T* c = nullptr;
  std::int64_t row_stride = 0, col_stride = 1;
  T alpha = 1;
  const T* row_scale = nullptr;  // null: 1
  const T* row_bias = nullptr;   // null: 0, as below
  const T* col_bias = nullptr;
  const T* residual = nullptr;  // may be c itself: then the product is added to what is there
  std::int64_t residual_row_stride = 0, residual_col_stride = 1;
  Activation activation = Activation::none;
  T* linear = nullptr;  // also gets the value before the activation, at c's strides
};

}  // namespace pyfast::gemm
