#include "cuda/ops/pool/channels.cuh"
#include "cuda/ops/pool/pool.h"

namespace pyfast::cuda {

void max_pool_channels(const PoolParams& params, const TensorView& input, const TensorView& output,
                       const TensorView& taps, cudaStream_t stream) {
  max_channels_into(params, input, output, taps, Launch{stream});
}

void max_pool_channels_backward(const PoolParams& params, const TensorView& grad,
                                const TensorView& taps, const TensorView& grad_input,
                                cudaStream_t stream) {
  max_channels_backward_into(params, grad, taps, grad_input, Launch{stream});
}

void avg_pool_channels(const PoolParams& params, const TensorView& input, const TensorView& output,
                       cudaStream_t stream) {
  avg_channels_into(params, input, output, Launch{stream});
}

void avg_pool_channels_backward(const PoolParams& params, const TensorView& grad,
                                const TensorView& grad_input, cudaStream_t stream) {
  avg_channels_backward_into(params, grad, grad_input, Launch{stream});
}

}  // namespace pyfast::cuda
