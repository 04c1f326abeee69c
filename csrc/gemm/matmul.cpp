// Strided matrices as sources and sink, and the shapes that are better not packed.
#include <algorithm>

#include "core/memory.h"
#include "gemm/gemm.h"
#include "gemm/kernel.h"

namespace pyfast::gemm {

template <class T>
MatrixSource<T>::MatrixSource(const T* data, std::int64_t row_stride, std::int64_t depth_stride)
    : data_(data),
      row_stride_(row_stride),
      depth_stride_(depth_stride),
      pack_(gemm_kernels<T>().pack) {}

template <class T>
ChainedSource<T>::ChainedSource(const T* data, std::int64_t row_stride, std::int64_t depth_stride,
                                std::int64_t depth, const std::int64_t* offsets)
    : data_(data),
      row_stride_(row_stride),
      depth_stride_(depth_stride),
      depth_(depth),
      offsets_(offsets),
      pack_(gemm_kernels<T>().pack) {}

template <class T>
void ChainedSource<T>::pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
                            std::int64_t depth) const {
  for (const std::int64_t end = k + depth; k < end;) {
    const std::int64_t at = k % depth_, here = std::min(end - k, depth_ - at);
    pack_(panel, data_ + offsets_[k / depth_] + row * row_stride_ + at * depth_stride_, row_stride_,
          depth_stride_, rows, tile, here);
    panel += here * tile;
    k += here;
  }
}

template <class T>
MatrixSink<T>::MatrixSink(const Epilogue<T>& epilogue)
    : epilogue_(epilogue), store_(gemm_kernels<T>().store) {}

namespace {

// The same product written as C^T = B^T A^T.
template <class T>
Matrix<T> transposed(const Matrix<T>& x) {
  return {x.data, x.col_stride, x.row_stride};
}
template <class T>
Epilogue<T> transposed(Epilogue<T> c) {
  std::swap(c.row_stride, c.col_stride);
  std::swap(c.row_bias, c.col_bias);
  std::swap(c.residual_row_stride, c.residual_col_stride);
  return c;
}

// How x B is cut: slices of its columns, and where these are few, pieces of its depth.
struct RowCut {
  std::int64_t width, depth, slices, pieces;

