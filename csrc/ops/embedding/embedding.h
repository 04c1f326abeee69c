// Rows of a table picked by index.
#pragma once

#include "core/tensor.h"

namespace pyfast {

struct EmbeddingParams {
  std::int64_t padding_idx;  // whose row gets no gradient; -1: none
  bool scale_grad_by_freq;   // each row's gradient is divided by how often the row was picked
};

// IndexError for an index outside [0, rows). Apart from the other checks, because a GPU's indices
// cannot be read here.
void check_indices(const char* op, const TensorView& indices, std::int64_t rows);
// (*indices.shape, weight.shape[1])
Dims check_embedding(const TensorView& indices, const TensorView& weight);
EmbeddingParams check_embedding_backward(const TensorView& grad, const TensorView& indices,
                                         std::int64_t rows, std::int64_t padding_idx,
                                         bool scale_grad_by_freq);

// output[i..., :] = weight[indices[i...], :]. Writes output.
void embedding_forward(const TensorView& indices, const TensorView& weight,
                       const TensorView& output);
// grad_weight[r, :] = sum of grad over the places that picked r, in their order. Writes all rows.
void embedding_backward(const EmbeddingParams& params, const TensorView& grad,
                        const TensorView& indices, const TensorView& grad_weight);

namespace reference {
void embedding_forward(const TensorView& indices, const TensorView& weight,
                       const TensorView& output);
void embedding_backward(const EmbeddingParams& params, const TensorView& grad,
                        const TensorView& indices, const TensorView& grad_weight);
}  // namespace reference

}  // namespace pyfast
