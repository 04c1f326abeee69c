// Optimizer steps on the GPU: what csrc/ops/optimizer/optimizer.h promises, gradients in C order.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/optimizer/optimizer.h"

namespace pyfast::cuda {

template <class Params>
void optimizer_step(const std::vector<Params>& groups, const OptimizerSlots& slots,
                    cudaStream_t stream);

}  // namespace pyfast::cuda
