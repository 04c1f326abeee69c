// Matrix times vector, or times a few of them, without packing: memory-bound, every element of the
// matrix is read once.
#pragma once

#include "gemm/kernel_micro.h"
#include "gemm/kernel_store.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

// Sums over a depth are those of its halves, added, down to pieces of `leaf` steps: as many
// roundings as there are levels, where one chain through 2,000 had 2.7 times PyTorch's error.
inline std::int64_t first_half(std::int64_t depth, std::int64_t leaf) {
  return ((depth + leaf - 1) / leaf + 1) / 2 * leaf;
}

// Of a vector, so many are summed up before the halves are added.
constexpr int kDotLeaf = 32;

// sums[r]'s lanes add up to the dot product of x with row r; eight chains in all, so that the FMAs'
// latency limits no single row.
template <class T, int rows>
PYFAST_INLINE void dot_leaf(vec<T>* sums, const T* a, std::int64_t row_stride, const T* x,
                            std::int64_t depth) {
  constexpr int w = vec<T>::size, chains = 8 / rows;
  typename vec<T>::native parts[chains][rows] = {};  // see micro()
  std::int64_t k = 0;
  for (; k + chains * w <= depth; k += chains * w)
    unroll<chains>([&](auto c) PYFAST_INLINED {
      const auto right = vec<T>::load(x + k + c * w).v;
      unroll<rows>([&](auto r) PYFAST_INLINED {
        parts[c][r] =
            backend::fma(vec<T>::load(a + r * row_stride + k + c * w).v, right, parts[c][r]);
      });
    });
  unroll<chains>([&](auto c) PYFAST_INLINED {
    const std::int64_t left = depth - k - c * w;
    if (left <= 0) return;
    const int n = static_cast<int>(left < w ? left : w);
    const auto right = load(x + k + c * w, n).v;
    unroll<rows>([&](auto r) PYFAST_INLINED {
      parts[c][r] = backend::fma(load(a + r * row_stride + k + c * w, n).v, right, parts[c][r]);
    });
  });
  add_pairs<chains>(parts);
  unroll<rows>([&](auto r) PYFAST_INLINED { sums[r] = vec<T>(parts[0][r]); });
}

template <class T, int rows>
void dot_halves(vec<T>* sums, const T* a, std::int64_t row_stride, const T* x, std::int64_t depth) {
  constexpr std::int64_t leaf = kDotLeaf * vec<T>::size;
  if (depth <= leaf) return dot_leaf<T, rows>(sums, a, row_stride, x, depth);
  const std::int64_t half = first_half(depth, leaf);
  vec<T> others[rows];
  dot_halves<T, rows>(sums, a, row_stride, x, half);
  dot_halves<T, rows>(others, a + half, row_stride, x + half, depth - half);
  for (int r = 0; r < rows; ++r) sums[r] += others[r];
}

template <class T, int rows>
PYFAST_INLINE void dot_bundle(T* y, const T* a, std::int64_t row_stride, const T* x,
                              std::int64_t depth) {
  vec<T> sums[rows];
  dot_halves<T, rows>(sums, a, row_stride, x, depth);
  for (int r = 0; r < rows; ++r) y[r] = reduce_add(sums[r]);
}

template <class T>
void dot_rows(T* y, const T* a, std::int64_t row_stride, const T* x, std::int64_t rows,
              std::int64_t depth) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_bundle<T, 4>(y + r, a + r * row_stride, row_stride, x, depth);
  for (; r + 2 <= rows; r += 2) dot_bundle<T, 2>(y + r, a + r * row_stride, row_stride, x, depth);
  if (r < rows) dot_bundle<T, 1>(y + r, a + r * row_stride, row_stride, x, depth);
}

// So many vectors beside so many rows of the matrix fill the registers with sums.
template <int vectors>
constexpr int matrix_rows() {
  constexpr int registers = vec<float>::size == 16 ? 24 : 12;
  constexpr int rows = registers / vectors;
  return rows < 1 ? 1 : rows > 6 ? 6 : rows;
}

// A chain's steps: narrow vectors, whose lanes add up more, take fewer.
constexpr std::int64_t kFewChain = vec<float>::size == 16 ? 32 : 8;

// y[v * ld + r] = sum over k of a[r * row_stride + k] * x[v * x_stride + k]: `rows` rows of the
// matrix, while the next ones are asked for.
template <class T, int vectors, int rows>
PYFAST_INLINE void dot_tile(T* y, std::int64_t ld, const T* a, std::int64_t row_stride, const T* x,
                            std::int64_t x_stride, std::int64_t depth) {
  constexpr int w = vec<T>::size;
  vec<T> totals[vectors * rows];
  for (std::int64_t begin = 0; begin < depth; begin += kFewChain * w) {
    const std::int64_t end = depth - begin < kFewChain * w ? depth : begin + kFewChain * w;
    typename vec<T>::native sums[vectors * rows] = {};  // see micro()
    const auto step = [&](std::int64_t k, int n) PYFAST_INLINED {
      typename vec<T>::native left[rows];
      unroll<rows>([&](auto r) PYFAST_INLINED {
        left[r] = load(a + r * row_stride + k, n).v;
        __builtin_prefetch(a + (r + rows) * row_stride + k, 0, 3);
      });
      unroll<vectors>([&](auto v) PYFAST_INLINED {
        const auto right = load(x + v * x_stride + k, n).v;
        unroll<rows>([&](auto r) PYFAST_INLINED {
          sums[v * rows + r] = backend::fma(left[r], right, sums[v * rows + r]);
        });
      });
    };
    std::int64_t k = begin;
    for (; k + w <= end; k += w) step(k, w);
    if (k < end) step(k, static_cast<int>(end - k));
    unroll<vectors * rows>([&](auto i) PYFAST_INLINED { totals[i] += vec<T>(sums[i]); });
  }
  unroll<vectors>([&](auto v) PYFAST_INLINED {
    unroll<rows>([&](auto r) PYFAST_INLINED { y[v * ld + r] = reduce_add(totals[v * rows + r]); });
  });
}

