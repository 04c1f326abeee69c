#include "cuda/ops/attention/plan.h"

#include <algorithm>

#include "core/error.h"
#include "cuda/ops/attention/tile_sizes.h"
#include "ops/attention/layout.h"

namespace pyfast::cuda {

namespace {

void push(const char* op, Axes& axes, std::int64_t size, std::int64_t stride) {
  if (!axes.push(size, stride))
    throw ValueError(concat(op, ": more than ", Axes::kMost,
                            " batch axes that do not lie as one are too many on a GPU"));
}

Axes axes_of(const char* op, const Dims& batch, const Dims& strides) {
  Axes axes;
  for (int i = 0; i < batch.rank(); ++i) push(op, axes, batch[i], strides[i]);
  return axes;
}

// Whether every row of every matrix begins at a multiple of 16 bytes and fills such.
bool by_vectors(const TensorView& x, const AttentionOperand& o) {
  const std::int64_t size = item_size(x.dtype);
  bool fits = reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && o.column == 1 &&
              x.shape.back() > 0 && x.shape.back() * size % 16 == 0;
  fits = fits && (x.shape[x.rank() - 2] == 1 || o.row * size % 16 == 0);
  for (int i = 0; i < o.axes.rank; ++i) fits = fits && o.axes.stride[i] * size % 16 == 0;
  return fits;
}

AttentionOperand operand(const char* op, const TensorView& x, const Dims& batch,
                         const Dims& strides) {
  AttentionOperand o;
  o.data = x.data;
  o.axes = axes_of(op, batch, strides);
  o.row = x.strides[x.rank() - 2];
  o.column = x.strides.back();
  o.vectors = by_vectors(x, o);
  return o;
}

void set_mask(const char* op, const AttentionLayout& a, const TensorView& mask,
              AttentionPlan& plan) {
  AttentionProblem& p = plan.problem;
  p.mask_kind = mask_kind(mask);
  if (!mask.defined) return;
  p.mask.data = mask.data;
  p.mask.axes = axes_of(op, a.batch, a.mask);
  p.mask.row = a.mask_row;
  p.mask.column = a.mask_column;
  MaskSquares& s = plan.squares;
  s.rows = a.mask_row ? (a.queries + kMaskSquare - 1) / kMaskSquare : 1;
  s.columns = a.mask_column ? (a.keys + kMaskSquare - 1) / kMaskSquare : 1;
  p.square_row = a.mask_row ? s.columns : 0;
  p.square_column = a.mask_column ? 1 : 0;
  Dims distinct, steps;
  for (int i = 0; i < a.batch.rank(); ++i) {
    distinct.push_back(a.mask[i] ? a.batch[i] : 1);
    steps.push_back(0);
  }
  std::int64_t step = s.rows * s.columns;
  for (int i = a.batch.rank() - 1; i >= 0; --i) {
    steps[i] = a.mask[i] ? step : 0;
    step *= distinct[i];
  }
  s.count = a.queries * a.keys == 0 ? 0 : distinct.numel();
  s.masks = axes_of(op, distinct, a.mask);
  p.square_axes = axes_of(op, a.batch, steps);
}

// Heads that have few queries each and all else in common are rows of one block.
SharedRows shared_rows(const AttentionLayout& a, bool masked) {
  constexpr std::int64_t kFew = 16, kMostHeads = 1 << 20;
  SharedRows rows;
  rows.queries = static_cast<int>(a.queries);
  const int last = a.batch.rank() - 1;
  if (last < 0 || a.queries > kFew || a.batch[last] > kMostHeads) return rows;
  if (a.key[last] != 0 || a.value[last] != 0 || (masked && a.mask[last] != 0)) return rows;
  rows.share = static_cast<int>(std::max<std::int64_t>(1, a.batch[last]));
  rows.query_head = a.query[last];
  return rows;
}

ForwardCut forward_cut(const AttentionLayout& a, const SharedRows& shared, int rows) {
  constexpr std::int64_t kBlocks = 264;  // two for each of 132 processors
  constexpr int kLeastKeys = 256;
  const auto keys = static_cast<int>(a.keys);
  ForwardCut cut;
  cut.shared = shared;
  cut.groups = a.batch.numel() / shared.share;
  cut.row_blocks = (shared.rows() + rows - 1) / rows;
  const auto room = static_cast<int>(kBlocks / std::max<std::int64_t>(1, cut.blocks()));
  const int splits = std::max(1, std::min(room, keys / kLeastKeys));
  const int each = (keys + splits - 1) / splits;
  cut.split_keys = std::max(1, (each + kMaskSquare - 1) / kMaskSquare) * kMaskSquare;
  cut.splits = std::max(1, (keys + cut.split_keys - 1) / cut.split_keys);
  return cut;
}

int padded(const char* op, const AttentionLayout& a) {
  const auto require = [op](const char* argument, std::int64_t n, std::int64_t most,
                            const char* what) {
    if (n > most)
      throw ValueError(concat(op, ": ", argument, " must have at most ", most, what, ", got ", n));
  };
  require("query", a.width, kWidestHead, " features on a GPU (its last dimension)");
  require("value", a.value_width, kWidestHead, " features on a GPU (its last dimension)");
  require("query", a.queries, kMostRows, " rows on a GPU");
  require("key", a.keys, kMostRows, " rows on a GPU");
  const std::int64_t width = std::max(a.width, a.value_width);
  int depth = 32;
  while (depth < width) depth *= 2;
  return depth;
}

// `strides` are those of a gradient along the batch.
GradientAxes gradient_axes(const char* op, const AttentionLayout& a, const Dims& strides) {
  GradientAxes axes;
  axes.count = axes.sums = 1;
  const Dims steps = contiguous_strides(a.batch);
  for (int i = 0; i < a.batch.rank(); ++i) {
    const bool own = strides[i] != 0;
    push(op, own ? axes.distinct : axes.summed, a.batch[i], steps[i]);
    if (own) push(op, axes.target, a.batch[i], strides[i]);
    (own ? axes.count : axes.sums) *= a.batch[i];
  }
  return axes;
}

}  // namespace

AttentionPlan attention_plan(const char* op, const AttentionParams& params,
                             const AttentionLayout& a, const AttentionInputs& inputs) {
  AttentionPlan plan;
  plan.dtype = inputs.query.dtype;
  plan.depth = padded(op, a);
  AttentionProblem& p = plan.problem;
  p.batch = a.batch.numel();
  p.queries = static_cast<int>(a.queries);
  p.keys = static_cast<int>(a.keys);
  p.width = static_cast<int>(a.width);
  p.value_width = static_cast<int>(a.value_width);
  p.scale = static_cast<float>(params.scale);
  const std::int64_t after = params.is_causal ? 0 : params.window_right;
  p.before = static_cast<int>(std::min(params.window_left, kMostRows));
  p.after = static_cast<int>(std::min(after, kMostRows));
  p.query = operand(op, inputs.query, a.batch, a.query);
  p.key = operand(op, inputs.key, a.batch, a.key);
  p.value = operand(op, inputs.value, a.batch, a.value);
  set_mask(op, a, inputs.mask, plan);
  p.dropout = params.dropout_p > 0;
  p.seed = params.seed;
  p.offset = params.offset;
  p.threshold = drop_threshold(params.dropout_p);
  p.keep_scale = params.dropout_p < 1 ? static_cast<float>(1 / (1 - params.dropout_p)) : 0.0f;
  const SharedRows shared = shared_rows(a, inputs.mask.defined);
  plan.cut = forward_cut(a, shared, forward_rows(plan.dtype, plan.depth));
  return plan;
}

AttentionOperand ordered_rows(const AttentionPlan& plan, const TensorView& x) {
  const AttentionProblem& p = plan.problem;
  AttentionOperand o;
  o.data = x.data;
  o.row = p.value_width;
  o.column = 1;
  o.axes.push(p.batch, std::int64_t{p.queries} * p.value_width);
  o.vectors = by_vectors(x, o);
  return o;
}

BackwardTargets backward_targets(const char* op, const AttentionParams& params,
                                 const AttentionLayout& layout,
                                 const AttentionGradients& gradients) {
  const AttentionLayout a = gradient_layout(layout, params, gradients);
  BackwardTargets to{
      {}, {}, {}, {}, gradients.query, gradients.key, gradients.value, gradients.mask};
  for (TensorView* view : {&to.query_to, &to.key_to, &to.value_to, &to.mask_to})
    view->defined = view->defined && view->numel() > 0;  // an axis of length 0 has no stride
  if (gradients.query.defined) to.query = gradient_axes(op, a, a.query);
  if (gradients.key.defined) to.key = gradient_axes(op, a, a.key);
  if (gradients.value.defined) to.value = gradient_axes(op, a, a.value);
  if (!gradients.mask.defined) return to;
  to.mask = gradient_axes(op, a, a.mask);
  to.mask.row = a.mask_row;
  to.mask.column = a.mask_column;
  return to;
}

AttentionLayout check_backward(const char* op, const AttentionInputs& inputs,
                               const TensorView& grad, const TensorView& output,
                               const AttentionRows& rows, AttentionParams& params, bool scale_given,
                               bool mask_gradient) {
  AttentionRows like = rows;
  for (TensorView* view : {&like.max, &like.sum}) {
    if (view->dtype != DType::f32)
      throw TypeError(
          concat(op, ": row_max and row_sum must be float32 on a GPU, got ", name(view->dtype)));
    view->dtype = inputs.query.dtype;
  }
  return check_attention_backward(inputs, grad, output, like, params, scale_given, mask_gradient);
}

}  // namespace pyfast::cuda
