// Two passes over memory each way: per-channel sums, then the elements. The sums of a chunk of each
// channel are written out and merged in order, chunks being cut by shape alone. In C order a
// channel is planes of `inner` neighbours; with channels last it is a column, and threads that sit
// side by side take neighbouring channels.
//
// Nothing is saved for the activation: backward computes its input again from x, which it reads
// anyway. Behind a sum that would take the residual, too; a bit an element is saved instead.
#include "cuda/core/parameter.cuh"
#include "cuda/core/reduce.cuh"
#include "cuda/ops/norm/elements.cuh"
#include "cuda/ops/norm/moments.cuh"
#include "cuda/ops/norm/norm.h"

namespace pyfast::cuda {

namespace {

constexpr int kThreads = 256;

// With channels last: rows of `channels`, cut into chunks of rows.
struct Rows {
  std::int64_t values, channels, chunk;

  Rows(std::int64_t values_, std::int64_t channels_)
      : values(values_), channels(channels_), chunk((values_ + chunks() - 1) / chunks()) {}
  std::int64_t chunks() const {  // at least 256 rows each: a block has many channels
    constexpr std::int64_t kMost = 512;
    const std::int64_t wanted = (values + 255) / 256;
    return wanted < 1 ? 1 : wanted < kMost ? wanted : kMost;
  }
};

struct Layout {
  bool last;
  Planes planes;  // where not last
  Rows rows;      // where last

  explicit Layout(const TensorView& x) : Layout(x, pixels_of(x)) {}
  std::int64_t channels() const { return planes.channels; }
  std::int64_t values() const { return rows.values; }  // of a channel
  std::int64_t inner() const { return last ? 1 : planes.inner; }
  std::int64_t chunks() const { return last ? rows.chunks() : planes.chunks(); }

 private:
  Layout(const TensorView& x, std::int64_t pixels)
      : last(channels_last(x)),
        planes(x.shape[0], x.shape[1], pixels),
        rows(x.shape[0] * pixels, x.shape[1]) {}
  static std::int64_t pixels_of(const TensorView& x) {
    std::int64_t pixels = 1;
    for (int i = 2; i < x.rank(); ++i) pixels *= x.shape[i];
    return pixels;
  }
};

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

template <class Team, int kWidth, class T>
__global__ void __launch_bounds__(Team::kBlock)
    sums_planes(float* partial, const T* g, const T* x, const double* statistics,
                Parameter<T> weight, Parameter<T> bias, const Planes planes, float eps,
                Backward back) {
  if (Team::channel() >= planes.channels) return;
  const Channel<T> channel(statistics, weight, bias, Team::channel(), planes.channels, eps);
  float sum = 0, product = 0;
  Team::template packs<kWidth>(planes, [&](std::int64_t at) {
    float d[kWidth], v[kWidth];
    load(d, g + at);
    load(v, x + at);
    const unsigned pack = back.pack<kWidth>(at);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float mine = back(d[i], channel.before(v[i]), pack, i);
      sum += mine;
      product += mine * channel.normal(v[i]);
    }
  });
  sum = team_reduce<Team::kThreads>(sum, Add());
  product = team_reduce<Team::kThreads>(product, Add());
  if (Team::lane() != 0) return;
  float* to = partial + 2 * Team::slot(planes);
  to[0] = sum, to[1] = product;
}

// -- channels last: 32 threads side by side take neighbouring channels, 8 rows of them a block. The
// grid's y is the chunks: there may be more channels than a grid has room for along y.

template <class T>
__global__ void __launch_bounds__(kThreads) moments_columns(float* partial, const T* x, Rows e) {
  const std::int64_t c = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  const std::int64_t first = blockIdx.y * e.chunk;
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
  put_moments(partial, blockIdx.y * e.channels + c, m);
}

// A thread takes kWidth channels: with 16 bits that is a full sector a quarter warp.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) moments_vectors(float* partial, const T* x, Rows e) {
  const std::int64_t c = (std::int64_t{blockIdx.x} * 8 + threadIdx.x) * kWidth;
  const std::int64_t first = blockIdx.y * e.chunk;
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
    put_moments(partial, blockIdx.y * e.channels + c + i, m[i]);
  }
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    sums_columns(float* partial, const T* g, const T* x, const double* statistics,
                 Parameter<T> weight, Parameter<T> bias, Rows e, float eps, Backward back) {
  constexpr int kAcross = kWidth == 1 ? 32 : 8, kDown = kThreads / kAcross;
  const std::int64_t c = (std::int64_t{blockIdx.x} * kAcross + threadIdx.x) * kWidth;
  const std::int64_t first = blockIdx.y * e.chunk;
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
      const unsigned pack = back.pack<kWidth>(row * e.channels + c);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        const float normal = (v[i] - mean[i]) * scale[i];
        const float mine = back(d[i], normal * w[i] + b[i], pack, i);
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
    float* to = partial + (blockIdx.y * e.channels + c + i) * 2;
    to[0] = sum[i], to[1] = product[i];
  }
}

// -- between the passes: a warp a channel merges its chunks, and leaves what the elements need

