// From the layout of a call to what kernels are told, and how the work is cut: by shape alone.
#pragma once

#include "cuda/ops/attention/problem.h"
#include "ops/attention/attention.h"

namespace pyfast::cuda {

inline constexpr std::int64_t kWidestHead = 256;  // a power of two, 32 or more

// The distinct masks of a call and how their squares are counted.
struct MaskSquares {
  Axes masks;  // where each begins
  std::int64_t count = 0, rows = 0, columns = 0;
  std::int64_t size() const { return count * rows * columns; }
};

// How forward is cut into blocks of threads.
struct ForwardCut {
  SharedRows shared;
  // groups of shared.share elements of the batch, each of row_blocks; keys in splits of split_keys
  std::int64_t groups = 0;
  int row_blocks = 0, splits = 1, split_keys = kMaskSquare;

  PYFAST_HOST_DEVICE std::int64_t blocks() const { return groups * row_blocks * splits; }
};

// The batch as axes along which a gradient has an element each, and those it is summed over.
struct GradientAxes {
  Axes distinct, summed, target;  // indices of the batch; where the gradient's matrix begins
  std::int64_t count = 0, sums = 0;
  std::int64_t row = 0, column = 0;  // of a mask's gradient, 0 where it was broadcast

  PYFAST_HOST_DEVICE std::int64_t index(std::int64_t element, std::int64_t sum) const {
    return distinct.offset(element) + summed.offset(sum);
  }
  // Whether another gradient has the same elements of the batch to itself.
  bool same_batch(const GradientAxes& other) const {
    return distinct.same(other.distinct) && summed.same(other.summed);
  }
};

// What backward is to write; undefined views are not wanted.
struct BackwardTargets {
  GradientAxes query, key, value, mask;
  TensorView query_to, key_to, value_to, mask_to;
};

// Where the ranges of packed sequences are written.
struct PackedRanges {
  RowRange *of_queries, *of_keys;  // the latter may be null: backward's
};

struct AttentionPlan {
  AttentionProblem problem;
  DType dtype = DType::f32;
  int depth = 32;  // what widths are padded to
  MaskSquares squares;
  ForwardCut cut;
};

// ValueError for heads wider than kWidestHead, or a batch that no few axes describe.
AttentionPlan attention_plan(const char* op, const AttentionParams& params,
                             const AttentionLayout& layout, const AttentionInputs& inputs);
// ValueError for starts of packed sequences that are not two vectors of one length, 1 or more.
void check_starts(const char* op, const TensorView& queries, const TensorView& keys);
// An array of (batch, queries, columns) in C order, as grad and output are.
AttentionOperand ordered_rows(const AttentionPlan& plan, const TensorView& x);
BackwardTargets backward_targets(const char* op, const AttentionParams& params,
                                 const AttentionLayout& layout,
                                 const AttentionGradients& gradients);
// check_attention_backward, but for the dtype of `rows`, which must be float32.
AttentionLayout check_backward(const char* op, const AttentionInputs& inputs,
                               const TensorView& grad, const TensorView& output,
                               const AttentionRows& rows, AttentionParams& params, bool scale_given,
                               bool mask_gradient);

}  // namespace pyfast::cuda
