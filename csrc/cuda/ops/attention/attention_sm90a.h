// attention.h's forward by the kernels of sm_90a, for calls that hopper_forward() takes.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/ops/attention/plan_sm90a.h"

namespace pyfast::cuda {

void attention_forward_sm90a(const AttentionPlan& plan, const HopperForward<CUtensorMap>& how,
                             const TensorView& output, const AttentionRows& rows,
                             cudaStream_t stream);

}  // namespace pyfast::cuda
