// Norm, scaling and clamping of gradients on the GPU: what csrc/ops/optimizer/gradient.h promises,
// in C order.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/optimizer/gradient.h"

namespace pyfast::cuda {

// float64 values of workspace: one a block
std::int64_t norm_workspace(const std::vector<TensorView>& gradients);
// norm: a float64 scalar
void norm_of(const std::vector<TensorView>& gradients, double norm_type, const TensorView& norm,
             const TensorView& workspace, cudaStream_t stream);
void scale(const std::vector<TensorView>& gradients, double factor, cudaStream_t stream);
void clamp(const std::vector<TensorView>& gradients, double limit, cudaStream_t stream);

}  // namespace pyfast::cuda
