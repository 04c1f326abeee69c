// Matrix products and their gradients as contractions of strided arrays, for GPU and host.
#pragma once

#include "cuda/core/axes.h"
#include "cuda/core/contraction.h"
#include "ops/matmul/layout.h"

namespace pyfast::cuda {

// An operand of a contraction that is an array of any strides.
struct StridedMap {
  Axes batch;
  std::int64_t row = 0;
  Axes depth;
  bool rows_adjacent = false;

  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t b, std::int64_t r, std::int64_t k) const {
    return batch.offset(b) + r * row + depth.offset(k);
  }
};

// out (batch, rows, columns), in C order.
struct Product {
  Contraction size;
  StridedMap a, b;
  bool plain = true;  // no operand has more than Axes::kMost axes of its own kind
};

// linear: rows of `in` elements by a weight of `out` rows.
Product linear_product(std::int64_t rows, std::int64_t in, std::int64_t out);
Product linear_input_gradient(std::int64_t rows, std::int64_t in, std::int64_t out);
Product linear_weight_gradient(std::int64_t rows, std::int64_t in, std::int64_t out);

// matmul: gradients sum over the batch axes along which their operand was broadcast; those of
// `packed`, the layout of C-ordered arrays of the operands' shapes, whose stride there is 0. (An
// array may have other strides of 0.) Not for gradients without elements.
Product matmul_product(const MatmulLayout& layout);
Product matmul_input_gradient(const MatmulLayout& layout, const MatmulLayout& packed);
Product matmul_other_gradient(const MatmulLayout& layout, const MatmulLayout& packed);
MatmulLayout packed_layout(const TensorView& input, const TensorView& other,
                           const TensorView& grad);

}  // namespace pyfast::cuda