Coefficients coefficients(float* workspace, const Layout& l) {
  return {workspace + 3 * l.chunks() * l.channels(), l.channels()};
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
  const std::int64_t c = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (c >= channels) return;
  const Moments m = merge_chunks(partial, c, channels, chunks);
  if (threadIdx.x % 32 != 0) return;
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
  const std::int64_t c = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (c >= channels) return;
  float sum = 0, product = 0;
  for (std::int64_t k = threadIdx.x % 32; k < chunks; k += 32) {
    sum += partial[(k * channels + c) * 2];
    product += partial[(k * channels + c) * 2 + 1];
  }
  sum = warp_reduce(sum, Add());
  product = warp_reduce(product, Add());
  if (threadIdx.x % 32 != 0) return;
  if (grad_weight) grad_weight.set(c, product);
  if (grad_bias) grad_bias.set(c, sum);
  write_forward(to, statistics, weight, bias, c, channels, eps);
  const Channel<T> channel(statistics, weight, bias, c, channels, eps);
  const float slope = channel.scale * channel.weight;
  to.of_bias[c] = slope * sum * one_over_n;  // one_over_n is 0 for running statistics
  to.of_weight[c] = slope * product * channel.scale * one_over_n;
}

}  // namespace

std::int64_t batch_norm_workspace(const TensorView& input) {
  const Layout l(input);
  return (3 * l.chunks() + Coefficients::kArrays) * l.channels();
}

std::int64_t batch_norm_gates(const TensorView& input) { return (input.numel() + 7) / 8; }

void batch_norm_forward(const BatchNormParams& params, const TensorView& input,
                        const TensorView& residual, const BatchNormOperands& operands,
                        const TensorView& statistics, const TensorView& output,
                        const TensorView& gates, const TensorView& workspace, cudaStream_t stream) {
  const Layout l(input);
  const std::int64_t channels = l.channels();
  if (channels == 0) return;
  auto* partial = workspace.as<float>();
  const Coefficients to = coefficients(partial, l);
  const auto eps = static_cast<float>(params.eps);
  auto* saved = statistics.as<double>();
  visit_gpu(input.dtype, [&]<class T>() {
    constexpr int kWide = kVector<T>;
    const Parameter<T> mean(operands.running_mean, 0), var(operands.running_var, 1);
    const Parameter<T> w(operands.weight, 1), b(operands.bias, 0);
    const T* x = input.as<T>();
    const auto chunks = static_cast<unsigned>(l.chunks());
    if (!params.training) {
      take_running<<<blocks_for(channels, 128), 128, 0, stream>>>(to, saved, mean, var, w, b,
                                                                  channels, eps);
    } else {
      if (!l.last)
        launch_moments<T>(partial, input, l.planes, stream);
      else if (vectorizable(channels, input))
        moments_vectors<kWide>
            <<<dim3(blocks_for(channels, 8 * kWide), chunks), dim3(8, 32), 0, stream>>>(partial, x,
                                                                                        l.rows);
      else
        moments_columns<<<dim3(blocks_for(channels, 32), chunks), dim3(32, 8), 0, stream>>>(
            partial, x, l.rows);
      finish_moments<<<blocks_for(channels, 4), 128, 0, stream>>>(
          to, saved, mean, var, w, b, partial, l.chunks(), channels,
          static_cast<float>(params.momentum), eps);
    }
    T* y = output.as<T>();
    const bool vectors = vectorizable(l.last ? channels : l.inner(), input, residual, output);
    visit_elements<T>(input.numel(), l.last, vectors, [&]<int kWidth, bool kLast>(unsigned grid) {
      forward_elements<kWidth, kLast>
          <<<grid, 256, 0, stream>>>(y, gates.as<std::uint8_t>(), x, residual.as<const T>(), to,
                                     input.numel(), channels, l.inner(), params.activation);
    });
  });
}

void batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& bias, const TensorView& gates,
                         const TensorView& grad_input, const TensorView& grad_residual,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const TensorView& workspace, cudaStream_t stream) {
  const Layout l(input);
  const std::int64_t channels = l.channels();
  if (channels == 0) return;
  auto* partial = workspace.as<float>();
  const Coefficients to = coefficients(partial, l);
  const auto* saved = statistics.as<double>();
  const auto eps = static_cast<float>(params.eps);
  const Backward back{params.activation, saves_input(params.activation),
                      gates.as<const std::uint8_t>()};
  visit_gpu(input.dtype, [&]<class T>() {
    const Parameter<T> w(weight, 1), b(bias, 0);
    const T *g = grad.as<T>(), *x = input.as<T>();
    const auto sums = [&](auto kernel, dim3 grid, dim3 block, const auto& extent) {
      kernel<<<grid, block, 0, stream>>>(partial, g, x, saved, w, b, extent, eps, back);
    };
    const dim3 grid(blocks_for(channels, 32), static_cast<unsigned>(l.chunks()));
    if (!l.last)
      visit_planes<T>(
          l.planes, vectorizable(l.planes.inner, grad, input), [&]<class Team, int kWidth>() {
            sums(sums_planes<Team, kWidth, T>, Team::grid(l.planes), Team::kBlock, l.planes);
          });
    else if (vectorizable(channels, grad, input))
      sums(sums_columns<4, T>, grid, dim3(8, 32), l.rows);
    else
      sums(sums_columns<1, T>, grid, dim3(32, 8), l.rows);
    finish_sums<<<blocks_for(channels, 4), 128, 0, stream>>>(
        to, saved, w, b, Parameter<T>(grad_weight, 0), Parameter<T>(grad_bias, 0), partial,
        l.chunks(), channels, eps, params.training ? 1 / static_cast<float>(l.values()) : 0.0f);
    T* dx = grad_input.as<T>();
    const bool vectors =
        vectorizable(l.last ? channels : l.inner(), grad, input, grad_input, grad_residual);
    visit_elements<T>(input.numel(), l.last, vectors, [&]<int kWidth, bool kLast>(unsigned blocks) {
      backward_elements<kWidth, kLast><<<blocks, 256, 0, stream>>>(
          dx, grad_residual.as<T>(), g, x, to, input.numel(), channels, l.inner(), back);
    });
  });
}

}  // namespace pyfast::cuda
