// Loops and sums that the norm kernels share.
#pragma once

#include <cstdint>

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

// body(i, load, store) for every vector of n contiguous values; load(p) and store(p, v) touch whole
// vectors, and for the tail just what is left.
template <class T, class Body>
PYFAST_INLINE void over_row(std::int64_t n, Body body) {
  constexpr int w = vec<T>::size;
  std::int64_t i = 0;
  for (; i + w <= n; i += w)
    body(
        i, [](const T* p) __attribute__((always_inline)) { return vec<T>::load(p); },
        [](T* p, vec<T> v) __attribute__((always_inline)) { v.store(p); });
  const int rest = static_cast<int>(n - i);
  if (rest > 0)
    body(
        i, [rest](const T* p) __attribute__((always_inline)) { return vec<T>::load(p, rest); },
        [rest](T* p, vec<T> v) __attribute__((always_inline)) { v.store(p, rest); });
}

// The lanes added up in double.
PYFAST_INLINE double lane_sum(vec<float> v) { return reduce_add(widen_low(v) + widen_high(v)); }
PYFAST_INLINE double lane_sum(vec<double> v) { return reduce_add(v); }

// total[k] += lane k
template <class T>
PYFAST_INLINE void add_lanes(double* total, vec<T> sums, int n) {
  T lanes[vec<T>::size];
  sums.store(lanes);
  for (int k = 0; k < n; ++k) total[k] += double{lanes[k]};
}

}  // namespace pyfast::PYFAST_ISA
