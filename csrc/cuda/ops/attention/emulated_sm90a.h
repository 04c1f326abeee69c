// The kernels of sm_90a on the CPU, for host.cpp; a file of their own, because they take long to
// compile.
#pragma once

#include "cuda/ops/attention/plan.h"

namespace pyfast::cuda {

// On so many blocks of threads; ValueError where the portable kernel would run.
void emulate_forward_sm90a(const AttentionPlan& plan, int blocks, const TensorView& output,
                           const AttentionRows& rows);

}  // namespace pyfast::cuda
