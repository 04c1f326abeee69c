#include "cuda/ops/attention/emulated_sm90a.h"

#include <vector>

#include "core/error.h"
#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/backward_sm90a.cuh"
#include "cuda/ops/attention/forward_sm90a.cuh"

namespace pyfast::cuda {

void emulate_forward_sm90a(const AttentionPlan& plan, int blocks, const TensorView& output,
                           const AttentionRows& rows) {
  const auto how = hopper_forward<TensorBoxes>(plan, blocks);
  if (!how) throw ValueError("host: the kernels of sm_90a don't take this");
  forward_sm90a_into(plan, *how, output, rows, EmulatedLaunch{});
}

void emulate_backward_sm90a(const AttentionPlan& plan, int blocks, const TensorView& grad,
                            const TensorView& output, const AttentionRows& rows,
                            const BackwardTargets& to) {
  const auto how = hopper_backward<TensorBoxes>(plan, grad, to, blocks);
  if (!how) throw ValueError("host: the kernels of sm_90a don't take this");
  const std::int64_t each = padded_rows(plan.problem.queries);
  std::vector<RowTerms> room(static_cast<std::size_t>(plan.problem.batch * each + 1));
  const auto misplaced = reinterpret_cast<std::uintptr_t>(room.data()) % 16 != 0;
  const TensorView terms(room.data() + misplaced, DType::f32, {plan.problem.batch, each, 2});
  backward_sm90a_into(plan, *how, grad, output, rows, terms, to, EmulatedLaunch{});
}

}  // namespace pyfast::cuda
