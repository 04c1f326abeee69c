// Two passes over memory each way: per-channel sums, then the elements. The sums of a chunk of each
// channel are written out and merged in order, chunks being cut by shape alone. In C order a
// channel is planes of `inner` neighbours; with channels last it is a column, and threads that sit
// side by side take neighbouring channels.
//
// Nothing is saved for the activation: backward computes its input again from x, which it reads
// anyway, at less traffic than a bit mask would cost.
#include "cuda/core/reduce.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/activation/functions.h"
#include "cuda/ops/norm/moments.h"
#include "cuda/ops/norm/norm.h"
#include "cuda/ops/norm/parameter.cuh"

namespace pyfast::cuda {

namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostChunks = 512;

// x seen as (outer, channels, inner): inner is 1 with channels last.
struct Layout {
  std::int64_t outer = 1, channels = 1, inner = 1;
  bool last;

  explicit Layout(const TensorView& x) : channels(x.shape[1]), last(channels_last(x)) {
    std::int64_t pixels = 1;
    for (int i = 2; i < x.rank(); ++i) pixels *= x.shape[i];
    outer = last ? x.shape[0] * pixels : x.shape[0];
    inner = last ? 1 : pixels;
  }
  std::int64_t values() const { return outer * inner; }  // of one channel
  // About 16 Ki values of a channel a block in C order; with channels last a block has many.
  std::int64_t chunks() const {
    const std::int64_t n = (values() + 16383) / 16384, most = kMostChunks;
    const std::int64_t rows = (values() + 255) / 256;
    const std::int64_t wanted = last ? rows : n;
    return wanted < 1 ? 1 : wanted < most ? wanted : most;
  }
  // A multiple of 8, so that packs never straddle chunks; the last ones may then be empty.
  std::int64_t chunk() const {
    const std::int64_t n = (values() + chunks() - 1) / chunks();
    return (n + 7) / 8 * 8;
  }
};

struct Extent {  // what kernels need of it
  std::int64_t values, channels, inner, chunk;
};

Extent extent_of(const Layout& l) { return {l.values(), l.channels, l.inner, l.chunk()}; }

// What a channel does to a value, forward.
template <class T>
struct Channel {
  float mean, scale, weight, bias;
  __device__ Channel(const double* statistics, const Parameter<T>& w, const Parameter<T>& b,
                     std::int64_t c, std::int64_t channels, float eps)
      : mean(static_cast<float>(statistics[c])),
        scale(rsqrtf(static_cast<float>(statistics[channels + c]) + eps)),
        weight(w[c]),
        bias(b[c]) {}
  __device__ float normal(float x) const { return (x - mean) * scale; }
  __device__ float before(float x) const { return normal(x) * weight + bias; }
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

__device__ __forceinline__ Moments warp_merge(Moments m) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    Moments other;
    other.n = __shfl_down_sync(0xffffffffu, m.n, lane);
    other.mean = __shfl_down_sync(0xffffffffu, m.mean, lane);
    other.m2 = __shfl_down_sync(0xffffffffu, m.m2, lane);
    m.merge(other);
  }
  return m;
}

// -- C order: a block takes values [chunk * blockIdx.x, ...) of channel blockIdx.y ----------------

