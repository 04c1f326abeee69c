#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/attention.h"
#include "cuda/ops/attention/backward.cuh"

namespace pyfast::cuda {

void attention_backward(const AttentionPlan& plan, const TensorView& grad, const TensorView& output,
                        const AttentionRows& rows, const TensorView& dots,
                        const BackwardTargets& to, cudaStream_t stream) {
  backward_into(plan, grad, output, rows, dots, to, Launch{stream});
}

}  // namespace pyfast::cuda
