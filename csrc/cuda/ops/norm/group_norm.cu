// Two passes over memory each way, as batch norm's in C order. Statistics are of rows: a sample's
// group, its channels side by side; the elements are seen as one channel for each sample's channel.
#include "cuda/core/parameter.cuh"
#include "cuda/core/reduce.cuh"
#include "cuda/ops/norm/elements.cuh"
#include "cuda/ops/norm/moments.cuh"
#include "cuda/ops/norm/norm.h"

namespace pyfast::cuda {

namespace {

struct Groups {
  std::int64_t samples, channels, groups, inner;

  Groups(const GroupNormParams& p, const TensorView& x)
      : samples(x.shape[0]), channels(x.shape[1]), groups(p.groups), inner(1) {
    for (int i = 2; i < x.rank(); ++i) inner *= x.shape[i];
  }
  __host__ __device__ std::int64_t rows() const { return samples * groups; }
  __host__ __device__ std::int64_t planes() const { return samples * channels; }
  __host__ __device__ std::int64_t width() const { return channels / groups; }  // channels a group
  Planes as_rows() const { return {1, rows(), width() * inner}; }
  Planes as_planes() const { return {1, planes(), inner}; }
};

// A row's statistics, for the planes of its channels.
struct RowStatistics {
  const double* at;
  std::int64_t rows;
  float eps;
  __device__ float mean(std::int64_t row) const { return static_cast<float>(at[row]); }
  __device__ float scale(std::int64_t row) const {
    return rsqrtf(static_cast<float>(at[rows + row]) + eps);
  }
};

__global__ void __launch_bounds__(128) finish_moments(double* statistics, const float* partial,
                                                      std::int64_t chunks, std::int64_t rows) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (row >= rows) return;
  const Moments m = merge_chunks(partial, row, rows, chunks);
  if (threadIdx.x % 32 != 0) return;
  statistics[row] = m.mean;
  statistics[rows + row] = m.m2 / m.n;
}

// What the elements of each plane need.
template <class T>
__global__ void __launch_bounds__(128)
    write_forward(Coefficients to, RowStatistics statistics, Parameter<T> weight, Parameter<T> bias,
                  Groups n) {
  const std::int64_t plane = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (plane >= n.planes()) return;
  const std::int64_t row = plane / n.width(), c = plane % n.channels;
  to.mean[plane] = statistics.mean(row);
  to.slope[plane] = statistics.scale(row) * weight[c];
  to.bias[plane] = bias[c];
}

// instance_norm: running statistics move towards the samples' average.
template <class T>
__global__ void __launch_bounds__(128)
    move_running(Parameter<T> running_mean, Parameter<T> running_var, const double* statistics,
                 Groups n, float momentum, float unbiased) {
  const std::int64_t c = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (c >= n.channels) return;
  float mean = 0, variance = 0;
  for (std::int64_t sample = 0; sample < n.samples; ++sample) {
    mean += static_cast<float>(statistics[sample * n.channels + c]);
    variance += static_cast<float>(statistics[n.rows() + sample * n.channels + c]);
  }
  const auto samples = static_cast<float>(n.samples);
  running_mean.set(c, (1 - momentum) * running_mean[c] + momentum * (mean / samples));
  running_var.set(c, (1 - momentum) * running_var[c] + momentum * unbiased * (variance / samples));
}

// Each plane's sums of g and of g xhat.
template <class Team, int kWidth, class T>
__global__ void __launch_bounds__(Team::kBlock)
    sums_planes(float* partial, const T* g, const T* x, RowStatistics statistics,
                const Planes planes, std::int64_t width) {
  const std::int64_t plane = Team::channel();
  if (plane >= planes.channels) return;
  const float mean = statistics.mean(plane / width), scale = statistics.scale(plane / width);
  float sum = 0, product = 0;
  Team::template packs<kWidth>(planes, [&](std::int64_t at) {
    float d[kWidth], v[kWidth];
    load(d, g + at);
    load(v, x + at);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      sum += d[i];
      product += d[i] * ((v[i] - mean) * scale);
    }
  });
  sum = team_reduce<Team::kThreads>(sum, Add());
  product = team_reduce<Team::kThreads>(product, Add());
  if (Team::lane() != 0) return;
  float* to = partial + 2 * Team::slot(planes);
  to[0] = sum, to[1] = product;
}

struct Sums {
  float of_bias = 0, of_weight = 0;
};

__device__ Sums add_chunks(const float* partial, std::int64_t plane, std::int64_t planes,
                           std::int64_t chunks) {
  Sums s;
  for (std::int64_t k = 0; k < chunks; ++k) {
    s.of_bias += partial[2 * (k * planes + plane)];
    s.of_weight += partial[2 * (k * planes + plane) + 1];
  }
  return s;
}

// A warp a row: its sums over channels, and what the elements need of them.
template <class T>
__global__ void __launch_bounds__(128)
    finish_rows(Coefficients to, RowStatistics statistics, Parameter<T> weight,
                const float* partial, std::int64_t chunks, Groups n) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (row >= n.rows()) return;
  const std::int64_t width = n.width(), first = row * width, channel = row % n.groups * width;
  float sum = 0, product = 0;
  for (std::int64_t k = threadIdx.x % 32; k < width; k += 32) {
    const Sums s = add_chunks(partial, first + k, n.planes(), chunks);
    const float w = weight[channel + k];
    sum += w * s.of_bias;
    product += w * s.of_weight;
  }
  const float mean = statistics.mean(row), scale = statistics.scale(row);
  const float share = scale / (static_cast<float>(width) * static_cast<float>(n.inner));
  sum = warp_reduce(sum, Add()) * share;
  product = warp_reduce(product, Add()) * share * scale;
  for (std::int64_t k = threadIdx.x % 32; k < width; k += 32) {
    to.mean[first + k] = mean;
    to.slope[first + k] = scale * weight[channel + k];
    to.bias[first + k] = 0;
    to.of_bias[first + k] = sum;
    to.of_weight[first + k] = product;
  }
}

