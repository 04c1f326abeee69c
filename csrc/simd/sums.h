// Sums that leave a vector in double: beside the memory traffic that costs nothing.
#pragma once

#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

// Lanes of T added up in double; of four vectors in T first, which costs half as much and leaves
// two roundings a number.
template <class T>
class WideSum {
 public:
  PYFAST_INLINE void add(vec<T> v) {
    if constexpr (sizeof(T) == 4) {
      low_ += widen_low(v);
      high_ += widen_high(v);
    } else {
      low_ += v;
    }
  }
  PYFAST_INLINE void add(vec<T> a, vec<T> b, vec<T> c, vec<T> d) { add((a + b) + (c + d)); }
  PYFAST_INLINE double total() const { return reduce_add(low_ + high_); }
  // Lane k to to[k].
  PYFAST_INLINE void store(double* to) const {
    low_.store(to);
    if (sizeof(T) == 4) high_.store(to + vec<double>::size);
  }

 private:
  vec<double> low_, high_;
};

// step(i, at) for every four vectors of n values, the last ones padded: at(p, j) is the vector at
// p + j, with at(p, j, fill) in lanes beyond n.
template <class T, class Step>
PYFAST_INLINE void by_fours(std::int64_t n, Step step) {
  constexpr int four = 4 * vec<T>::size;
  std::int64_t i = 0;
  for (; i + four <= n; i += four)
    step(i,
         [](const T* p, std::int64_t j, T = T{0}) PYFAST_INLINED { return vec<T>::load(p + j); });
  if (i < n)
    step(i, [n](const T* p, std::int64_t j, T fill = T{0})
                PYFAST_INLINED { return load_within(p, j, n, fill); });
}

// The lanes added up.
PYFAST_INLINE double lane_sum(vec<float> v) { return reduce_add(widen_low(v) + widen_high(v)); }
PYFAST_INLINE double lane_sum(vec<double> v) { return reduce_add(v); }

// total[k] += lane k, for the first n lanes.
PYFAST_INLINE void add_lanes(double* total, vec<double> v, int n) {
  store(load(total, n) + v, total, n);
}
PYFAST_INLINE void add_lanes(double* total, vec<float> v, int n) {
  constexpr int half = vec<double>::size;
  add_lanes(total, widen_low(v), n < half ? n : half);
  if (n > half) add_lanes(total + half, widen_high(v), n - half);
}

}  // namespace pyfast::PYFAST_ISA
