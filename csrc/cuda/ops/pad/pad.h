// Padding on the GPU: what csrc/ops/pad/pad.h promises, C order.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/pad/pad.h"

namespace pyfast::cuda {

void pad_forward(const PadParams& params, const TensorView& input, const TensorView& output,
                 cudaStream_t stream);
void pad_backward(const PadParams& params, const TensorView& grad, const TensorView& grad_input,
                  cudaStream_t stream);

}  // namespace pyfast::cuda
