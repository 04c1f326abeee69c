#include "core/memory.h"
#include "gemm/rows.h"
#include "ops/matmul/layout.h"
#include "ops/matmul/matmul.h"

namespace pyfast {

namespace {

using gemm::Epilogue;
using gemm::Matrix;

template <class T>
Epilogue<T> into(T* c, std::int64_t row_stride) {
  Epilogue<T> epilogue;
  epilogue.c = c;
  epilogue.row_stride = row_stride;
  return epilogue;
}

// A batch times one matrix, its rows evenly spaced: one tall product. False where it is not so.
template <class T>
bool as_one_product(const MatmulLayout& s, const TensorView& input, const TensorView& other,
                    const TensorView& output) {
  if (other.rank() > 2 || input.rank() < 3) return false;
  const auto row_stride = gemm::even_row_stride(input, input.rank() - 1);
  if (!row_stride) return false;
  gemm::matmul(
      s.batch.numel() * s.n, s.m, s.k, Matrix<T>{input.as<T>(), *row_stride, s.input.col_stride},
      Matrix<T>{other.as<T>(), s.other.row_stride, s.other.col_stride}, into(output.as<T>(), s.m));
  return true;
}

// One side of a product that is summed over several matrices: its rows, each `depth` long.
template <class T>
struct Side {
  const T* data;
  std::int64_t row_stride, depth_stride;
};

// The step of a depth that runs on through evenly spaced matrices as through one; 0 if it does not.
template <class T>
std::int64_t running_step(const Side<T>& side, std::int64_t depth, const std::int64_t* offsets,
                          std::int64_t count) {
  const std::int64_t step = depth == 1 ? offsets[1] - offsets[0] : side.depth_stride;
  for (std::int64_t i = 1; i < count; ++i)
    if (offsets[i] - offsets[i - 1] != depth * step) return 0;
  return step;
}

// c (m x n, contiguous) = sum over i < count of left_i right_i^T, where left_i is m x depth and
// right_i is n x depth: one product over depths laid end to end.
template <class T>
void sum_of_products(std::int64_t m, std::int64_t n, std::int64_t depth, std::int64_t count,
                     Side<T> left, const std::int64_t* left_offsets, Side<T> right,
                     const std::int64_t* right_offsets, T* c) {
  if (count > 1) {
    const std::int64_t left_step = running_step(left, depth, left_offsets, count);
    const std::int64_t right_step = running_step(right, depth, right_offsets, count);
    if (left_step != 0 && right_step != 0) {
      left.depth_stride = left_step;
      right.depth_stride = right_step;
      depth *= count;
      count = 1;
    }
  }
  if (count == 1)
    return gemm::matmul(
        m, n, depth, Matrix<T>{left.data + left_offsets[0], left.row_stride, left.depth_stride},
        Matrix<T>{right.data + right_offsets[0], right.depth_stride, right.row_stride}, into(c, n));
  const gemm::ChainedSource<T> a(left.data, left.row_stride, left.depth_stride, depth,
                                 left_offsets);
  const gemm::ChainedSource<T> b(right.data, right.row_stride, right.depth_stride, depth,
                                 right_offsets);
  const gemm::MatrixSink<T> sink(into(c, n));
  gemm::gemm(gemm::Problem<T>{m, n, depth * count, gemm::source<T>(a), gemm::source<T>(b),
                              gemm::sink<T>(sink)});
}

// The batch axes, split into those along which an operand has matrices of its own and those along
// which it was broadcast, so that its gradient is a sum.
struct Reduction {
  Dims kept, summed;
  Dims kept_axes, summed_axes;

  // `shape` is the operand's, whose last `matrix_axes` are its matrices'.
  Reduction(const Dims& batch, const Dims& shape, int matrix_axes) {
    const int lead = batch.rank() - (shape.rank() - matrix_axes);
    for (int i = 0; i < batch.rank(); ++i) {
      const bool own = i >= lead && shape[i - lead] == batch[i];
      (own ? kept : summed).push_back(batch[i]);
      (own ? kept_axes : summed_axes).push_back(i);
    }
  }
  // The strides of `x` along some of the batch axes.
  static Dims pick(const Batched& x, const Dims& axes) {
    Dims strides;
    for (int i = 0; i < axes.rank(); ++i)
      strides.push_back(x.batch_strides[static_cast<int>(axes[i])]);
    return strides;
  }
};

// Offsets of the matrices of `x` along the axes that are summed.
Workspace<std::int64_t> summed_offsets(const Reduction& r, const Batched& x) {
  const Batched along{Reduction::pick(x, r.summed_axes), 0, 0};
  Workspace<std::int64_t> offsets(r.summed.numel());
  for (std::int64_t i = 0; i < offsets.size(); ++i) offsets[i] = along.offset(r.summed, i);
  return offsets;
}

// The gradient of one operand, m x n matrices in C order: products over `depth` of the matrices of
// two batches, given by their sides.
template <class T>
void gradient(const Reduction& r, std::int64_t m, std::int64_t n, std::int64_t depth,
              const Side<T>& left, const Batched& left_batch, const Side<T>& right,
              const Batched& right_batch, T* out) {
  const Batched left_kept{Reduction::pick(left_batch, r.kept_axes), 0, 0};
  const Batched right_kept{Reduction::pick(right_batch, r.kept_axes), 0, 0};
  const auto left_offsets = summed_offsets(r, left_batch);
  const auto right_offsets = summed_offsets(r, right_batch);
  const std::int64_t count = r.summed.numel();
  gemm::for_each_product(r.kept.numel(), m, n, depth * count, [&](std::int64_t i) {
    Side<T> a = left, b = right;
    a.data += left_kept.offset(r.kept, i);
    b.data += right_kept.offset(r.kept, i);
    sum_of_products(m, n, depth, count, a, left_offsets.data(), b, right_offsets.data(),
                    out + i * m * n);
  });
}

}  // namespace

void matmul_forward(const TensorView& input, const TensorView& other, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const MatmulLayout s(input, other, output);
    if (as_one_product<T>(s, input, other, output)) return;
    gemm::for_each_product(s.batch.numel(), s.n, s.m, s.k, [&](std::int64_t b) {
      gemm::matmul(s.n, s.m, s.k,
                   Matrix<T>{input.as<T>() + s.input.offset(s.batch, b), s.input.row_stride,
                             s.input.col_stride},
                   Matrix<T>{other.as<T>() + s.other.offset(s.batch, b), s.other.row_stride,
                             s.other.col_stride},
                   into(output.as<T>() + b * s.n * s.m, s.m));
    });
  });
}

void matmul_backward(const TensorView& grad, const TensorView& input, const TensorView& other,
                     const TensorView& grad_input, const TensorView& grad_other) {
  visit(input.dtype, [&]<class T>() {
    const MatmulLayout s(input, other, grad);
    const Side<T> rows{grad.as<T>(), s.output.row_stride, s.output.col_stride};
    const Side<T> columns{grad.as<T>(), s.output.col_stride, s.output.row_stride};
    if (grad_input.defined)
      gradient<T>(Reduction(s.batch, input.shape, input.rank() == 1 ? 1 : 2), s.n, s.k, s.m, rows,
                  s.output, {other.as<T>(), s.other.row_stride, s.other.col_stride}, s.other,
                  grad_input.as<T>());
    if (grad_other.defined)
      gradient<T>(Reduction(s.batch, other.shape, other.rank() == 1 ? 1 : 2), s.k, s.m, s.n,
                  {input.as<T>(), s.input.col_stride, s.input.row_stride}, s.input, columns,
                  s.output, grad_other.as<T>());
  });
}

}  // namespace pyfast
