// The engine's inner loops, one table per instruction set and dtype.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "gemm/epilogue.h"

namespace pyfast {

// Room for one register tile of any instruction set.
inline constexpr int kMaxTile = 512;
// More rows than a panel of any instruction set has, whole vectors of them.
inline constexpr int kMaxRows = 64;

// What the register tile asks for while it works: into L2 the panel of B that comes next, a line
// for four steps of the depth, and into L1 the next tile's sums. Any addresses; nothing is read.
// Where only few rows pass by a panel, more lines than one.
template <class T>
struct MicroNext {
  const T* panel;
  const T* slot;
  int lines = 1;
};

// out[r * ld + c] = (sum over d of a[d * rows + r] * b[d * cols + c]) + start[r * cols + c], or
// the sum alone where `start` is null: adding up what is summed from zero keeps the error of a deep
// product at that of a block. One function per tile size: rows, and cols = vectors * width.
template <class T>
using MicroKernel = void (*)(std::int64_t depth, const T* a, const T* b, const T* start, T* out,
                             std::int64_t ld, const MicroNext<T>& next);

// out[r * cols + c] = sum over d of a[r * a_stride + d] * b[d * cols + c], r < kLowRows, d < depth,
// while one of `shares` equal parts of so much memory as B's, from `ahead` on, is asked for into
// L2.
inline constexpr int kLowRows = 3;
template <class T>
using LowKernel = void (*)(std::int64_t depth, const T* a, std::int64_t a_stride, const T* b,
                           T* out, const T* ahead, int shares);

// A product of so few rows, this deep at least, is bound by reading B, and summed up accordingly.
inline constexpr std::int64_t kFewRows = 16, kFewDepth = 64;

// The most vectors that a matrix is multiplied with at a time, and the most of its rows.
inline constexpr int kFewVectors = 8, kDotRows = 48;

// y[v * ld + i] = sum over k of a[i * row_stride + k] * x[v * x_stride + k], i < rows <= kDotRows,
// for as many vectors v as the function was made for.
template <class T>
using DotFew = void (*)(T* y, std::int64_t ld, const T* a, std::int64_t row_stride, const T* x,
                        std::int64_t x_stride, std::int64_t rows, std::int64_t depth);

template <class T>
struct GemmKernels {
  int rows, vectors;            // largest register tile: rows x (vectors * width)
  int width;                    // elements in a vector
  int depth;                    // packed block depth at which a panel of B takes two thirds of L1
  const MicroKernel<T>* micro;  // for r rows and v vectors: micro[(r - 1) * vectors + v - 1]
  const LowKernel<T>* low;      // for r rows <= kLowRows and v vectors, likewise

  // Source<T>::pack for a strided matrix, data at its first element.
  void (*pack)(T* panel, const T* data, std::int64_t row_stride, std::int64_t depth_stride,
               int rows, int tile, std::int64_t depth);
  // Sink<T>::store behind an epilogue.
  void (*store)(const gemm::Epilogue<T>& e, const T* tile, std::int64_t ld, std::int64_t row,
                std::int64_t rows, std::int64_t col, std::int64_t cols);
  // sum[i] += x[i]
  void (*add)(T* sum, const T* x, std::int64_t n);
  // y[i] = sum over k of a[i * row_stride + k] * x[k], i < rows
  void (*dot_rows)(T* y, const T* a, std::int64_t row_stride, const T* x, std::int64_t rows,
                   std::int64_t depth);
  const DotFew<T>* dot_few;  // for v vectors: dot_few[v - 1]
  // y[j] = sum over k of x[k] * a[k * depth_stride + j], j < cols
  void (*combine_rows)(T* y, const T* a, std::int64_t depth_stride, const T* x, std::int64_t cols,
                       std::int64_t depth);
};

PYFAST_KERNEL_TABLE(GemmKernels, gemm_kernels)

}  // namespace pyfast
