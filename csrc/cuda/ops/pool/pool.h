// Pooling on the GPU: what csrc/ops/pool/pool.h promises, C order.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/pool/pool.h"

namespace pyfast::cuda {

void max_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      const TensorView& indices, cudaStream_t stream);
// taps: uint8, windows of the forward call.
void max_pool_taps_backward(const PoolParams& params, const TensorView& grad,
                            const TensorView& taps, const TensorView& grad_input,
                            cudaStream_t stream);
void avg_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      cudaStream_t stream);
void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input, cudaStream_t stream);

}  // namespace pyfast::cuda
