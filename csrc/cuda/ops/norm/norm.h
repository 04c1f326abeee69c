// Normalisations on the GPU: what csrc/ops/norm's headers promise. Arrays are in C order, batch
// norm's in C order or channels last, and weights may be float32 beside 16-bit inputs.
//
// `workspace` holds float32 partial sums; its size is said by the function of that name.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/core/layout.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/layer_norm.h"

namespace pyfast::cuda {

void layer_norm_forward(const LayerNormParams& params, const TensorView& input,
                        const TensorView& weight, const TensorView& bias,
                        const TensorView& statistics, const TensorView& output,
                        cudaStream_t stream);
std::int64_t layer_norm_workspace(const LayerNormParams& params, const TensorView& input);
void layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const TensorView& workspace, cudaStream_t stream);

std::int64_t batch_norm_workspace(const TensorView& input);
std::int64_t batch_norm_gates(const TensorView& input);  // bytes
// `residual`, where defined, is added before the activation and lies as the input does; `gates`,
// where defined, gets a bit an element: whether what the activation is applied to is not <= 0.
void batch_norm_forward(const BatchNormParams& params, const TensorView& input,
                        const TensorView& residual, const BatchNormOperands& operands,
                        const TensorView& statistics, const TensorView& output,
                        const TensorView& gates, const TensorView& workspace, cudaStream_t stream);
// With `gates`, which then stand for the activation, also writes grad_residual.
void batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& bias, const TensorView& gates,
                         const TensorView& grad_input, const TensorView& grad_residual,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const TensorView& workspace, cudaStream_t stream);

std::int64_t group_norm_workspace(const GroupNormParams& params, const TensorView& input);
void group_norm_forward(const GroupNormParams& params, const TensorView& input,
                        const GroupNormOperands& operands, const TensorView& statistics,
                        const TensorView& output, const TensorView& workspace, cudaStream_t stream);
void group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const TensorView& workspace, cudaStream_t stream);

}  // namespace pyfast::cuda
