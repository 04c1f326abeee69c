// The GEMM engine: C = A B for operands that are packed by *sources* and results taken by a *sink*.
//
// A is M x K, B is K x N. The engine never looks at memory behind them: a source writes panels of
// its operand on demand (so a convolution's operand is gathered from the image while packing, and
// no im2col buffer exists), and the sink gets every finished tile of C once (so bias, activation
// and layout cost no pass of their own). For plain strided matrices say matmul(), at the end.
//
// Results depend on shapes, dtype and instruction set, never on the number of threads.
#pragma once

#include <cstdint>

#include "core/parallel.h"
#include "gemm/epilogue.h"

namespace pyfast::gemm {

// One operand, seen as rows that are `depth` = K long: A by its rows, B by its columns.
//
// pack() fills a panel of `tile` rows by `depth` steps, step after step:
//   panel[d * tile + r] = operand(row + r, k + d)   for r < rows, d < depth
// and zero for rows <= r < tile. Several threads may call it at once; it is called once per panel
// and depth block, and again where the blocking reads an operand twice.
struct AmxPanels;
struct AmxDigits;

template <class T>
struct Source {
  using Pack = void (*)(const void* context, T* panel, std::int64_t row, int rows, int tile,
                        std::int64_t k, std::int64_t depth);
  Pack pack;
  const void* context;
  // Where the operand is a plain matrix, some engines read it where it lies:
  //   operand(row, k) = along[row * stride + k], or across[k * stride + row]; null otherwise.
  const T* along = nullptr;
  const T* across = nullptr;
  std::int64_t stride = 0;
  // Where all of it is packed already (PackedMatrix): panels of engine's size, each of all depths.
  const T* panels = nullptr;
  // And split already for the tiles; null where that cannot be, as for left-hand operands.
  const AmxPanels* (*split)(const void* context) = nullptr;
  const AmxDigits* (*digits)(const void* context) = nullptr;
};

// Takes finished pieces of C: tile[r * ld + c] = C(row + r, col + c). Every element of C comes
// exactly once; pieces may be of any size and come from several threads at once.
template <class T>
struct Sink {
  using Store = void (*)(const void* context, const T* tile, std::int64_t ld, std::int64_t row,
                         std::int64_t rows, std::int64_t col, std::int64_t cols);
  Store store;
  const void* context;
  // Where C is wanted as it is: C(row, col) at plain[row * stride + col]. Some engines write there
  // instead; null otherwise.
  T* plain = nullptr;
  std::int64_t stride = 0;
};

// An object with a matching pack() or store() as source or sink; it must outlive the call.
template <class T, class S>
Source<T> source(const S& object) {
  Source<T> s{[](const void* context, T* panel, std::int64_t row, int rows, int tile,
                 std::int64_t k, std::int64_t depth) {
                static_cast<const S*>(context)->pack(panel, row, rows, tile, k, depth);
              },
              &object};
  if constexpr (requires { object.lies(s); }) object.lies(s);
  if constexpr (requires { object.split(); })
    s.split = [](const void* context) { return static_cast<const S*>(context)->split(); };
  if constexpr (requires { object.digits(); })
    s.digits = [](const void* context) { return static_cast<const S*>(context)->digits(); };
  return s;
}
template <class T, class S>
Sink<T> sink(const S& object) {
  Sink<T> s{[](const void* context, const T* tile, std::int64_t ld, std::int64_t row,
               std::int64_t rows, std::int64_t col, std::int64_t cols) {
              static_cast<const S*>(context)->store(tile, ld, row, rows, col, cols);
            },
            &object};
  if constexpr (requires { object.lies(s); }) object.lies(s);
  return s;
}

template <class T>
struct Problem {
  std::int64_t m, n, k;  // any may be 0; k = 0 gives the sink zeros
  Source<T> a, b;
  Sink<T> c;
  // Of multiply-adds at most on FMAs, their sums being added up; tiles must be as exact as of twice
  // as many.
  std::int64_t chain = 1 << 16;
};

template <class T>
void gemm(const Problem<T>& problem);
// The same on the processor's FMAs, whatever else it has.
template <class T>
void fma_gemm(const Problem<T>& problem);

template <class T>
using PackMatrix = void (*)(T* panel, const T* data, std::int64_t row_stride,
                            std::int64_t depth_stride, int rows, int tile, std::int64_t depth);

// A strided operand: element (row, k) at data[row * row_stride + k * depth_stride].
template <class T>
class MatrixSource {
 public:
  MatrixSource(const T* data, std::int64_t row_stride, std::int64_t depth_stride);
  void pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const {
    pack_(panel, data_ + row * row_stride_ + k * depth_stride_, row_stride_, depth_stride_, rows,
          tile, depth);
  }
  void lies(Source<T>& s) const {
    if (depth_stride_ == 1)
      s.along = data_, s.stride = row_stride_;
    else if (row_stride_ == 1)
      s.across = data_, s.stride = depth_stride_;
  }

 private:
  const T* data_;
  std::int64_t row_stride_, depth_stride_;
  PackMatrix<T> pack_;
};

// Several strided matrices of one shape whose depths are laid end to end: with it, a sum of
// products is one product. Piece i begins at data + offsets[i].
template <class T>
class ChainedSource {
 public:
  ChainedSource(const T* data, std::int64_t row_stride, std::int64_t depth_stride,
                std::int64_t depth, const std::int64_t* offsets);
  void pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const;

 private:
  const T* data_;
  std::int64_t row_stride_, depth_stride_, depth_;
  const std::int64_t* offsets_;
  PackMatrix<T> pack_;
};

// C in memory behind the usual epilogue.
template <class T>
class MatrixSink {
 public:
  explicit MatrixSink(const Epilogue<T>& epilogue);
  void store(const T* tile, std::int64_t ld, std::int64_t row, std::int64_t rows, std::int64_t col,
             std::int64_t cols) const {
    store_(epilogue_, tile, ld, row, rows, col, cols);
  }
  void lies(Sink<T>& s) const {
    const Epilogue<T>& e = epilogue_;
    const bool alone = e.alpha == T{1} && !e.row_scale && !e.row_bias && !e.col_bias &&
                       !e.residual && e.activation == Activation::none && !e.linear;
    if (alone && e.col_stride == 1) s.plain = e.c, s.stride = e.row_stride;
  }

 private:
  Epilogue<T> epilogue_;
  void (*store_)(const Epilogue<T>&, const T*, std::int64_t, std::int64_t, std::int64_t,
                 std::int64_t, std::int64_t);
};

template <class T>
struct Matrix {
  const T* data;
  std::int64_t row_stride, col_stride;
};

// C = epilogue(A B) of plain matrices, with shortcuts for single rows and narrow results.
template <class T>
void matmul(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix<T>& a, const Matrix<T>& b,
            const Epilogue<T>& c);

// True when `batch` products of this size are better shared out whole, one thread each.
bool spread_over_batch(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k);
// How many of them make a chunk.
std::int64_t batch_grain(std::int64_t m, std::int64_t n, std::int64_t k);

// run(b) computes product b, with gemm() or matmul(), for every b < batch: side by side when that
// fills the machine, else one after the other with the threads inside.
template <class F>
void for_each_product(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, F run) {
  if (!spread_over_batch(batch, m, n, k)) {
    for (std::int64_t b = 0; b < batch; ++b) run(b);
    return;
  }
  parallel_for(batch, batch_grain(m, n, k), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) run(b);
  });
}

}  // namespace pyfast::gemm
