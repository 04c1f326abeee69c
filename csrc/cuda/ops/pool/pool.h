// Pooling on the GPU: what csrc/ops/pool/pool.h promises, in C order.
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
// places[i] = the flat position in the input that output i's index leads to, -1 for one outside its
// plane, whose gradient goes nowhere: indices are not read on the host.
void max_pool_places(const PoolParams& params, const TensorView& indices, const TensorView& places,
                     cudaStream_t stream);
// `order` is a stable argsort of places.
void max_pool_backward(const TensorView& grad, const TensorView& places, const TensorView& order,
                       const TensorView& grad_input, cudaStream_t stream);
void avg_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      cudaStream_t stream);
void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input, cudaStream_t stream);

// The same of images whose channels lie last, and so do the results; `taps` are uint8, or
// undefined.
void max_pool_channels(const PoolParams& params, const TensorView& input, const TensorView& output,
                       const TensorView& taps, cudaStream_t stream);
void max_pool_channels_backward(const PoolParams& params, const TensorView& grad,
                                const TensorView& taps, const TensorView& grad_input,
                                cudaStream_t stream);
void avg_pool_channels(const PoolParams& params, const TensorView& input, const TensorView& output,
                       cudaStream_t stream);
void avg_pool_channels_backward(const PoolParams& params, const TensorView& grad,
                                const TensorView& grad_input, cudaStream_t stream);

}  // namespace pyfast::cuda
