// Mean and variance, gathered piece by piece without cancellation (Welford, 1962; merging by Chan,
// Golub and LeVeque, 1983), for GPU and host.
#pragma once

#include "cuda/core/host_device.h"

namespace pyfast::cuda {

struct Moments {
  float n = 0, mean = 0, m2 = 0;  // m2: sum of squared distances from the mean

  // One more value; `reciprocal` is 1 / (n + 1), which several Moments of equal n share.
  PYFAST_HOST_DEVICE void push(float x, float reciprocal) {
    const float away = x - mean;
    n += 1;
    mean += away * reciprocal;
    m2 += away * (x - mean);
  }
  PYFAST_HOST_DEVICE void merge(const Moments& other) {
    if (other.n == 0) return;
    const float total = n + other.n, share = other.n / total, away = other.mean - mean;
    mean += away * share;
    m2 += other.m2 + away * away * (n * share);
    n = total;
  }
  // Of `count` values in registers: two passes, exact mean first.
  template <int kCount>
  PYFAST_HOST_DEVICE static Moments of(const float (&x)[kCount]) {
    Moments m;
    m.n = kCount;
    for (int i = 0; i < kCount; ++i) m.mean += x[i];
    m.mean /= kCount;
    for (int i = 0; i < kCount; ++i) m.m2 += (x[i] - m.mean) * (x[i] - m.mean);
    return m;
  }
};

}  // namespace pyfast::cuda