  RowCut(std::int64_t n, std::int64_t k, bool along)
      // Rows of B are combined as far as they go, for pages' sake; whole bundles of the kernels'.
      : width(along ? (grain_for(k) + 63) / 64 * 64 : 1024), slices((n + width - 1) / width) {
    constexpr std::int64_t kWorth = 1 << 18, kMost = 8, kStep = 64;
    const std::int64_t chunks = std::min(kMost, n * k / kWorth);
    const std::int64_t most = std::max<std::int64_t>(1, chunks / slices);
    depth = std::max(kStep, ((k + most - 1) / most + kStep - 1) / kStep * kStep);
    pieces = std::max<std::int64_t>(1, (k + depth - 1) / depth);
  }
};

// A single row: x B, for a B that is contiguous one way or the other; false where it is not.
template <class T>
bool row_times_matrix(std::int64_t n, std::int64_t k, const Matrix<T>& a, const Matrix<T>& b,
                      const Epilogue<T>& c) {
  if (b.row_stride != 1 && b.col_stride != 1) return false;
  const auto& kernels = gemm_kernels<T>();
  const MatrixSink<T> sink(c);
  Workspace<T> copy(a.col_stride == 1 ? 0 : k);
  for (std::int64_t i = 0; i < copy.size(); ++i) copy[i] = a.data[i * a.col_stride];
  const T* const x = a.col_stride == 1 ? a.data : copy.data();
  const RowCut cut(n, k, b.row_stride == 1);
  Workspace<T> y(cut.pieces * n);
  parallel_for(cut.slices * cut.pieces, 1, [&](std::int64_t chunk, std::int64_t) {
    const std::int64_t begin = chunk / cut.pieces * cut.width, piece = chunk % cut.pieces;
    const std::int64_t end = std::min(begin + cut.width, n), at = piece * cut.depth;
    const std::int64_t depth = std::min(cut.depth, k - at);
    const T* const from = b.data + begin * b.col_stride + at * b.row_stride;
    T* const to = y.data() + piece * n + begin;
    if (b.row_stride == 1)
      kernels.dot_rows(to, from, b.col_stride, x + at, end - begin, depth);
    else
      kernels.combine_rows(to, from, b.row_stride, x + at, end - begin, depth);
    if (cut.pieces == 1) sink.store(to, n, 0, 1, begin, end - begin);
  });
  for (std::int64_t step = 1; step < cut.pieces; step *= 2)
    for (std::int64_t i = 0; i + step < cut.pieces; i += 2 * step)
      kernels.add(y.data() + i * n, y.data() + (i + step) * n, n);
  if (cut.pieces > 1) sink.store(y.data(), n, 0, 1, 0, n);
  return true;
}

// A few rows: X B, for a B whose columns are contiguous, read where it lies. Packing it would cost
// more than the products do.
template <class T>
bool rows_times_matrix(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix<T>& a,
                       const Matrix<T>& b, const Epilogue<T>& c) {
  if (m > kFewRows || b.row_stride != 1 || k < kFewDepth) return false;
  const auto& kernels = gemm_kernels<T>();
  const MatrixSink<T> sink(c);
  // The rows of a matrix often lie a power of two apart, and so would share a few sets of L1.
  const std::int64_t stride = (k + 15) / 16 * 16 + 16;
  const Workspace<T> x(m * stride);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t d = 0; d < k; ++d)
      x[i * stride + d] = a.data[i * a.row_stride + d * a.col_stride];
  const std::int64_t groups = (m + kFewVectors - 1) / kFewVectors,
                     group = (m + groups - 1) / groups;
  const std::int64_t grain = std::min<std::int64_t>((grain_for(m * k) + 95) / 96 * 96, 96 * 8);
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    const Workspace<T> y(m * count);
    for (std::int64_t at = begin; at < end; at += kDotRows) {
      const std::int64_t here = std::min<std::int64_t>(kDotRows, end - at);
      for (std::int64_t i = 0; i < m; i += group) {
        const std::int64_t vectors = std::min(group, m - i);
        kernels.dot_few[vectors - 1](y.data() + i * count + at - begin, count,
                                     b.data + at * b.col_stride, b.col_stride,
                                     x.data() + i * stride, stride, here, k);
      }
    }
    sink.store(y.data(), count, 0, m, begin, count);
  });
  return true;
}

}  // namespace

template <class T>
void matmul(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix<T>& a, const Matrix<T>& b,
            const Epilogue<T>& c) {
  if (m == 0 || n == 0) return;
  // Vectors run along C's columns: a narrow C is computed lying down.
  if (n < m && n < gemm_kernels<T>().width && !c.row_scale)
    return matmul(n, m, k, transposed(b), transposed(a), transposed(c));
  if (m == 1 && row_times_matrix(n, k, a, b, c)) return;
  if (rows_times_matrix(m, n, k, a, b, c)) return;
  const MatrixSource<T> left(a.data, a.row_stride, a.col_stride);
  const MatrixSource<T> right(b.data, b.col_stride, b.row_stride);
  const MatrixSink<T> out(c);
  gemm(Problem<T>{m, n, k, source<T>(left), source<T>(right), sink<T>(out)});
}

template class MatrixSource<float>;
template class MatrixSource<double>;
template class ChainedSource<float>;
template class ChainedSource<double>;
template class MatrixSink<float>;
template class MatrixSink<double>;
template void matmul(std::int64_t, std::int64_t, std::int64_t, const Matrix<float>&,
                     const Matrix<float>&, const Epilogue<float>&);
template void matmul(std::int64_t, std::int64_t, std::int64_t, const Matrix<double>&,
                     const Matrix<double>&, const Epilogue<double>&);

}  // namespace pyfast::gemm