// f(address of a pack of kWidth values) for the packs of this thread.
template <int kWidth, class F>
__device__ __forceinline__ void for_packs(const Extent& e, F f) {
  const std::int64_t c = blockIdx.y, first = blockIdx.x * e.chunk;
  const std::int64_t last = first + e.chunk < e.values ? first + e.chunk : e.values;
  for (std::int64_t i = first + threadIdx.x * kWidth; i < last; i += kThreads * kWidth) {
    const std::int64_t plane = i / e.inner;
    f((plane * e.channels + c) * e.inner + (i - plane * e.inner));
  }
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) moments_planes(float* partial, const T* x, Extent e) {
  Moments m;
  for_packs<kWidth>(e, [&](std::int64_t at) {
    float v[kWidth];
    load(v, x + at);
    m.merge(Moments::of(v));
  });
  __shared__ Moments warps[kThreads / 32];
  m = warp_merge(m);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = m;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kThreads / 32; ++w) m.merge(warps[w]);
  float* to = partial + (blockIdx.x * e.channels + blockIdx.y) * 3;
  to[0] = m.n, to[1] = m.mean, to[2] = m.m2;
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    sums_planes(float* partial, const T* g, const T* x, const double* statistics,
                Parameter<T> weight, Parameter<T> bias, Extent e, float eps, Activation a,
                bool of_input) {
  const Channel<T> channel(statistics, weight, bias, blockIdx.y, e.channels, eps);
  float sum = 0, product = 0;
  for_packs<kWidth>(e, [&](std::int64_t at) {
    float d[kWidth], v[kWidth];
    load(d, g + at);
    load(v, x + at);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float mine = through(a, d[i], channel.before(v[i]), of_input);
      sum += mine;
      product += mine * channel.normal(v[i]);
    }
  });
  sum = team_reduce<kThreads>(sum, Add());
  product = team_reduce<kThreads>(product, Add());
  if (threadIdx.x != 0) return;
  float* to = partial + (blockIdx.x * e.channels + blockIdx.y) * 2;
  to[0] = sum, to[1] = product;
}

// -- channels last: 32 threads side by side take neighbouring channels, 8 rows of them a block
// -----

template <class T>
__global__ void __launch_bounds__(kThreads) moments_columns(float* partial, const T* x, Extent e) {
  const std::int64_t c = std::int64_t{blockIdx.y} * 32 + threadIdx.x;
  const std::int64_t first = blockIdx.x * e.chunk;
  const std::int64_t last = first + e.chunk < e.values ? first + e.chunk : e.values;
  Moments m;
  if (c < e.channels)
    for (std::int64_t row = first + threadIdx.y; row < last; row += 8)
      m.push(to_float(x[row * e.channels + c]), 1 / (m.n + 1));
  __shared__ Moments rows[8][32];
  rows[threadIdx.y][threadIdx.x] = m;
  __syncthreads();
  if (threadIdx.y != 0 || c >= e.channels) return;
  for (int r = 1; r < 8; ++r) m.merge(rows[r][threadIdx.x]);
  float* to = partial + (blockIdx.x * e.channels + c) * 3;
  to[0] = m.n, to[1] = m.mean, to[2] = m.m2;
}

