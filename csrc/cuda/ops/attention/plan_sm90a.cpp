#include "cuda/ops/attention/plan_sm90a.h"

#include <algorithm>

namespace pyfast::cuda {

namespace {

// Fewer tasks leave most of a GPU's processors idle: the portable kernel cuts the keys, too.
constexpr std::int64_t kLeastTasks = 64;
constexpr int kLeastQueries = 64;
constexpr std::int64_t kSectionBytes = 16 << 20;  // a third of an H100's L2 cache

bool takes(const AttentionPlan& plan) {
  const AttentionProblem& p = plan.problem;
  return plan.dtype != DType::f32 && plan.depth >= 64 && p.queries >= kLeastQueries && p.keys > 0 &&
         p.scale > 0 && !p.dropout && p.query.vectors && p.key.vectors && p.value.vectors &&
         plan.cut.shared.share == 1;
}

bool boxes_of(const AttentionOperand& x, DType dtype, int rows, int columns, int box_rows,
              BatchedMap<TensorBoxes>& to) {
  BatchOfBoxes made;
  const std::int64_t step = rows == 1 ? 8 : x.row;
  if (!batch_of_boxes(x.data, dtype, rows, columns, step, x.axes, box_rows, made)) return false;
  to.map = made.boxes;
  to.batch = made.batch;
  return true;
}

HopperTasks tasks_of(const AttentionProblem& p, int rows, int processors) {
  HopperTasks tasks;
  tasks.batch = p.batch;
  tasks.row_blocks = (p.queries + rows - 1) / rows;
  tasks.count = tasks.batch * tasks.row_blocks;
  const std::int64_t bytes = std::int64_t{2} * p.keys * (p.width + p.value_width);
  tasks.section = static_cast<int>(
      std::clamp<std::int64_t>(kSectionBytes / bytes, 1, std::min<std::int64_t>(p.batch, 1 << 20)));
  tasks.blocks = static_cast<int>(std::min<std::int64_t>(processors, tasks.count));
  return tasks;
}

}  // namespace

std::optional<HopperForward<TensorBoxes>> hopper_forward_boxes(const AttentionPlan& plan,
                                                               int processors) {
  if (!takes(plan)) return std::nullopt;
  const AttentionProblem& p = plan.problem;
  std::optional<HopperForward<TensorBoxes>> made;
  visit_hopper_depth(plan.depth, [&]<int kDepth>() {
    using Tile = HopperForwardTile<kDepth>;
    HopperForward<TensorBoxes> forward;
    HopperOperands<TensorBoxes>& o = forward.operands;
    forward.tasks = tasks_of(p, Tile::kRows, processors);
    if (plan.cut.splits > 1 && forward.tasks.count < kLeastTasks) return;
    if (boxes_of(p.query, plan.dtype, p.queries, p.width, Tile::kRows, o.query) &&
        boxes_of(p.key, plan.dtype, p.keys, p.width, Tile::kKeys, o.key) &&
        boxes_of(p.value, plan.dtype, p.keys, p.value_width, Tile::kKeys, o.value))
      made = forward;
  });
  return made;
}

}  // namespace pyfast::cuda
