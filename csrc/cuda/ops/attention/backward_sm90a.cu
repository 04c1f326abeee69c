#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/attention_sm90a.h"
#include "cuda/ops/attention/backward_sm90a.cuh"

namespace pyfast::cuda {

void attention_backward_sm90a(const AttentionPlan& plan, const HopperBackward<CUtensorMap>& how,
                              const TensorView& grad, const TensorView& output,
                              const AttentionRows& rows, const TensorView& terms,
                              const BackwardTargets& to, cudaStream_t stream) {
  backward_sm90a_into(plan, how, grad, output, rows, terms, to, Launch{stream});
}

}  // namespace pyfast::cuda
