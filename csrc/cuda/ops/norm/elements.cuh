// The second pass of batch and group norm: every element, with what its channel has to say. Arrays
// are (outer, channels, inner) in C order, or with inner = 1 channels last.
#pragma once

#include "cuda/core/rows.cuh"
#include "cuda/ops/activation/functions.h"

namespace pyfast::cuda {

// Arrays of one float a channel: y = act((x - mean) slope + bias) and, from the gradient g before
// the activation, dx = slope g - of_bias - (x - mean) of_weight.
struct Coefficients {
  float *mean, *slope, *bias, *of_bias, *of_weight;

  static constexpr int kArrays = 5;
  Coefficients(float* at, std::int64_t c)
      : mean(at), slope(at + c), bias(at + 2 * c), of_bias(at + 3 * c), of_weight(at + 4 * c) {}
};

// The gradient as it is before the activation. Fixed activations' slopes are of the output but for
// the smooth ones.
__device__ __forceinline__ float through(Activation a, float g, float before, bool of_input) {
  if (a == Activation::none) return g;
  if (a == Activation::relu) return before <= 0 ? 0.0f : g;
  return activate_backward(a, g, of_input ? before : activate(a, before));
}

__device__ __forceinline__ float activated(Activation a, float x) {
  if (a == Activation::none) return x;
  if (a == Activation::relu) return x <= 0 ? 0.0f : x;
  return activate(a, x);
}

// The channel of element i; with 32-bit division, a tenth of the 64-bit one's work, where it fits.
__device__ __forceinline__ std::int64_t channel_of(std::int64_t i, std::int64_t channels,
                                                   std::int64_t inner, bool small) {
  if (!small) return i / inner % channels;
  const auto plane = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(inner);
  return plane % static_cast<std::uint32_t>(channels);
}

// A pack's coefficients: of one channel in C order, of neighbouring ones with channels last.
template <int kWidth, bool kLast>
__device__ __forceinline__ void take(float (&to)[kWidth], const float* from, std::int64_t c) {
  if constexpr (kLast) {
    load(to, from + c);
  } else {
    const float value = from[c];
#pragma unroll
    for (float& t : to) t = value;
  }
}

template <int kWidth, bool kLast, class T>
__global__ void __launch_bounds__(256)
    forward_elements(T* y, const T* x, Coefficients from, std::int64_t n, std::int64_t channels,
                     std::int64_t inner, Activation a) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * kWidth;
  if (i >= n) return;
  const std::int64_t c = channel_of(i, channels, inner, n <= 0x7fffffff);
  float v[kWidth], mean[kWidth], slope[kWidth], bias[kWidth];
  load(v, x + i);
  take<kWidth, kLast>(mean, from.mean, c);
  take<kWidth, kLast>(slope, from.slope, c);
  take<kWidth, kLast>(bias, from.bias, c);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) v[j] = activated(a, (v[j] - mean[j]) * slope[j] + bias[j]);
  store(y + i, v);
}

template <int kWidth, bool kLast, class T>
__global__ void __launch_bounds__(256)
    backward_elements(T* dx, const T* g, const T* x, Coefficients from, std::int64_t n,
                      std::int64_t channels, std::int64_t inner, Activation a, bool of_input) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * kWidth;
  if (i >= n) return;
  const std::int64_t c = channel_of(i, channels, inner, n <= 0x7fffffff);
  float d[kWidth], v[kWidth], mean[kWidth], slope[kWidth], other[kWidth];
  load(d, g + i);
  load(v, x + i);
  take<kWidth, kLast>(mean, from.mean, c);
  take<kWidth, kLast>(slope, from.slope, c);
  take<kWidth, kLast>(other, from.bias, c);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    v[j] -= mean[j];
    d[j] = through(a, d[j], v[j] * slope[j] + other[j], of_input);
  }
  take<kWidth, kLast>(other, from.of_bias, c);
  take<kWidth, kLast>(mean, from.of_weight, c);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) d[j] = slope[j] * d[j] - other[j] - v[j] * mean[j];
  store(dx + i, d);
}

// f<kWidth, kLast>(blocks)
template <class T, class F>
void visit_elements(std::int64_t n, bool last, bool vectors, F&& f) {
  constexpr int kWide = kVector<T>;
  if (n == 0) return;
  const unsigned blocks = blocks_for(n, 256 * (vectors ? kWide : 1));
  if (!vectors) return f.template operator()<1, false>(blocks);
  if (last) return f.template operator()<kWide, true>(blocks);
  f.template operator()<kWide, false>(blocks);
}

}  // namespace pyfast::cuda
