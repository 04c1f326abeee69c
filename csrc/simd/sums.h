// Sums that leave a vector in double: beside the memory traffic that costs nothing.
#pragma once

#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

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
