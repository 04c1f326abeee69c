// Matrix times vector, without packing: memory-bound, every element of the matrix is used once.
#pragma once

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
