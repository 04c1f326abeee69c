// Matrix times vector, or times a few of them, without packing: memory-bound, every element of the
// matrix is read once.
#pragma once

#include "gemm/kernel_micro.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

// `rows` dot products at once, two sums each so that FMA latency does not limit a single row.
template <class T, int rows>
PYFAST_INLINE void dot_bundle(T* y, const T* a, std::int64_t row_stride, const T* x,
                              std::int64_t depth) {
  constexpr int w = vec<T>::size;
  vec<T> even[rows], odd[rows];
  std::int64_t k = 0;
  for (; k + 2 * w <= depth; k += 2 * w) {
    const vec<T> x0 = vec<T>::load(x + k), x1 = vec<T>::load(x + k + w);
    for (int r = 0; r < rows; ++r) {
      even[r] = fma(vec<T>::load(a + r * row_stride + k), x0, even[r]);
      odd[r] = fma(vec<T>::load(a + r * row_stride + k + w), x1, odd[r]);
    }
  }
  for (; k < depth; k += w) {
    const int n = static_cast<int>(depth - k < w ? depth - k : w);
    const vec<T> xk = vec<T>::load(x + k, n);
    for (int r = 0; r < rows; ++r)
      even[r] = fma(vec<T>::load(a + r * row_stride + k, n), xk, even[r]);
  }
  for (int r = 0; r < rows; ++r) y[r] = reduce_add(even[r] + odd[r]);
}

template <class T>
void dot_rows(T* y, const T* a, std::int64_t row_stride, const T* x, std::int64_t rows,
              std::int64_t depth) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_bundle<T, 4>(y + r, a + r * row_stride, row_stride, x, depth);
  for (; r < rows; ++r) dot_bundle<T, 1>(y + r, a + r * row_stride, row_stride, x, depth);
}

// So many vectors beside so many rows of the matrix fill the registers with sums.
template <int vectors>
constexpr int matrix_rows() {
  constexpr int registers = vec<float>::size == 16 ? 24 : 12;
  constexpr int rows = registers / vectors;
  return rows < 1 ? 1 : rows > 6 ? 6 : rows;
}

// y[v * ld + r] (+)= sum over k of a[r * row_stride + k] * x[v * x_stride + k]: `rows` rows of the
// matrix, while the next ones are asked for.
template <class T, int vectors, int rows>
PYFAST_INLINE void dot_tile(T* y, std::int64_t ld, const T* a, std::int64_t row_stride, const T* x,
                            std::int64_t x_stride, std::int64_t depth, bool accumulate) {
  constexpr int w = vec<T>::size;
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
  std::int64_t k = 0;
  for (; k + w <= depth; k += w) step(k, w);
  if (k < depth) step(k, static_cast<int>(depth - k));
  unroll<vectors>([&](auto v) PYFAST_INLINED {
    unroll<rows>([&](auto r) PYFAST_INLINED {
      T& to = y[v * ld + r];
      to = (accumulate ? to : T{0}) + reduce_add(vec<T>(sums[v * rows + r]));
    });
  });
}

// y[v * ld + i] = sum over k of a[i * row_stride + k] * x[v * x_stride + k]. A stretch of the
// vectors stays in L1 while the matrix passes by; narrow vectors, whose lanes add up more, take a
// shorter one, since the error grows with it.
template <class T, int vectors>
void dot_few(T* y, std::int64_t ld, const T* a, std::int64_t row_stride, const T* x,
             std::int64_t x_stride, std::int64_t rows, std::int64_t depth) {
  constexpr int tile = matrix_rows<vectors>();
  constexpr std::int64_t stretch = (vec<float>::size == 16 ? 64 : 32) * vec<T>::size;
  std::int64_t k = 0;
  do {
    const std::int64_t deep = depth - k < stretch ? depth - k : stretch;
    std::int64_t r = 0;
    for (; r + tile <= rows; r += tile)
      dot_tile<T, vectors, tile>(y + r, ld, a + r * row_stride + k, row_stride, x + k, x_stride,
                                 deep, k > 0);
    for (; r < rows; ++r)
      dot_tile<T, vectors, 1>(y + r, ld, a + r * row_stride + k, row_stride, x + k, x_stride, deep,
                              k > 0);
    k += deep;
  } while (k < depth);
}

template <class T>
struct DotTable {
  static constexpr DotFew<T> entries[] = {&dot_few<T, 1>, &dot_few<T, 2>, &dot_few<T, 3>,
                                          &dot_few<T, 4>, &dot_few<T, 5>, &dot_few<T, 6>,
                                          &dot_few<T, 7>, &dot_few<T, 8>};
};
static_assert(sizeof DotTable<float>::entries / sizeof(DotFew<float>) == kFewVectors);

// n <= vectors * vec::size columns, all of them in registers.
template <class T, int vectors>
PYFAST_INLINE void combine_bundle(T* y, const T* a, std::int64_t depth_stride, const T* x, int n,
                                  std::int64_t depth) {
  constexpr int w = vec<T>::size;
  vec<T> sums[vectors];
  const int last = n - (vectors - 1) * w;
  for (std::int64_t k = 0; k < depth; ++k, a += depth_stride) {
    const vec<T> xk(x[k]);
    for (int j = 0; j + 1 < vectors; ++j) sums[j] = fma(vec<T>::load(a + j * w), xk, sums[j]);
    const T* end = a + (vectors - 1) * w;
    sums[vectors - 1] = fma(load(end, last), xk, sums[vectors - 1]);
  }
  for (int j = 0; j + 1 < vectors; ++j) sums[j].store(y + j * w);
  sums[vectors - 1].store(y + (vectors - 1) * w, last);
}

template <class T>
void combine_rows(T* y, const T* a, std::int64_t depth_stride, const T* x, std::int64_t cols,
                  std::int64_t depth) {
  constexpr int w = vec<T>::size;
  std::int64_t j = 0;
  for (; j + 4 * w <= cols; j += 4 * w)
    combine_bundle<T, 4>(y + j, a + j, depth_stride, x, 4 * w, depth);
  for (; j < cols; j += w) {
    const int n = static_cast<int>(cols - j < w ? cols - j : w);
    combine_bundle<T, 1>(y + j, a + j, depth_stride, x, n, depth);
  }
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
