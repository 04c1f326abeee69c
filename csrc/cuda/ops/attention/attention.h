// Scaled dot-product attention on the GPU: what csrc/ops/attention/attention.h promises, up to
// kWidestHead features. `rows` are float32 whatever the operands are.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/ops/attention/plan.h"

namespace pyfast::cuda {

// Fills covers, the squares of every distinct mask.
void attention_classify(const AttentionPlan& plan, std::uint8_t* covers, cudaStream_t stream);
// Fills `to` from where packed sequences begin among queries and keys, int64.
void attention_ranges(const AttentionPlan& plan, const TensorView& query_starts,
                      const TensorView& key_starts, const PackedRanges& to, cudaStream_t stream);
// With plan.cut.splits > 1, `parts` is workspace for their results.
void attention_forward(const AttentionPlan& plan, const TensorView& output,
                       const AttentionRows& rows, const TensorView& parts, cudaStream_t stream);
// Writes every gradient that is defined; grad and output in C order, `dots` workspace for a float a
// row of scores.
void attention_backward(const AttentionPlan& plan, const TensorView& grad, const TensorView& output,
                        const AttentionRows& rows, const TensorView& dots,
                        const BackwardTargets& to, cudaStream_t stream);

}  // namespace pyfast::cuda