// y[v * ld + i] = sum over k of a[i * row_stride + k] * x[v * x_stride + k], i < rows <= kDotRows.
// A stretch of the vectors stays in L1 while the matrix passes by.
template <class T, int vectors>
void dot_few(T* y, std::int64_t ld, const T* a, std::int64_t row_stride, const T* x,
             std::int64_t x_stride, std::int64_t rows, std::int64_t depth) {
  constexpr std::int64_t stretch = 2 * kFewChain * vec<T>::size;
  if (depth > stretch) {
    const std::int64_t half = first_half(depth, stretch);
    T others[vectors * kDotRows];
    dot_few<T, vectors>(y, ld, a, row_stride, x, x_stride, rows, half);
    dot_few<T, vectors>(others, rows, a + half, row_stride, x + half, x_stride, rows, depth - half);
    for (int v = 0; v < vectors; ++v) add(y + v * ld, others + v * rows, rows);
    return;
  }
  constexpr int tile = matrix_rows<vectors>();
  std::int64_t r = 0;
  for (; r + tile <= rows; r += tile)
    dot_tile<T, vectors, tile>(y + r, ld, a + r * row_stride, row_stride, x, x_stride, depth);
  for (; r < rows; ++r)
    dot_tile<T, vectors, 1>(y + r, ld, a + r * row_stride, row_stride, x, x_stride, depth);
}

template <class T>
struct DotTable {
  static constexpr DotFew<T> entries[] = {&dot_few<T, 1>, &dot_few<T, 2>, &dot_few<T, 3>,
                                          &dot_few<T, 4>, &dot_few<T, 5>, &dot_few<T, 6>,
                                          &dot_few<T, 7>, &dot_few<T, 8>};
};
static_assert(sizeof DotTable<float>::entries / sizeof(DotFew<float>) == kFewVectors);

// A chain's steps where a matrix's rows are combined, and the columns that are combined at a time.
constexpr std::int64_t kCombineLeaf = 16, kCombineColumns = 1024;
constexpr int kCombineVectors = 8;  // chains, which the FMAs' latency asks for

// Columns of which the last vector has n, all of them in registers; few of them in several chains.
template <class T, int vectors>
void combine_bundle(T* y, const T* a, std::int64_t depth_stride, const T* x, int n,
                    std::int64_t depth) {
  constexpr int w = vec<T>::size;
  constexpr int chains = vectors == 1 ? 8 : vectors == 2 ? 4 : vectors <= 4 ? 2 : 1;
  typename vec<T>::native sums[chains][vectors] = {};  // see micro()
  const auto step = [&](std::int64_t k, auto c) PYFAST_INLINED {
    const auto xk = vec<T>(x[k]).v;
    unroll<vectors>([&](auto j) PYFAST_INLINED {
      const T* const from = a + k * depth_stride + j * w;
      const auto here = j + 1 < vectors ? vec<T>::load(from).v : load(from, n).v;
      sums[c][j] = backend::fma(here, xk, sums[c][j]);
    });
  };
  std::int64_t k = 0;
  for (; k + chains <= depth; k += chains)
    unroll<chains>([&](auto c) PYFAST_INLINED { step(k + c, c); });
  unroll<chains>([&](auto c) PYFAST_INLINED {
    if (k + c < depth) step(k + c, c);
  });
  add_pairs<chains>(sums);
  unroll<vectors>([&](auto j) PYFAST_INLINED {
    store(vec<T>(sums[0][j]), y + j * w, j + 1 < vectors ? w : n);
  });
}

template <class T, class Indices>
struct CombineTable;
template <class T, int... i>
struct CombineTable<T, std::integer_sequence<int, i...>> {
  static constexpr void (*entries[])(T*, const T*, std::int64_t, const T*, int,
                                     std::int64_t) = {&combine_bundle<T, i + 1>...};
};

template <class T>
void combine_halves(T* y, const T* a, std::int64_t depth_stride, const T* x, std::int64_t cols,
                    std::int64_t depth) {
  if (depth > kCombineLeaf) {
    const std::int64_t half = first_half(depth, kCombineLeaf);
    T others[kCombineColumns];
    combine_halves(y, a, depth_stride, x, cols, half);
    combine_halves(others, a + half * depth_stride, depth_stride, x + half, cols, depth - half);
    return add(y, others, cols);
  }
  constexpr int w = vec<T>::size, most = kCombineVectors * w;
  const auto& bundles = CombineTable<T, std::make_integer_sequence<int, kCombineVectors>>::entries;
  for (std::int64_t j = 0; j < cols; j += most) {
    const int n = static_cast<int>(cols - j < most ? cols - j : most), vectors = (n + w - 1) / w;
    bundles[vectors - 1](y + j, a + j, depth_stride, x, n - (vectors - 1) * w, depth);
  }
}

template <class T>
void combine_rows(T* y, const T* a, std::int64_t depth_stride, const T* x, std::int64_t cols,
                  std::int64_t depth) {
  for (std::int64_t j = 0; j < cols; j += kCombineColumns)
    combine_halves(y + j, a + j, depth_stride, x,
                   cols - j < kCombineColumns ? cols - j : kCombineColumns, depth);
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
