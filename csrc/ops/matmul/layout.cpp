#include "ops/matmul/layout.h"

namespace pyfast {

namespace {

// The batch axes of x, which come before its last `matrix_axes`, as seen from `batch`.
Dims batch_strides(const TensorView& x, int matrix_axes, const Dims& batch) {
  const int own = x.rank() - matrix_axes, lead = batch.rank() - own;
  Dims strides(batch.span());
  for (int i = 0; i < batch.rank(); ++i) {
    const bool broadcast = i < lead || (x.shape[i - lead] == 1 && batch[i] != 1);
    strides[i] = broadcast ? 0 : x.strides[i - lead];
  }
  return strides;
}

}  // namespace

std::int64_t Batched::offset(const Dims& batch, std::int64_t index) const {
  std::int64_t at = 0;
  for (int i = batch.rank() - 1; i >= 0; --i) {
    at += index % batch[i] * batch_strides[i];
    index /= batch[i];
  }
  return at;
}

MatmulLayout::MatmulLayout(const TensorView& a, const TensorView& b, const TensorView& c) {
  const bool row_vector = a.rank() == 1, column_vector = b.rank() == 1;
  const int kept = 2 - row_vector - column_vector;
  for (int i = 0; i < c.rank() - kept; ++i) batch.push_back(c.shape[i]);
  k = a.shape.back();
  input = {batch_strides(a, row_vector ? 1 : 2, batch), 0, a.strides.back()};
  other = {batch_strides(b, column_vector ? 1 : 2, batch), 0, 0};
  output = {batch_strides(c, kept, batch), 0, 0};
  if (!row_vector) {
    n = a.shape[a.rank() - 2];
    input.row_stride = a.strides[a.rank() - 2];
    output.row_stride = c.strides[c.rank() - kept];
  }
  other.row_stride = b.strides[b.rank() - (column_vector ? 1 : 2)];
  if (!column_vector) {
    m = b.shape.back();
    other.col_stride = b.strides.back();
    output.col_stride = c.strides.back();
  }
}

}  // namespace pyfast
