// Dropout on the GPU: the very mask of csrc/ops/dropout/dropout.h, drawn from the same counters.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/dropout/dropout.h"

namespace pyfast::cuda {

void dropout_forward(const DropoutParams& params, const TensorView& input, const TensorView& output,
                     cudaStream_t stream);
void dropout_backward(const DropoutParams& params, const TensorView& grad,
                      const TensorView& grad_input, cudaStream_t stream);

}  // namespace pyfast::cuda
