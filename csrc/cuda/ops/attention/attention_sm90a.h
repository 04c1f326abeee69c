// attention.h's forward and backward by the kernels of sm_90a, for calls that hopper_forward() and
// hopper_backward() take.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/ops/attention/plan_sm90a.h"

namespace pyfast::cuda {

void attention_forward_sm90a(const AttentionPlan& plan, const HopperForward<CUtensorMap>& how,
                             const TensorView& output, const AttentionRows& rows,
                             cudaStream_t stream);
// `terms` is workspace for two floats a row of scores.
void attention_backward_sm90a(const AttentionPlan& plan, const HopperBackward<CUtensorMap>& how,
                              const TensorView& grad, const TensorView& output,
                              const AttentionRows& rows, const TensorView& terms,
                              const BackwardTargets& to, cudaStream_t stream);

}  // namespace pyfast::cuda
