// Activations on the GPU: what csrc/ops/activation/unary.h promises, C order only.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/activation/unary.h"

namespace pyfast::cuda {

void unary_forward(const UnaryParams& params, const TensorView& input, const TensorView& output,
                   cudaStream_t stream);
void unary_backward(const UnaryParams& params, const TensorView& grad, const TensorView& saved,
                    const TensorView& grad_input, cudaStream_t stream);

}  // namespace pyfast::cuda
