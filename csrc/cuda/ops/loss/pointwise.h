// Pointwise losses on the GPU: what csrc/ops/loss/pointwise.h promises, C order. Values are not
// read on the host: binary cross-entropy of what is no probability is NaN.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/loss/pointwise.h"

namespace pyfast::cuda {

inline constexpr std::int64_t kLossChunks = 1024;  // float32 values of forward's workspace

void pointwise_forward(const PointwiseParams& params, const TensorView& input,
                       const TensorView& target, const TensorView& weight,
                       const TensorView& pos_weight, const TensorView& output,
                       const TensorView& workspace, cudaStream_t stream);
void pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                        const TensorView& input, const TensorView& target, const TensorView& weight,
                        const TensorView& pos_weight, const TensorView& grad_input,
                        const TensorView& grad_target, cudaStream_t stream);

}  // namespace pyfast::cuda
