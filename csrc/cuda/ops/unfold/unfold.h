// im2col and col2im on the GPU: what csrc/ops/unfold/unfold.h promises, C order.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/unfold/unfold.h"

namespace pyfast::cuda {

void unfold_forward(const UnfoldParams& params, const TensorView& image, const TensorView& columns,
                    cudaStream_t stream);
void fold_forward(const UnfoldParams& params, const TensorView& columns, const TensorView& image,
                  cudaStream_t stream);

}  // namespace pyfast::cuda
