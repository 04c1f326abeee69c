// The p-norm of a row, element by element, for GPU and host. In float64, so that no power of a
// float32 overflows.
#pragma once

#include <cmath>

#include "cuda/core/host_device.h"

namespace pyfast::cuda {

struct RowNorm {
  double p;

  PYFAST_HOST_DEVICE double none() const { return p == -INFINITY ? INFINITY : 0; }
  PYFAST_HOST_DEVICE double term(float x) const {
    const double a = fabs(double{x});
    if (p == 2) return a * a;
    if (p == 1 || p == INFINITY || p == -INFINITY) return a;
    if (p == 0) return a != 0 ? 1 : 0;
    return pow(a, p);
  }
  PYFAST_HOST_DEVICE double join(double a, double b) const {  // NaN wins
    if (p == INFINITY) return a > b || a != a ? a : b;
    if (p == -INFINITY) return a < b || a != a ? a : b;
    return a + b;
  }
  PYFAST_HOST_DEVICE double finish(double sum) const {
    if (p == 2) return sqrt(sum);
    if (p == 0 || p == 1 || p == INFINITY || p == -INFINITY) return sum;
    return pow(sum, 1 / p);
  }
};

}  // namespace pyfast::cuda
