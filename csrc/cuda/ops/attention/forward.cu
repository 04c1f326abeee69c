#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/attention.h"
#include "cuda/ops/attention/classify.cuh"
#include "cuda/ops/attention/forward.cuh"

namespace pyfast::cuda {

void attention_classify(const AttentionPlan& plan, std::uint8_t* covers, cudaStream_t stream) {
  classify_on(plan, covers, Launch{stream});
}

void attention_forward(const AttentionPlan& plan, const TensorView& output,
                       const AttentionRows& rows, const TensorView& parts, cudaStream_t stream) {
  forward_into(plan, output, rows, parts, Launch{stream});
}

}  // namespace pyfast::cuda
