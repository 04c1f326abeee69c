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

__device__ __forceinline__ float activated(Activation a, float x) {
  if (a == Activation::none) return x;
  if (a == Activation::relu) return x <= 0 ? 0.0f : x;
  return activate(a, x);
}

// One bit an element, in the order of memory: whether ReLU let it through. A pack of kWidth = 1, 4
// or 8 elements never straddles bytes.
template <int kWidth>
__device__ __forceinline__ unsigned gates_at(const std::uint8_t* gates, std::int64_t i) {
  return static_cast<unsigned>(gates[i / 8]) >> (i % 8);
}

// The whole warp calls this, with bits = 0 beyond the array's end; lanes hold packs side by side.
template <int kWidth>
__device__ __forceinline__ void put_gates(std::uint8_t* gates, std::int64_t i, unsigned bits,
                                          bool inside) {
  constexpr int kLanes = 8 / kWidth;  // that share a byte
#pragma unroll
  for (int lane = 1; lane < kLanes; lane *= 2)
    bits |= __shfl_down_sync(0xffffffffu, bits, lane) << (lane * kWidth);
  if (inside && threadIdx.x % kLanes == 0) gates[i / 8] = static_cast<std::uint8_t>(bits);
}

// How a gradient goes back to before the activation: through the gates that forward left, or by
// what the activation's input, computed again, says. Fixed activations' slopes are of the output
// but for the smooth ones.
struct Backward {
  Activation activation = Activation::none;
  bool of_input = false;
  const std::uint8_t* gates = nullptr;

  template <int kWidth>
  __device__ __forceinline__ unsigned pack(std::int64_t i) const {
    return gates ? gates_at<kWidth>(gates, i) : 0;
  }
  // Of element j of a pack, whose activation's input without a residual is `before`.
  __device__ __forceinline__ float operator()(float g, float before, unsigned pack, int j) const {
    if (gates) return pack >> j & 1u ? g : 0.0f;
    if (activation == Activation::none) return g;
    if (activation == Activation::relu) return before <= 0 ? 0.0f : g;
    return activate_backward(activation, g, of_input ? before : activate(activation, before));
  }
};

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

// y = act((x - mean) slope + bias + residual), with gates where they are wanted.
template <int kWidth, bool kLast, class T>
__global__ void __launch_bounds__(256)
    forward_elements(T* y, std::uint8_t* gates, const T* x, const T* residual, Coefficients from,
                     std::int64_t n, std::int64_t channels, std::int64_t inner, Activation a) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * kWidth;
  const bool inside = i < n;
  unsigned open = 0;
  if (inside) {
    const std::int64_t c = channel_of(i, channels, inner, n <= 0x7fffffff);
    float v[kWidth], mean[kWidth], slope[kWidth], bias[kWidth];
    load(v, x + i);
    take<kWidth, kLast>(mean, from.mean, c);
    take<kWidth, kLast>(slope, from.slope, c);
    take<kWidth, kLast>(bias, from.bias, c);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) v[j] = (v[j] - mean[j]) * slope[j] + bias[j];
    if (residual) {
      load(mean, residual + i);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) v[j] += mean[j];
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      open |= (v[j] <= 0 ? 0u : 1u) << j;
      v[j] = activated(a, v[j]);
    }
    store(y + i, v);
  }
  if (gates) put_gates<kWidth>(gates, i, open, inside);
}

// dx and, where it is wanted, the gradient before the activation, which is the residual's.
template <int kWidth, bool kLast, class T>
__global__ void __launch_bounds__(256)
    backward_elements(T* dx, T* dr, const T* g, const T* x, Coefficients from, std::int64_t n,
                      std::int64_t channels, std::int64_t inner, Backward back) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * kWidth;
  if (i >= n) return;
  const std::int64_t c = channel_of(i, channels, inner, n <= 0x7fffffff);
  float d[kWidth], v[kWidth], mean[kWidth], slope[kWidth], other[kWidth];
  load(d, g + i);
  load(v, x + i);
  take<kWidth, kLast>(mean, from.mean, c);
  take<kWidth, kLast>(slope, from.slope, c);
  take<kWidth, kLast>(other, from.bias, c);
  const unsigned pack = back.pack<kWidth>(i);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    v[j] -= mean[j];
    d[j] = back(d[j], v[j] * slope[j] + other[j], pack, j);
  }
  if (dr) store(dr + i, d);
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
