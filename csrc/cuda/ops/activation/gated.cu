// One pass over memory each; prelu's backward sums each channel's slope gradient on the way, chunk
// by chunk, and a thread a channel then adds the chunks in order. softmin takes a pass more than
// softmax, which it is: it is too rare for kernels of its own.
#include "cuda/core/elementwise.cuh"
#include "cuda/core/planes.cuh"
#include "cuda/core/reduce.cuh"
#include "cuda/ops/activation/functions.h"
#include "cuda/ops/activation/gated.h"
#include "cuda/ops/softmax/softmax.h"

namespace pyfast::cuda {

namespace {

// Element i of the output; its two halves are at `first` and, `width` on, at `second`.
struct Gate {
  std::int64_t first, second;
  __device__ Gate(std::int64_t i, std::int64_t width)
      : first(i + i / width * width), second(first + width) {}
};

template <int kWidth, class T>
__global__ void __launch_bounds__(256)
    glu_values(T* y, const T* x, std::int64_t n, std::int64_t width) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * kWidth;
  if (i >= n) return;
  const Gate at(i, width);
  float a[kWidth], b[kWidth];
  load(a, x + at.first);
  load(b, x + at.second);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) a[j] *= sigmoid(b[j]);
  store(y + i, a);
}

template <int kWidth, class T>
__global__ void __launch_bounds__(256)
    glu_gradients(T* dx, const T* g, const T* x, std::int64_t n, std::int64_t width) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * kWidth;
  if (i >= n) return;
  const Gate at(i, width);
  float d[kWidth], a[kWidth], b[kWidth];
  load(d, g + i);
  load(a, x + at.first);
  load(b, x + at.second);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const float open = sigmoid(b[j]);
    b[j] = d[j] * (a[j] * open * (1 - open));
    a[j] = d[j] * open;
  }
  store(dx + at.first, a);
  store(dx + at.second, b);
}

template <class T>
struct PRelu {
  const T* weight;
  std::int64_t channels, inner;
  __device__ float operator()(std::int64_t i, float x) const {
    return x > 0 ? x : to_float(weight[i / inner % channels]) * x;
  }
};

template <class Team, int kWidth, class T>
__global__ void __launch_bounds__(Team::kBlock)
    prelu_gradients(T* dx, float* partial, const T* g, const T* x, const T* weight,
                    const Planes planes) {
  const std::int64_t channel = Team::channel();
  if (channel >= planes.channels) return;
  const float slope = to_float(weight[channel]);
  float sum = 0;
  Team::template packs<kWidth>(planes, [&](std::int64_t at) {
    float d[kWidth], v[kWidth];
    load(d, g + at);
    load(v, x + at);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      if (v[j] > 0) continue;
      sum += d[j] * v[j];
      d[j] *= slope;
    }
    store(dx + at, d);
  });
  sum = team_reduce<Team::kThreads>(sum, Add());
  if (Team::lane() == 0) partial[Team::slot(planes)] = sum;
}

template <class T>
__global__ void __launch_bounds__(128)
    add_chunks(T* sums, const float* partial, std::int64_t chunks, std::int64_t channels) {
  const std::int64_t c = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (c >= channels) return;
  float sum = 0;
  for (std::int64_t k = 0; k < chunks; ++k) sum += partial[k * channels + c];
  sums[c] = from_float<T>(sum);
}

Planes planes_of(const PReluParams& p) { return {p.outer, p.channels, p.inner}; }

struct Negative {
  __device__ float operator()(std::int64_t, float x) const { return -x; }
};

void negate(const TensorView& input, const TensorView& output, cudaStream_t stream) {
  visit_gpu(input.dtype, [&]<class T>() { map<T>(output, Negative(), stream, input); });
}

}  // namespace

void glu_forward(const GluParams& params, const TensorView& input, const TensorView& output,
                 cudaStream_t stream) {
  const std::int64_t n = output.numel();
  if (n == 0) return;
  visit_gpu(input.dtype, [&]<class T>() {
    constexpr int kWide = kVector<T>;
    if (vectorizable(params.width, input, output))
      glu_values<kWide><<<blocks_for(n, 256 * kWide), 256, 0, stream>>>(
          output.as<T>(), input.as<const T>(), n, params.width);
    else
      glu_values<1><<<blocks_for(n, 256), 256, 0, stream>>>(output.as<T>(), input.as<const T>(), n,
                                                            params.width);
  });
}

void glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input,
                  const TensorView& grad_input, cudaStream_t stream) {
  const std::int64_t n = grad.numel();
  if (n == 0) return;
  visit_gpu(input.dtype, [&]<class T>() {
    constexpr int kWide = kVector<T>;
    const T *g = grad.as<T>(), *x = input.as<T>();
    if (vectorizable(params.width, grad, input, grad_input))
      glu_gradients<kWide><<<blocks_for(n, 256 * kWide), 256, 0, stream>>>(grad_input.as<T>(), g, x,
                                                                           n, params.width);
    else
      glu_gradients<1>
          <<<blocks_for(n, 256), 256, 0, stream>>>(grad_input.as<T>(), g, x, n, params.width);
  });
}

void prelu_forward(const PReluParams& params, const TensorView& input, const TensorView& weight,
                   const TensorView& output, cudaStream_t stream) {
  visit_gpu(input.dtype, [&]<class T>() {
    map<T>(output, PRelu<T>{weight.as<const T>(), params.channels, params.inner}, stream, input);
  });
}

std::int64_t prelu_workspace(const PReluParams& params) {
  return params.channels * planes_of(params).chunks();
}

void prelu_backward(const PReluParams& params, const TensorView& grad, const TensorView& input,
                    const TensorView& weight, const TensorView& grad_input,
                    const TensorView& grad_weight, const TensorView& workspace,
                    cudaStream_t stream) {
  const Planes planes = planes_of(params);
  if (planes.channels == 0) return;
  auto* partial = workspace.as<float>();
  visit_gpu(input.dtype, [&]<class T>() {
    const T *g = grad.as<T>(), *x = input.as<T>(), *w = weight.as<T>();
    visit_planes<T>(
        planes, vectorizable(planes.inner, grad, input, grad_input), [&]<class Team, int kWidth>() {
          prelu_gradients<Team, kWidth><<<Team::grid(planes), Team::kBlock, 0, stream>>>(
              grad_input.as<T>(), partial, g, x, w, planes);
        });
    add_chunks<<<blocks_for(planes.channels, 128), 128, 0, stream>>>(
        grad_weight.as<T>(), partial, planes.chunks(), planes.channels);
  });
}

// Softmax and its gradient, which is linear in grad, read a row before they write it: they may run
// in place.
void softmin_forward(const SoftmaxParams& params, const TensorView& input, const TensorView& output,
                     cudaStream_t stream) {
  negate(input, output, stream);
  softmax_forward(params, output, output, stream);
}

void softmin_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input, cudaStream_t stream) {
  negate(grad, grad_input, stream);
  softmax_backward(params, grad_input, output, grad_input, stream);
}

}  // namespace pyfast::cuda
