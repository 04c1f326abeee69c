// softmax and log_softmax on the GPU: what csrc/ops/softmax/softmax.h promises, C order only.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/softmax/softmax.h"

namespace pyfast::cuda {

void softmax_forward(const SoftmaxParams& params, const TensorView& input, const TensorView& output,
                     cudaStream_t stream);
void softmax_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input, cudaStream_t stream);

}  // namespace pyfast::cuda
