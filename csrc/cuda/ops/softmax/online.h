// Maximum and sum of exponentials in one pass (Milakov and Gimelshein, arXiv:1805.02867, 2018), and
// how rows lie in an array; for GPU and host.
#pragma once

#include <cstdint>

#include "cuda/core/host_device.h"

namespace pyfast::cuda {

struct OnlineSoftmax {
  float max = -INFINITY;
  float sum = 0;  // of exp(x - max)

  PYFAST_HOST_DEVICE void push(float x) {
    if (x <= max) {
      // -inf after -inf adds nothing: exp(-inf - -inf) would be NaN
      sum += x == -INFINITY ? 0.0f : expf(x - max);
    } else {  // a new maximum, or NaN, which stays in both
      sum = (max == -INFINITY ? 0.0f : sum * expf(max - x)) + (x != x ? x : 1.0f);
      max = x;
    }
  }
  // The sum as seen from a maximum that is no smaller.
  PYFAST_HOST_DEVICE float scaled_to(float top) const {
    return max == -INFINITY ? sum : sum * expf(max - top);
  }
  PYFAST_HOST_DEVICE void merge(const OnlineSoftmax& other) {
    const float top = max > other.max || max != max ? max : other.max;
    sum = scaled_to(top) + other.scaled_to(top);
    max = top;
  }
};

// Rows of n elements, `inner` apart.
struct SoftmaxExtent {
  std::int64_t n, inner;
  PYFAST_HOST_DEVICE std::int64_t start(std::int64_t row) const {
    return row / inner * n * inner + row % inner;
  }
};

}  // namespace pyfast::cuda
