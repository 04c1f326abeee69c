#include "cuda/ops/attention/emulated_sm90a.h"

#include "core/error.h"
#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/forward_sm90a.cuh"

namespace pyfast::cuda {

void emulate_forward_sm90a(const AttentionPlan& plan, int blocks, const TensorView& output,
                           const AttentionRows& rows) {
  const auto how = hopper_forward<TensorBoxes>(plan, blocks);
  if (!how) throw ValueError("host: the kernels of sm_90a don't take this");
  forward_sm90a_into(plan, *how, output, rows, EmulatedLaunch{});
}

}  // namespace pyfast::cuda
