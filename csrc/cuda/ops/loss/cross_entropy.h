// Cross-entropy on the GPU: what csrc/ops/loss/cross_entropy.h promises. Labels are not read on the
// host: one that is no class makes its row's loss and gradient NaN. log_sum_exp is float32.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/loss/cross_entropy.h"

namespace pyfast::cuda {

// float32 values of workspace, for each direction
std::int64_t cross_entropy_workspace(const CrossEntropyParams& params);
void cross_entropy_forward(const CrossEntropyParams& params, const TensorView& input,
                           const TensorView& target, const TensorView& weight,
                           const TensorView& output, const TensorView& log_sum_exp,
                           const TensorView& workspace, cudaStream_t stream);
void cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                            const TensorView& input, const TensorView& target,
                            const TensorView& weight, const TensorView& log_sum_exp,
                            const TensorView& grad_input, const TensorView& grad_target,
                            const TensorView& workspace, cudaStream_t stream);

}  // namespace pyfast::cuda
