#include "cuda/ops/matmul/product.h"

namespace pyfast::cuda {

namespace {

// Two axes of a matrix: the one an operand keeps, and the one that is summed over.
StridedMap matrix(std::int64_t row, std::int64_t depth, std::int64_t depth_stride) {
  StridedMap map;
  map.row = row;
  map.depth.push(depth, depth_stride);
  map.rows_adjacent = row == 1 && depth_stride != 1;
  return map;
}

Product finished(const Contraction& size, const StridedMap& a, const StridedMap& b, bool plain) {
  Product p{size, a, b, plain};
  p.size.splits = depth_splits(p.size);
  return p;
}

// One operand of a product over a batch: the axes along which `kept` moves are the batch's, the
// others are summed over before k.
struct Operand {
  const Batched& array;
  std::int64_t row, k;
};

bool lay_out(StridedMap& map, const Dims& batch, const Dims* kept, const Operand& x,
             std::int64_t depth) {
  bool fits = true;
  for (int i = 0; i < batch.rank(); ++i) {
    const bool summed = kept && (*kept)[i] == 0;
    fits = (summed ? map.depth : map.batch).push(batch[i], x.array.batch_strides[i]) && fits;
  }
  fits = map.depth.push(depth, x.k) && fits;
  map.row = x.row;
  map.rows_adjacent = x.row == 1 && x.k != 1;
  return fits;
}

Product product(const Dims& batch, const Dims* kept, Operand a, Operand b, std::int64_t rows,
                std::int64_t columns, std::int64_t depth) {
  StridedMap of_a, of_b;
  const bool a_fits = lay_out(of_a, batch, kept, a, depth);
  const bool fits = lay_out(of_b, batch, kept, b, depth) && a_fits;
  Contraction size{1, rows, columns, depth};
  for (int i = 0; i < batch.rank(); ++i)
    (kept && (*kept)[i] == 0 ? size.depth : size.batch) *= batch[i];
  return finished(size, of_a, of_b, fits);
}

}  // namespace

Product linear_product(std::int64_t rows, std::int64_t in, std::int64_t out) {
  return finished({1, rows, out, in}, matrix(in, in, 1), matrix(in, in, 1), true);
}

Product linear_input_gradient(std::int64_t rows, std::int64_t in, std::int64_t out) {
  return finished({1, rows, in, out}, matrix(out, out, 1), matrix(1, out, in), true);
}

Product linear_weight_gradient(std::int64_t rows, std::int64_t in, std::int64_t out) {
  return finished({1, out, in, rows}, matrix(1, rows, out), matrix(1, rows, in), true);
}

Product matmul_product(const MatmulLayout& m) {
  return product(m.batch, nullptr, {m.input, m.input.row_stride, m.input.col_stride},
                 {m.other, m.other.col_stride, m.other.row_stride}, m.n, m.m, m.k);
}

Product matmul_input_gradient(const MatmulLayout& m, const MatmulLayout& packed) {
  return product(m.batch, &packed.input.batch_strides,
                 {m.output, m.output.row_stride, m.output.col_stride},
                 {m.other, m.other.row_stride, m.other.col_stride}, m.n, m.k, m.m);
}

Product matmul_other_gradient(const MatmulLayout& m, const MatmulLayout& packed) {
  return product(m.batch, &packed.other.batch_strides,
                 {m.input, m.input.col_stride, m.input.row_stride},
                 {m.output, m.output.col_stride, m.output.row_stride}, m.k, m.m, m.n);
}

MatmulLayout packed_layout(const TensorView& input, const TensorView& other,
                           const TensorView& grad) {
  const auto packed = [](const TensorView& x) { return TensorView(nullptr, x.dtype, x.shape); };
  return {packed(input), packed(other), packed(grad)};
}

}  // namespace pyfast::cuda
