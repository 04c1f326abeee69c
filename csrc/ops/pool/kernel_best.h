// What the kernels share that find where a maximum is: windows are walked tap by tap in row-major
// order, since that order decides between equal elements. Numbers of taps travel as floating
// numbers in the lanes, exact below 2^24.
#pragma once

#include "ops/pool/kernel_fold.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int64_t kExact = 1 << 24;

// Keeps the first maximum, or the last NaN, and the number of the tap at which it was seen.
template <class T>
struct Best {
  vec<T> value = vec<T>(Max<T>::identity), tap;
  PYFAST_INLINE explicit Best(vec<T> first_tap) : tap(first_tap) {}
  PYFAST_INLINE void see(vec<T> v, T number) {
    const mask<T> better = (v > value) | isnan(v);
    value = select(better, v, value);
    tap = select(better, vec<T>(number), tap);
  }
};

// Flat positions in the plane.
template <class T>
struct Positions {
  using Index = int64_t;
  static PYFAST_INLINE PoolNumbering numbering(const PoolAxis& rows, const PoolAxis& cols) {
    return {rows.dilation * cols.in, cols.dilation};
  }
  // Of the first tap of output o, taps in the padding counted: may lie outside.
  static PYFAST_INLINE int64_t first(const PoolAxis& rows, const PoolAxis& cols, int64_t row,
                                     int64_t o) {
    const int64_t top =
        rows.adaptive ? window_at(rows, row).first : row * rows.stride - rows.padding;
    const int64_t left = cols.adaptive ? window_at(cols, o).first : o * cols.stride - cols.padding;
    return top * cols.in + left;
  }
  static PYFAST_INLINE void store(int64_t* index, vec<T> tap, int64_t first, int64_t step, int n) {
    T number[vec<T>::size];
    tap.store(number);
    for (int i = 0; i < n; ++i) index[i] = first + i * step + static_cast<int64_t>(number[i]);
  }
};

// Taps of the window.
template <class T>
struct Taps {
  using Index = std::uint8_t;
  static PYFAST_INLINE PoolNumbering numbering(const PoolAxis&, const PoolAxis& cols) {
    return {cols.kernel, 1};
  }
  static PYFAST_INLINE int64_t first(const PoolAxis&, const PoolAxis&, int64_t, int64_t) {
    return 0;
  }
  static PYFAST_INLINE void store(std::uint8_t* index, vec<T> tap, int64_t, int64_t, int n) {
    constexpr int w = vec<T>::size;
    T number[w];
    tap.store(number);
    std::uint8_t bytes[w];
    for (int i = 0; i < w; ++i) bytes[i] = static_cast<std::uint8_t>(static_cast<int>(number[i]));
    if (n == w)
      __builtin_memcpy(index, bytes, w);
    else
      __builtin_memcpy(index, bytes, static_cast<std::size_t>(n));
  }
};

}  // namespace

}  // namespace pyfast::PYFAST_ISA