// A thread takes kWidth channels: with 16 bits that is a full sector a quarter warp.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) moments_vectors(float* partial, const T* x, Extent e) {
  const std::int64_t c = (std::int64_t{blockIdx.y} * 8 + threadIdx.x) * kWidth;
  const std::int64_t first = blockIdx.x * e.chunk;
  const std::int64_t last = first + e.chunk < e.values ? first + e.chunk : e.values;
  Moments m[kWidth];
  if (c < e.channels)
    for (std::int64_t row = first + threadIdx.y; row < last; row += 32) {
      float v[kWidth];
      load(v, x + row * e.channels + c);
      const float reciprocal = 1 / (m[0].n + 1);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) m[i].push(v[i], reciprocal);
    }
  __shared__ Moments rows[32][8];
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    __syncthreads();
    rows[threadIdx.y][threadIdx.x] = m[i];
    __syncthreads();
    if (threadIdx.y != 0 || c >= e.channels) continue;
    for (int r = 1; r < 32; ++r) m[i].merge(rows[r][threadIdx.x]);
    float* to = partial + (blockIdx.x * e.channels + c + i) * 3;
    to[0] = m[i].n, to[1] = m[i].mean, to[2] = m[i].m2;
  }
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    sums_columns(float* partial, const T* g, const T* x, const double* statistics,
                 Parameter<T> weight, Parameter<T> bias, Extent e, float eps, Activation a,
                 bool of_input) {
  constexpr int kAcross = kWidth == 1 ? 32 : 8, kDown = kThreads / kAcross;
  const std::int64_t c = (std::int64_t{blockIdx.y} * kAcross + threadIdx.x) * kWidth;
  const std::int64_t first = blockIdx.x * e.chunk;
  const std::int64_t last = first + e.chunk < e.values ? first + e.chunk : e.values;
  float sum[kWidth] = {}, product[kWidth] = {};
  if (c < e.channels) {
    float mean[kWidth], scale[kWidth], w[kWidth], b[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const Channel<T> channel(statistics, weight, bias, c + i, e.channels, eps);
      mean[i] = channel.mean, scale[i] = channel.scale, w[i] = channel.weight, b[i] = channel.bias;
    }
    for (std::int64_t row = first + threadIdx.y; row < last; row += kDown) {
      float d[kWidth], v[kWidth];
      load(d, g + row * e.channels + c);
      load(v, x + row * e.channels + c);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        const float normal = (v[i] - mean[i]) * scale[i];
        const float mine = through(a, d[i], normal * w[i] + b[i], of_input);
        sum[i] += mine;
        product[i] += mine * normal;
      }
    }
  }
  __shared__ float rows[2][kDown][kAcross];
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    __syncthreads();
    rows[0][threadIdx.y][threadIdx.x] = sum[i];
    rows[1][threadIdx.y][threadIdx.x] = product[i];
    __syncthreads();
    if (threadIdx.y != 0 || c >= e.channels) continue;
    for (int r = 1; r < kDown; ++r) {
      sum[i] += rows[0][r][threadIdx.x];
      product[i] += rows[1][r][threadIdx.x];
    }
    float* to = partial + (blockIdx.x * e.channels + c + i) * 2;
    to[0] = sum[i], to[1] = product[i];
  }
}

// -- between the passes: one thread a channel, which leaves what the elements need
// -----------------

// Arrays of one float a channel: y = (x - mean) slope + bias; dx = slope (g - of_bias - (x - mean)
// of_weight).
struct Coefficients {
  float *mean, *slope, *bias, *of_bias, *of_weight;
};

Coefficients coefficients(float* workspace, const Layout& l) {
  float* at = workspace + 3 * l.chunks() * l.channels;
  const std::int64_t c = l.channels;
  return {at, at + c, at + 2 * c, at + 3 * c, at + 4 * c};
}

template <class T>
__device__ void write_forward(const Coefficients& to, const double* statistics,
                              const Parameter<T>& weight, const Parameter<T>& bias, std::int64_t c,
                              std::int64_t channels, float eps) {
  const Channel<T> channel(statistics, weight, bias, c, channels, eps);
  to.mean[c] = channel.mean;
  to.slope[c] = channel.scale * channel.weight;
  to.bias[c] = channel.bias;
}

template <class T>
__global__ void __launch_bounds__(128)
    finish_moments(Coefficients to, double* statistics, Parameter<T> running_mean,
                   Parameter<T> running_var, Parameter<T> weight, Parameter<T> bias,
                   const float* partial, std::int64_t chunks, std::int64_t channels, float momentum,
                   float eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (c >= channels) return;
  Moments m;
  for (std::int64_t k = 0; k < chunks; ++k) {
    const float* from = partial + (k * channels + c) * 3;
    Moments part;
    part.n = from[0], part.mean = from[1], part.m2 = from[2];
    m.merge(part);
  }
  statistics[c] = m.mean;
  statistics[channels + c] = m.m2 / m.n;
  write_forward(to, statistics, weight, bias, c, channels, eps);
  if (!running_mean) return;
  running_mean.set(c, (1 - momentum) * running_mean[c] + momentum * m.mean);
  running_var.set(c, (1 - momentum) * running_var[c] + momentum * (m.m2 / (m.n - 1)));
}

template <class T>
__global__ void __launch_bounds__(128)
    take_running(Coefficients to, double* statistics, Parameter<T> mean, Parameter<T> var,
                 Parameter<T> weight, Parameter<T> bias, std::int64_t channels, float eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (c >= channels) return;
  statistics[c] = mean[c];
  statistics[channels + c] = var[c];
  write_forward(to, statistics, weight, bias, c, channels, eps);
}

