// From scores to exponents of 2, forward and backward alike. Included by this folder's kernel_*.cpp
// only; everything here belongs to their namespace.
//
// A row's maximum is kept in units of log 2, rounded. One FMA takes a score to its distance from
// it: what rounding the maximum did is then common to the row, and cancels. But it grows with the
// maximum, to exponents of hundreds for scores of billions, where exp2 is 0 or infinite. From
// kMostFused (kernel.h) on scores are rounded in these units first, as PyTorch rounds them scaled:
// the largest is the maximum exactly, whoever computes it. All scores of such a row must come of
// the same sums in forward and backward, so they stay off the tiles, and decode hands them on.
#pragma once

#include "ops/attention/kernel_mask.h"

namespace pyfast::PYFAST_ISA {
namespace {

template <class T>
PYFAST_INLINE T magnitude(T x) {
  return x < 0 ? -x : x;
}

// What the scores of a row are to be multiplied by, `unit` or, once they have been rounded, 1.
// `top`: their maximum times unit.
template <class T>
PYFAST_INLINE T exponent_unit(T* scores, Keys keys, T unit, T top) {
  if (!(magnitude(top) >= kMostFused<T>)) return unit;
  constexpr Index w = vec<T>::size;
  for (Index k = keys.begin / w * w; k < keys.end; k += w)
    (vec<T>::load(scores + k) * vec<T>(unit)).store(scores + k);
  return T{1};
}

}  // namespace
}  // namespace pyfast::PYFAST_ISA
