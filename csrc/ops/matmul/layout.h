// The operands of a matrix product as batches of matrices.
#pragma once

#include "core/tensor.h"

namespace pyfast {

// A batch of matrices: strides of the batch axes (0 where broadcast), of rows and of columns.
struct Batched {
  Dims batch_strides;
  std::int64_t row_stride = 0, col_stride = 0;  // 0 along the axis a vector lacks

  // Where matrix `index` of the batch (in C order over `batch`) begins.
  std::int64_t offset(const Dims& batch, std::int64_t index) const;
};

struct MatmulLayout {
  Dims batch;
  std::int64_t n = 1, m = 1, k = 0;
  Batched input, other, output;

  // `output` any view of the output's shape: the output itself, or its gradient.
  MatmulLayout(const TensorView& input, const TensorView& other, const TensorView& output);
};

}  // namespace pyfast
