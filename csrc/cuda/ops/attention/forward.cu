#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/attention.h"
#include "cuda/ops/attention/classify.cuh"
#include "cuda/ops/attention/forward.cuh"
#include "cuda/ops/attention/ranges.cuh"

namespace pyfast::cuda {

void attention_classify(const AttentionPlan& plan, std::uint8_t* covers, cudaStream_t stream) {
  classify_on(plan, covers, Launch{stream});
}

void attention_ranges(const AttentionPlan& plan, const TensorView& query_starts,
                      const TensorView& key_starts, const PackedRanges& to, cudaStream_t stream) {
  ranges_on(plan.problem, query_starts, key_starts, to, Launch{stream});
}

void attention_forward(const AttentionPlan& plan, const TensorView& output,
                       const AttentionRows& rows, const TensorView& parts, cudaStream_t stream) {
  forward_into(plan, output, rows, parts, Launch{stream});
}

}  // namespace pyfast::cuda