// 32 channels a block; each of 32 warps adds every 32nd sample, then the 32 sums are added.
template <class T>
__global__ void __launch_bounds__(1024)
    add_samples(Parameter<T> grad_weight, Parameter<T> grad_bias, const float* partial,
                std::int64_t chunks, Groups n) {
  __shared__ Sums sums[32][33];
  const std::int64_t c = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  Sums mine;
  if (c < n.channels)
    for (std::int64_t sample = threadIdx.y; sample < n.samples; sample += 32) {
      const Sums s = add_chunks(partial, sample * n.channels + c, n.planes(), chunks);
      mine.of_bias += s.of_bias;
      mine.of_weight += s.of_weight;
    }
  sums[threadIdx.y][threadIdx.x] = mine;
  __syncthreads();
  const std::int64_t channel = std::int64_t{blockIdx.x} * 32 + threadIdx.y;
  mine = sums[threadIdx.x][threadIdx.y];
  mine.of_bias = warp_reduce(mine.of_bias, Add());
  mine.of_weight = warp_reduce(mine.of_weight, Add());
  if (threadIdx.x != 0 || channel >= n.channels) return;
  if (grad_weight) grad_weight.set(channel, mine.of_weight);
  if (grad_bias) grad_bias.set(channel, mine.of_bias);
}

}  // namespace

// Partial moments of rows or partial sums of planes, whichever is more, then the coefficients.
std::int64_t group_norm_workspace(const GroupNormParams& params, const TensorView& input) {
  const Groups n(params, input);
  const Planes rows = n.as_rows(), planes = n.as_planes();
  return 3 * rows.chunks() * n.rows() + 2 * planes.chunks() * n.planes() +
         Coefficients::kArrays * n.planes();
}

void group_norm_forward(const GroupNormParams& params, const TensorView& input,
                        const GroupNormOperands& operands, const TensorView& statistics,
                        const TensorView& output, const TensorView& workspace,
                        cudaStream_t stream) {
  if (input.numel() == 0) return;
  const Groups n(params, input);
  const Planes rows = n.as_rows();
  const Coefficients to(workspace.as<float>(), n.planes());
  float* partial = workspace.as<float>() + Coefficients::kArrays * n.planes();
  auto* saved = statistics.as<double>();
  visit_gpu(input.dtype, [&]<class T>() {
    launch_moments<T>(partial, input, rows, stream);
    finish_moments<<<blocks_for(n.rows(), 4), 128, 0, stream>>>(saved, partial, rows.chunks(),
                                                                n.rows());
    write_forward<<<blocks_for(n.planes(), 128), 128, 0, stream>>>(
        to, RowStatistics{saved, n.rows(), static_cast<float>(params.eps)},
        Parameter<T>(operands.weight, 1), Parameter<T>(operands.bias, 0), n);
    if (operands.running_mean.defined)
      move_running<<<blocks_for(n.channels, 128), 128, 0, stream>>>(
          Parameter<T>(operands.running_mean, 0), Parameter<T>(operands.running_var, 1), saved, n,
          static_cast<float>(params.momentum),
          static_cast<float>(n.inner) / static_cast<float>(n.inner - 1));
    const bool vectors = vectorizable(n.inner, input, output);
    visit_elements<T>(input.numel(), false, vectors, [&]<int kWidth, bool kLast>(unsigned blocks) {
      forward_elements<kWidth, kLast><<<blocks, 256, 0, stream>>>(
          output.as<T>(), nullptr, input.as<const T>(), static_cast<const T*>(nullptr), to,
          input.numel(), n.planes(), n.inner, Activation::none);
    });
  });
}

void group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const TensorView& workspace, cudaStream_t stream) {
  const Groups n(params, input);
  if (n.channels == 0) return;
  const Planes planes = n.as_planes();
  const RowStatistics rows{statistics.as<const double>(), n.rows(), static_cast<float>(params.eps)};
  const Coefficients to(workspace.as<float>(), n.planes());
  float* partial = workspace.as<float>() + Coefficients::kArrays * n.planes();
  visit_gpu(input.dtype, [&]<class T>() {
    const T *g = grad.as<T>(), *x = input.as<T>();
    if (n.planes() > 0)
      visit_planes<T>(planes, vectorizable(n.inner, grad, input), [&]<class Team, int kWidth>() {
        sums_planes<Team, kWidth><<<Team::grid(planes), Team::kBlock, 0, stream>>>(
            partial, g, x, rows, planes, n.width());
      });
    if (input.numel() > 0)
      finish_rows<<<blocks_for(n.rows(), 4), 128, 0, stream>>>(to, rows, Parameter<T>(weight, 1),
                                                               partial, planes.chunks(), n);
    if (grad_weight.defined || grad_bias.defined)
      add_samples<<<blocks_for(n.channels, 32), dim3(32, 32), 0, stream>>>(
          Parameter<T>(grad_weight, 0), Parameter<T>(grad_bias, 0), partial, planes.chunks(), n);
    const bool vectors = vectorizable(n.inner, grad, input, grad_input);
    visit_elements<T>(input.numel(), false, vectors, [&]<int kWidth, bool kLast>(unsigned blocks) {
      backward_elements<kWidth, kLast>
          <<<blocks, 256, 0, stream>>>(grad_input.as<T>(), static_cast<T*>(nullptr), g, x, to,
                                       input.numel(), n.planes(), n.inner, Backward());
    });
  });
}

}  // namespace pyfast::cuda
