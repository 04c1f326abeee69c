// Activations that look beyond one element, on the GPU: what csrc/ops/activation/glu.h, prelu.h and
// softmin.h promise, C order only.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/activation/glu.h"
#include "ops/activation/prelu.h"
#include "ops/activation/softmin.h"

namespace pyfast::cuda {

void glu_forward(const GluParams& params, const TensorView& input, const TensorView& output,
                 cudaStream_t stream);
void glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input,
                  const TensorView& grad_input, cudaStream_t stream);

void prelu_forward(const PReluParams& params, const TensorView& input, const TensorView& weight,
                   const TensorView& output, cudaStream_t stream);
std::int64_t prelu_workspace(const PReluParams& params);  // float32 values, backward's
void prelu_backward(const PReluParams& params, const TensorView& grad, const TensorView& input,
                    const TensorView& weight, const TensorView& grad_input,
                    const TensorView& grad_weight, const TensorView& workspace,
                    cudaStream_t stream);

void softmin_forward(const SoftmaxParams& params, const TensorView& input, const TensorView& output,
                     cudaStream_t stream);
void softmin_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input, cudaStream_t stream);

}  // namespace pyfast::cuda
