// A thread an output forward, a thread an input backward, which gathers from everywhere its element
// was copied to: nothing is added atomically.
#include "cuda/core/numeric.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/pad/pad.h"
#include "cuda/ops/pad/places.h"

namespace pyfast::cuda {

namespace {

template <class T>
__global__ void __launch_bounds__(256) copy(T* y, const T* __restrict__ x, std::int64_t n, T around,
                                            const __grid_constant__ PadPlaces places) {
  const std::int64_t o = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (o >= n) return;
  const std::int64_t i = places.source(o);
  y[o] = i == kZero ? around : x[i];
}

template <class T>
__global__ void __launch_bounds__(256) gather(T* dx, const T* __restrict__ g, std::int64_t n,
                                              const __grid_constant__ PadPlaces places) {
  const std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  places.each_place(i, [&](std::int64_t o) { sum += to_float(g[o]); });
  dx[i] = from_float<T>(sum);
}

}  // namespace

void pad_forward(const PadParams& params, const TensorView& input, const TensorView& output,
                 cudaStream_t stream) {
  const std::int64_t n = output.numel();
  if (n == 0) return;
  visit_gpu(input.dtype, [&]<class T>() {
    const T around = from_float<T>(static_cast<float>(params.value));
    copy<<<blocks_for(n, 256), 256, 0, stream>>>(output.as<T>(), input.as<const T>(), n, around,
                                                 PadPlaces(params));
  });
}

void pad_backward(const PadParams& params, const TensorView& grad, const TensorView& grad_input,
                  cudaStream_t stream) {
  const std::int64_t n = grad_input.numel();
  if (n == 0) return;
  visit_gpu(grad.dtype, [&]<class T>() {
    gather<<<blocks_for(n, 256), 256, 0, stream>>>(grad_input.as<T>(), grad.as<const T>(), n,
                                                   PadPlaces(params));
  });
}

}  // namespace pyfast::cuda