template <class T>
__global__ void __launch_bounds__(128)
    finish_sums(Coefficients to, const double* statistics, Parameter<T> weight, Parameter<T> bias,
                Parameter<T> grad_weight, Parameter<T> grad_bias, const float* partial,
                std::int64_t chunks, std::int64_t channels, float eps, float one_over_n) {
  const std::int64_t c = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (c >= channels) return;
  float sum = 0, product = 0;
  for (std::int64_t k = 0; k < chunks; ++k) {
    sum += partial[(k * channels + c) * 2];
    product += partial[(k * channels + c) * 2 + 1];
  }
  if (grad_weight) grad_weight.set(c, product);
  if (grad_bias) grad_bias.set(c, sum);
  write_forward(to, statistics, weight, bias, c, channels, eps);
  const Channel<T> channel(statistics, weight, bias, c, channels, eps);
  to.of_bias[c] = sum * one_over_n;  // one_over_n is 0 for running statistics
  to.of_weight[c] = product * channel.scale * one_over_n;
}

// -- the elements
// ----------------------------------------------------------------------------------

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
__global__ void __launch_bounds__(kThreads)
    forward_elements(T* y, const T* x, Coefficients from, std::int64_t n, std::int64_t channels,
                     std::int64_t inner, Activation a) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
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
__global__ void __launch_bounds__(kThreads)
    backward_elements(T* dx, const T* g, const T* x, Coefficients from, std::int64_t n,
                      std::int64_t channels, std::int64_t inner, Activation a, bool of_input) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
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
  for (int j = 0; j < kWidth; ++j) d[j] = slope[j] * (d[j] - other[j] - v[j] * mean[j]);
  store(dx + i, d);
}

// f<kWidth, kLast>(blocks)
template <class T, class F>
void visit_elements(const Layout& l, bool vectors, F&& f) {
  constexpr int kWide = kVector<T>;
  const std::int64_t n = l.values() * l.channels;
  if (n == 0) return;
  const unsigned blocks = blocks_for(n, kThreads * (vectors ? kWide : 1));
  if (!vectors) return f.template operator()<1, false>(blocks);
  if (l.last) return f.template operator()<kWide, true>(blocks);
  f.template operator()<kWide, false>(blocks);
}

}  // namespace

bool channels_last(const TensorView& x) {
  if (x.rank() == 2) return true;
  std::int64_t step = x.shape[1];
  if (x.strides[1] != 1 && x.shape[1] != 1) return false;
  for (int i = x.rank() - 1; i >= 2; --i) {
    if (x.shape[i] != 1 && x.strides[i] != step) return false;
    step *= x.shape[i];
  }
  return (x.shape[0] == 1 || x.strides[0] == step) && !x.contiguous();
}

std::int64_t batch_norm_workspace(const TensorView& input) {
  const Layout l(input);
  return 3 * l.chunks() * l.channels + 5 * l.channels;
}

