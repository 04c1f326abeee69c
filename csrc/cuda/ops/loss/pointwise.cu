// Every array passes through once, 16 bytes a thread. A reduced loss is summed in kLossChunks
// chunks, cut by the number of elements alone, which one block then adds up in order.
#include "cuda/core/numeric.cuh"
#include "cuda/core/reduce.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/loss/elements.h"
#include "cuda/ops/loss/pointwise.h"

namespace pyfast::cuda {

namespace {

constexpr int kThreads = 256;

template <class T>
struct Operands {
  const T *input, *target, *weight, *pos_weight;  // the last two may be null
  std::int64_t n;
  Loss loss;
  float scale;

  // f(j, element j of the pack at i, its weight)
  template <int kWidth, class F>
  __device__ __forceinline__ void each(std::int64_t i, F f) const {
    float x[kWidth], t[kWidth], w[kWidth], p[kWidth];
    load(x, input + i);
    load(t, target + i);
    if (weight) load(w, weight + i);
    if (pos_weight) load(p, pos_weight + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j)
      f(j, loss_element(loss, scale, x[j], t[j], pos_weight ? p[j] : 1.0f), weight ? w[j] : 1.0f);
  }
};

template <class T>
Operands<T> operands_of(const PointwiseParams& p, const TensorView& input, const TensorView& target,
                        const TensorView& weight, const TensorView& pos_weight) {
  return {input.as<const T>(),        target.as<const T>(), weight.as<const T>(),
          pos_weight.as<const T>(),   input.numel(),        p.loss,
          static_cast<float>(p.scale)};
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) values(T* output, const Operands<T> o) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
  if (i >= o.n) return;
  float y[kWidth];
  o.template each<kWidth>(i, [&](int j, const LossElement& e, float w) { y[j] = w * e.value; });
  store(output + i, y);
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) sum_chunks(float* partial, const Operands<T> o) {
  const std::int64_t packs = (o.n + kWidth - 1) / kWidth;
  const std::int64_t each = (packs + kLossChunks - 1) / kLossChunks * kWidth;
  const std::int64_t first = blockIdx.x * each, last = first + each < o.n ? first + each : o.n;
  float sum = 0;
  for (std::int64_t i = first + threadIdx.x * kWidth; i < last; i += kThreads * kWidth)
    o.template each<kWidth>(i, [&](int, const LossElement& e, float w) { sum += w * e.value; });
  sum = team_reduce<kThreads>(sum, Add());
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kLossChunks)
    add_chunks(T* output, const float* partial, float divisor) {
  const float sum = team_reduce<kLossChunks>(partial[threadIdx.x], Add());
  if (threadIdx.x == 0) output[0] = from_float<T>(sum / divisor);
}

// `each`: grad has an entry for every element, else one for all.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    gradients(T* dx, T* dt, const T* grad, bool each, float divisor, const Operands<T> o) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
  if (i >= o.n) return;
  float g[kWidth], of_input[kWidth], of_target[kWidth];
  if (each) {
    load(g, grad + i);
  } else {
    const float whole = to_float(grad[0]) / divisor;
#pragma unroll
    for (float& v : g) v = whole;
  }
  o.template each<kWidth>(i, [&](int j, const LossElement& e, float w) {
    of_input[j] = g[j] * (w * e.of_input);
    of_target[j] = g[j] * (w * e.of_target);
  });
  store(dx + i, of_input);
  if (dt) store(dt + i, of_target);
}

// f<kWidth>(blocks)
template <class T, class F>
void visit_packs(std::int64_t n, bool vectors, F&& f) {
  if (vectors) return f.template operator()<kVector<T>>(blocks_for(n, kThreads * kVector<T>));
  f.template operator()<1>(blocks_for(n, kThreads));
}

}  // namespace

void pointwise_forward(const PointwiseParams& params, const TensorView& input,
                       const TensorView& target, const TensorView& weight,
                       const TensorView& pos_weight, const TensorView& output,
                       const TensorView& workspace, cudaStream_t stream) {
  const std::int64_t n = input.numel();
  const bool vectors = vectorizable(n, input, target, weight, pos_weight);
  visit_gpu(input.dtype, [&]<class T>() {
    const auto operands = operands_of<T>(params, input, target, weight, pos_weight);
    T* y = output.as<T>();
    if (params.reduction == Reduction::none) {
      if (n == 0) return;
      return visit_packs<T>(n, vectors && vectorizable(n, output),
                            [&]<int kWidth>(unsigned blocks) {
                              values<kWidth><<<blocks, kThreads, 0, stream>>>(y, operands);
                            });
    }
    auto* partial = workspace.as<float>();
    visit_packs<T>(n, vectors, [&]<int kWidth>(unsigned) {
      sum_chunks<kWidth><<<kLossChunks, kThreads, 0, stream>>>(partial, operands);
    });
    add_chunks<<<1, kLossChunks, 0, stream>>>(y, partial, static_cast<float>(params.divisor));
  });
}

void pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                        const TensorView& input, const TensorView& target, const TensorView& weight,
                        const TensorView& pos_weight, const TensorView& grad_input,
                        const TensorView& grad_target, cudaStream_t stream) {
  const std::int64_t n = input.numel();
  if (n == 0) return;
  const bool each = params.reduction == Reduction::none;
  const bool vectors =
      vectorizable(n, input, target, weight, pos_weight, grad_input, grad_target) &&
      (!each || vectorizable(n, grad));
  visit_gpu(input.dtype, [&]<class T>() {
    visit_packs<T>(n, vectors, [&]<int kWidth>(unsigned blocks) {
      gradients<kWidth><<<blocks, kThreads, 0, stream>>>(
          grad_input.as<T>(), grad_target.as<T>(), grad.as<const T>(), each,
          static_cast<float>(params.divisor),
          operands_of<T>(params, input, target, weight, pos_weight));
    });
  });
}

}  // namespace pyfast::cuda
