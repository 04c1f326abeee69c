// Embedding on the GPU: what csrc/ops/embedding/embedding.h promises. Indices are not read on the
// host: one outside the table picks a row of NaN, and its gradient goes nowhere.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/embedding/embedding.h"

namespace pyfast::cuda {

void embedding_forward(const TensorView& indices, const TensorView& weight,
                       const TensorView& output, cudaStream_t stream);
// `order` is a stable argsort of the flat indices: the places that picked a row then lie side by
// side, in their order, and one block adds them up.
void embedding_backward(const EmbeddingParams& params, const TensorView& grad,
                        const TensorView& indices, const TensorView& order,
                        const TensorView& grad_weight, cudaStream_t stream);
// Scales the picked rows whose norm is larger than max_norm down to it, in place; `order` as above.
void embedding_renorm(const TensorView& indices, const TensorView& order, double norm_type,
                      double max_norm, const TensorView& weight, cudaStream_t stream);
// output (..., classes) int64: 1 at each index; nowhere for one outside [0, classes).
void one_hot(const TensorView& indices, const TensorView& output, cudaStream_t stream);

}  // namespace pyfast::cuda
