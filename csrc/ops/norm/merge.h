// Moments of a union from the moments of its parts (Chan, Golub and LeVeque 1983, eq. 2.1).
// Force-inlined: kernels compiled for different instruction sets share the text, never the symbol.
#pragma once

#include "ops/norm/kernel.h"

namespace pyfast {

__attribute__((always_inline)) inline Moments merge(Moments a, Moments b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
}

}  // namespace pyfast
