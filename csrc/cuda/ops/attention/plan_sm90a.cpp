#include "cuda/ops/attention/plan_sm90a.h"

#include <algorithm>

namespace pyfast::cuda {

namespace {

// Fewer tasks leave most of a GPU's processors idle: the portable kernel cuts the keys, too.
constexpr int kLeastTasks = 64, kLeastQueries = 64;
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

// `streamed` bytes are read for each of `batch` elements, which own so many rows.
HopperTasks tasks_of(std::int64_t batch, int rows, int tile_rows, std::int64_t streamed,
                     int processors) {
  HopperTasks tasks;
  tasks.row_blocks = (rows + tile_rows - 1) / tile_rows;
  const std::int64_t count = batch * tasks.row_blocks;
  if (count > kMostRows) return tasks;  // with count 0: not taken
  tasks.batch = static_cast<int>(batch);
  tasks.count = static_cast<int>(count);
  tasks.section = static_cast<int>(std::clamp<std::int64_t>(kSectionBytes / streamed, 1, batch));
  tasks.blocks = std::min(processors, tasks.count);
  return tasks;
}

// Bytes of so many rows of both operands.
std::int64_t pair_bytes(const AttentionProblem& p, std::int64_t rows) {
  return 2 * rows * (p.width + p.value_width);
}

// Whether one axis describes a gradient's elements, and one those that each is summed over; and its
// matrices lie one after another, at multiples of 16 bytes.
bool steps_of(const GradientAxes& axes, const TensorView& to, GradientSteps& steps) {
  if (axes.distinct.rank > 1 || axes.summed.rank > 1 || axes.sums > kMostRows) return false;
  steps.element = axes.distinct.rank ? static_cast<int>(axes.distinct.stride[0]) : 0;
  steps.sum = axes.summed.rank ? static_cast<int>(axes.summed.stride[0]) : 0;
  steps.sums = static_cast<int>(axes.sums);
  return to.contiguous() && reinterpret_cast<std::uintptr_t>(to.data) % 16 == 0;
}

// A block owns queries, or keys together with values.
bool steps_of(const BackwardTargets& to, HopperBackward<TensorBoxes>& made) {
  const bool key = to.key_to.defined, value = to.value_to.defined;
  if (to.mask_to.defined || (key && value && !to.key.same_batch(to.value))) return false;
  if (to.query_to.defined && !steps_of(to.query, to.query_to, made.query_steps)) return false;
  if (key && !steps_of(to.key, to.key_to, made.key_steps)) return false;
  if (value && !steps_of(to.value, to.value_to, made.key_steps)) return false;
  return made.query_steps.sums == 1;
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
    forward.tasks = tasks_of(p.batch, p.queries, Tile::kRows, pair_bytes(p, p.keys), processors);
    const int least = plan.cut.splits > 1 ? kLeastTasks : 1;
    if (forward.tasks.count < least) return;
    if (boxes_of(p.query, plan.dtype, p.queries, p.width, Tile::kRows, o.query) &&
        boxes_of(p.key, plan.dtype, p.keys, p.width, Tile::kKeys, o.key) &&
        boxes_of(p.value, plan.dtype, p.keys, p.value_width, Tile::kKeys, o.value))
      made = forward;
  });
  return made;
}

std::optional<HopperBackward<TensorBoxes>> hopper_backward_boxes(const AttentionPlan& plan,
                                                                 const TensorView& grad,
                                                                 const BackwardTargets& to,
                                                                 int processors) {
  const AttentionProblem& p = plan.problem;
  const AttentionOperand upstream = ordered_rows(plan, grad);
  HopperBackward<TensorBoxes> made;
  const bool packed = p.key_ranges != nullptr;  // the portable kernels walk these
  if (!takes(plan) || packed || plan.depth > 128 || !upstream.vectors || !steps_of(to, made))
    return std::nullopt;
  const auto boxed = [&](HopperGradients<TensorBoxes>& o, int query_box, int key_box) {
    return boxes_of(p.query, plan.dtype, p.queries, p.width, query_box, o.query) &&
           boxes_of(p.key, plan.dtype, p.keys, p.width, key_box, o.key) &&
           boxes_of(p.value, plan.dtype, p.keys, p.value_width, key_box, o.value) &&
           boxes_of(upstream, plan.dtype, p.queries, p.value_width, query_box, o.grad);
  };
  const auto fill = [&]<int kDepth>() {
    using OfQueries = HopperGradientTile<kDepth, false>;
    using OfKeys = HopperGradientTile<kDepth, true>;
    const std::int64_t keys = (to.key_to.defined ? to.key : to.value).count;
    const std::int64_t served = std::int64_t{p.queries} * made.key_steps.sums;
    made.query_tasks =
        tasks_of(p.batch, p.queries, OfQueries::kRows, pair_bytes(p, p.keys), processors);
    made.key_tasks = tasks_of(keys, p.keys, OfKeys::kRows, pair_bytes(p, served), processors);
    made.key_tasks.first_row_first = true;
    return boxed(made.query_operands, OfQueries::kOwnBox, OfQueries::kStep) &&
           boxed(made.key_operands, OfKeys::kStep, OfKeys::kOwnBox);
  };
  const bool filled =
      plan.depth == 64 ? fill.template operator()<64>() : fill.template operator()<128>();
  const bool wanted = to.key_to.defined || to.value_to.defined;
  if (!filled || made.query_tasks.count == 0 || (wanted && made.key_tasks.count == 0))
    return std::nullopt;
  return made;
}

}  // namespace pyfast::cuda
