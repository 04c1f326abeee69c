// The epilogue: a finished tile, in L1, on its way to C.
#pragma once

#include "gemm/epilogue.h"
#include "simd/activate.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

// n <= vec::size elements at any stride.
template <class T>
PYFAST_INLINE vec<T> load_at(const T* p, std::int64_t stride, int n) {
  if (stride == 1) return load(p, n);
  T lanes[vec<T>::size] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i * stride];
  return vec<T>::load(lanes);
}
template <class T>
PYFAST_INLINE void store_at(T* p, std::int64_t stride, vec<T> x, int n) {
  if (stride == 1) return store(x, p, n);
  T lanes[vec<T>::size];
  x.store(lanes);
  for (int i = 0; i < n; ++i) p[i * stride] = lanes[i];
}

// `rows`: C lies in contiguous rows, without a residual or a copy before the activation, which most
// products are; asked of every vector, that took a quarter of the time of a linear layer 16 deep.
template <bool rows = false, class T, class F>
PYFAST_INLINE void store_vector(const gemm::Epilogue<T>& e, F f, vec<T> x, std::int64_t row,
                                std::int64_t col, int n) {
  if (e.col_bias) x += load_at(e.col_bias + col, 1, n);
  if constexpr (rows) return pyfast::PYFAST_ISA::store(f(x), e.c + row * e.row_stride + col, n);
  if (e.residual)
    x += load_at(e.residual + row * e.residual_row_stride + col * e.residual_col_stride,
                 e.residual_col_stride, n);
  const std::int64_t at = row * e.row_stride + col * e.col_stride;
  if (e.linear) store_at(e.linear + at, e.col_stride, x, n);
  store_at(e.c + at, e.col_stride, f(x), n);
}

template <bool rows, class T, class F>
void store_rows(const gemm::Epilogue<T>& e, F f, const T* tile, std::int64_t ld, std::int64_t row,
                std::int64_t count, std::int64_t col, std::int64_t cols) {
  constexpr int w = vec<T>::size;
  for (std::int64_t r = 0; r < count; ++r) {
    const vec<T> scale(e.row_scale ? e.alpha * e.row_scale[row + r] : e.alpha);
    const vec<T> shift(e.row_bias ? e.row_bias[row + r] : T{0});
    const T* line = tile + r * ld;
    std::int64_t c = 0;
    for (; c + w <= cols; c += w)
      store_vector<rows>(e, f, fma(vec<T>::load(line + c), scale, shift), row + r, col + c, w);
    const int rest = static_cast<int>(cols - c);
    if (rest > 0)
      store_vector<rows>(e, f, fma(vec<T>::load(line + c, rest), scale, shift), row + r, col + c,
                         rest);
  }
}

template <class T>
void store(const gemm::Epilogue<T>& e, const T* tile, std::int64_t ld, std::int64_t row,
           std::int64_t rows, std::int64_t col, std::int64_t cols) {
  with_activation(e.activation, [&](auto f) {
    if (e.col_stride == 1 && !e.residual && !e.linear)
      store_rows<true>(e, f, tile, ld, row, rows, col, cols);
    else
      store_rows<false>(e, f, tile, ld, row, rows, col, cols);
  });
}

template <class T>
void add(T* sum, const T* x, std::int64_t n) {
  constexpr int w = vec<T>::size;
  std::int64_t i = 0;
  for (; i + w <= n; i += w) (vec<T>::load(sum + i) + vec<T>::load(x + i)).store(sum + i);
  for (; i < n; ++i) sum[i] += x[i];
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
