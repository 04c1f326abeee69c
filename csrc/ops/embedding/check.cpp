#include "core/shape.h"
#include "ops/embedding/embedding.h"

namespace pyfast {

Dims check_embedding(const TensorView& indices, const TensorView& weight) {
  const char* op = "embedding";
  require_rank({op, "weight"}, weight, 2);
  if (indices.rank() >= kMaxRank)
    throw ValueError(concat(op, ": input has too many dimensions: ", indices.shape));
  Dims shape(indices.shape.span());
  shape.push_back(weight.shape[1]);
  checked_numel(op, shape);
  return shape;
}

EmbeddingParams check_embedding_backward(const TensorView& grad, const TensorView& indices,
                                         std::int64_t rows, std::int64_t padding_idx,
                                         bool scale_grad_by_freq) {
  const char* op = "embedding_backward";
  require_min_rank({op, "grad"}, grad, 1);
  Dims shape(indices.shape.span());
  if (indices.rank() < kMaxRank) shape.push_back(grad.shape.back());
  require_shape({op, "grad"}, grad, shape);
  if (rows < 0) throw ValueError(concat(op, ": rows must not be negative, got ", rows));
  if (padding_idx < -1 || padding_idx >= rows)
    throw ValueError(
        concat(op, ": padding_idx must be in [0, ", rows, ") or -1, got ", padding_idx));
  return {padding_idx, scale_grad_by_freq};
}

}  // namespace pyfast
