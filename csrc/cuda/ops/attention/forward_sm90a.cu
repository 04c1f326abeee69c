#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/attention_sm90a.h"
#include "cuda/ops/attention/forward_sm90a.cuh"

namespace pyfast::cuda {

void attention_forward_sm90a(const AttentionPlan& plan, const HopperForward<CUtensorMap>& how,
                             const TensorView& output, const AttentionRows& rows,
                             cudaStream_t stream) {
  forward_sm90a_into(plan, how, output, rows, Launch{stream});
}

}  // namespace pyfast::cuda