void batch_norm_forward(const BatchNormParams& params, const TensorView& input,
                        const BatchNormOperands& operands, const TensorView& statistics,
                        const TensorView& output, const TensorView& workspace,
                        cudaStream_t stream) {
  const Layout l(input);
  const Extent e = extent_of(l);
  auto* partial = workspace.as<float>();
  const Coefficients to = coefficients(partial, l);
  const auto eps = static_cast<float>(params.eps);
  auto* saved = statistics.as<double>();
  const unsigned channel_blocks = blocks_for(l.channels, 128);
  const auto chunks = static_cast<unsigned>(l.chunks());
  if (l.channels == 0) return;
  visit_gpu(input.dtype, [&]<class T>() {
    constexpr int kWide = kVector<T>;
    const Parameter<T> mean(operands.running_mean, 0), var(operands.running_var, 1);
    const Parameter<T> w(operands.weight, 1), b(operands.bias, 0);
    const T* x = input.as<T>();
    const auto planes = static_cast<unsigned>(l.channels);
    if (!params.training) {
      take_running<<<channel_blocks, 128, 0, stream>>>(to, saved, mean, var, w, b, l.channels, eps);
    } else {
      // vectorizable: packs must not straddle planes
      if (!l.last && vectorizable(l.inner, input))
        moments_planes<kWide><<<dim3(chunks, planes), kThreads, 0, stream>>>(partial, x, e);
      else if (!l.last)
        moments_planes<1><<<dim3(chunks, planes), kThreads, 0, stream>>>(partial, x, e);
      else if (vectorizable(l.channels, input))
        moments_vectors<kWide>
            <<<dim3(chunks, blocks_for(l.channels, 8 * kWide)), dim3(8, 32), 0, stream>>>(partial,
                                                                                          x, e);
      else
        moments_columns<<<dim3(chunks, blocks_for(l.channels, 32)), dim3(32, 8), 0, stream>>>(
            partial, x, e);
      finish_moments<<<channel_blocks, 128, 0, stream>>>(to, saved, mean, var, w, b, partial,
                                                         l.chunks(), l.channels,
                                                         static_cast<float>(params.momentum), eps);
    }
    T* y = output.as<T>();
    const bool vectors = vectorizable(l.last ? l.channels : l.inner, input, output);
    visit_elements<T>(l, vectors, [&]<int kWidth, bool kLast>(unsigned blocks) {
      forward_elements<kWidth, kLast><<<blocks, kThreads, 0, stream>>>(
          y, x, to, input.numel(), l.channels, l.inner, params.activation);
    });
  });
}

void batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& bias,
                         const TensorView& grad_input, const TensorView& grad_weight,
                         const TensorView& grad_bias, const TensorView& workspace,
                         cudaStream_t stream) {
  const Layout l(input);
  const Extent e = extent_of(l);
  auto* partial = workspace.as<float>();
  const Coefficients to = coefficients(partial, l);
  const auto* saved = statistics.as<double>();
  const auto eps = static_cast<float>(params.eps);
  const bool of_input = saves_input(params.activation);
  const auto chunks = static_cast<unsigned>(l.chunks());
  if (l.channels == 0) return;
  visit_gpu(input.dtype, [&]<class T>() {
    constexpr int kWide = kVector<T>;
    const Parameter<T> w(weight, 1), b(bias, 0);
    const T *g = grad.as<T>(), *x = input.as<T>();
    const auto planes = static_cast<unsigned>(l.channels);
    const auto sums = [&](auto kernel, dim3 grid, dim3 block) {
      kernel<<<grid, block, 0, stream>>>(partial, g, x, saved, w, b, e, eps, params.activation,
                                         of_input);
    };
    if (!l.last && vectorizable(l.inner, grad, input))
      sums(sums_planes<kWide, T>, dim3(chunks, planes), kThreads);
    else if (!l.last)
      sums(sums_planes<1, T>, dim3(chunks, planes), kThreads);
    else if (vectorizable(l.channels, grad, input))
      sums(sums_columns<4, T>, dim3(chunks, blocks_for(l.channels, 32)), dim3(8, 32));
    else
      sums(sums_columns<1, T>, dim3(chunks, blocks_for(l.channels, 32)), dim3(32, 8));
    finish_sums<<<blocks_for(l.channels, 128), 128, 0, stream>>>(
        to, saved, w, b, Parameter<T>(grad_weight, 0), Parameter<T>(grad_bias, 0), partial,
        l.chunks(), l.channels, eps, params.training ? 1 / static_cast<float>(l.values()) : 0.0f);
    T* dx = grad_input.as<T>();
    const bool vectors = vectorizable(l.last ? l.channels : l.inner, grad, input, grad_input);
    visit_elements<T>(l, vectors, [&]<int kWidth, bool kLast>(unsigned blocks) {
      backward_elements<kWidth, kLast><<<blocks, kThreads, 0, stream>>>(
          dx, g, x, to, input.numel(), l.channels, l.inner, params.activation, of_input);
    });
  });
}

}  // namespace pyfast::cuda
