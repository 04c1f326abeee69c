// Copying pieces of image rows, padded with zeros. Included by kernel.cpp only.
#pragma once

#include "simd/deinterleave.h"
#include "simd/interleave.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

// The points i of n whose coordinate x + i * stride lies in [0, size): begin <= i < end.
struct Inside {
  std::int64_t begin, end;
  Inside(std::int64_t x, std::int64_t stride, std::int64_t size, std::int64_t n) {
    const std::int64_t last = size - 1 - x;
    begin = x >= 0 ? 0 : stride == 1 ? -x : (-x - 1) / stride + 1;
    end = last < 0 ? 0 : stride == 1 ? last + 1 : last / stride + 1;
    begin = begin < n ? begin : n;
    end = end < begin ? begin : end < n ? end : n;
  }
};

// x[0], x[2], ...: n of them, then zeros; reads nothing behind the last.
template <class T>
PYFAST_INLINE vec<T> load_even(const T* x, int n) {
  constexpr int w = vec<T>::size;
  if (n == w) return even_odd(vec<T>::load(x), vec<T>::load(x + w - 1));
  const int all = n > 0 ? 2 * n - 1 : 0;
  if (all <= w) return even_odd(vec<T>::load(x, all), vec<T>());
  return even_odd(vec<T>::load(x), vec<T>::load(x + w - 1, all - w + 1));
}

template <class T>
PYFAST_INLINE void zero_row(T* out, std::int64_t n) {
  constexpr int w = vec<T>::size;
  for (; n >= w; n -= w, out += w) vec<T>().store(out);
  if (n > 0) vec<T>().store(out, static_cast<int>(n));
}

// out[i] = x[i * step], i < n
template <class T>
PYFAST_INLINE void copy_row(T* out, const T* x, std::int64_t n, std::int64_t step) {
  constexpr int w = vec<T>::size;
  if (step == 1) {
    for (; n >= w; n -= w, out += w, x += w) vec<T>::load(x).store(out);
    if (n > 0) vec<T>::load(x, static_cast<int>(n)).store(out, static_cast<int>(n));
  } else if (step == 2) {
    for (; n >= w; n -= w, out += w, x += 2 * w) load_even(x, w).store(out);
    if (n > 0) load_even(x, static_cast<int>(n)).store(out, static_cast<int>(n));
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i] = x[i * step];
  }
}

// out[2 i] = even[i], out[2 i + 1] = odd[i], for 2 i and 2 i + 1 below n
// out[0], out[1], ... = even[0], odd[0], even[1], ..., n <= two vectors of them
template <class T>
PYFAST_INLINE void store_pairs(vec<T> even, vec<T> odd, T* out, std::int64_t n) {
  constexpr int w = vec<T>::size;
  store(zip_low(even, odd), out, n < w ? static_cast<int>(n) : w);
  if (n > w) store(zip_high(even, odd), out + w, n < 2 * w ? static_cast<int>(n - w) : w);
}

template <class T>
PYFAST_INLINE void interleave_row(const T* even, const T* odd, T* out, std::int64_t n) {
  constexpr int w = vec<T>::size;
  for (; n >= 2 * w; n -= 2 * w, even += w, odd += w, out += 2 * w)
    store_pairs(vec<T>::load(even), vec<T>::load(odd), out, 2 * w);
  if (n == 0) return;
  const int rest = static_cast<int>(n);
  store_pairs(vec<T>::load(even, (rest + 1) / 2), vec<T>::load(odd, rest / 2), out, n);
}

template <class T>
void interleave(const T* even, const T* odd, std::int64_t pitch, T* out, std::int64_t out_pitch,
                std::int64_t rows, std::int64_t n) {
  for (std::int64_t r = 0; r < rows; ++r)
    interleave_row(even + r * pitch, odd + r * pitch, out + r * out_pitch, n);
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
