#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "ops/attention/cut.h"
#include "ops/attention/heads.h"

namespace pyfast {

namespace {

// How forward is cut: by shape alone.
struct ForwardPlan {
  std::int64_t rows;    // queries of a task, a multiple of the panel
  std::int64_t blocks;  // tasks per head and split
  std::int64_t keys;    // keys of a split
  std::int64_t splits;

  ForwardPlan(const AttentionLayout& a, std::int64_t batch, bool on_tiles) {
    constexpr std::int64_t panel = kAttentionPanel;
    const std::int64_t width = a.width + a.value_width;
    const std::int64_t panels = ceil_div(a.queries, panel);
    // Splitting keys and values costs more than packing them.
    const std::int64_t tasks = on_tiles ? kTasks / 2 : 2 * kTasks;
    const std::int64_t shared = std::min(
        {kAttentionPanels, batch * panels / tasks, items_within_task(panel * a.keys * width)});
    blocks = std::max<std::int64_t>(1, ceil_div(panels, std::max<std::int64_t>(1, shared)));
    rows = panel * ceil_div(panels, blocks);  // of nearly the same size
    blocks = ceil_div(a.queries, rows);
    const std::int64_t wanted =
        std::min(ceil_div(kTasks, batch * blocks), ceil_div(a.keys, kLeastKeys));
    const std::int64_t needed = ceil_div(a.keys, 4 * items_within_task(rows * width));
    splits = std::max<std::int64_t>({1, wanted, needed});
    keys = round_up(ceil_div(std::max<std::int64_t>(1, a.keys), splits), kAttentionKeys);
    splits = std::max<std::int64_t>(1, ceil_div(a.keys, keys));
  }
};

// Combines what each split found on its own keys: a mean weighted by their shares of the sum.
template <class T>
void combine_row(const T* outputs, const RowStatistics<T>& found, std::int64_t splits,
                 std::int64_t row, std::int64_t rows, std::int64_t width, T* output,
                 const RowStatistics<T>& to) {
  T top = -std::numeric_limits<T>::infinity(), total = 0;
  for (std::int64_t s = 0; s < splits; ++s) top = std::max(top, found.max[s * rows + row]);
  to.max[row] = top;
  const T shift = std::isinf(top) && top < 0 ? 0 : top;
  const auto sum = [&](std::int64_t s) {
    return found.sum[s * rows + row] * std::exp2(found.max[s * rows + row] - shift);
  };
  for (std::int64_t s = 0; s < splits; ++s) total += sum(s);
  to.sum[row] = total;
  std::fill_n(output, width, T{0});
  if (total == 0) return;
  for (std::int64_t s = 0; s < splits; ++s) {
    const T weight = sum(s) / total;
    if (weight == 0) continue;
    const T* from = outputs + (s * rows + row) * width;
    for (std::int64_t d = 0; d < width; ++d) output[d] += weight * from[d];
  }
}

// Where tasks write: the results themselves, or one copy of them for each split of the keys.
template <class T>
class Results {
 public:
  Results(const AttentionLayout& layout, const TensorView& output, const AttentionRows& rows,
          std::int64_t splits)
      : layout_(layout),
        output_(output),
        strides_(layout.output_strides(output)),
        statistics_{rows.max.as<T>(), rows.sum.as<T>()},
        splits_(splits),
        rows_(rows.max.numel()),
        width_(layout.value_width),
        copies_(splits > 1 ? splits * rows_ * (width_ + 2) : 0) {}
  // Of head b of the batch; its rows are row_stride() apart.
  T* output(std::int64_t split, std::int64_t b) const {
    return splits_ > 1 ? copy(split, b * layout_.queries) : result(b, 0);
  }
  std::int64_t row_stride() const { return splits_ > 1 ? width_ : result_row(); }
  RowStatistics<T> rows(std::int64_t split, std::int64_t row) const {
    row += split * rows_;
    if (splits_ == 1) return {statistics_.max + row, statistics_.sum + row};
    T* max = copies_.data() + splits_ * rows_ * width_;
    return {max + row, max + splits_ * rows_ + row};
  }
  void combine() const {
    if (splits_ == 1) return;
    parallel_for(rows_, attention_grain(splits_ * (width_ + 2)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row)
                     combine_row(copy(0, 0), rows(0, 0), splits_, row, rows_, width_,
                                 result(row / layout_.queries, row % layout_.queries), statistics_);
                 });
  }

 private:
  std::int64_t result_row() const { return output_.strides[output_.rank() - 2]; }
  T* result(std::int64_t b, std::int64_t i) const {
    return output_.as<T>() + batch_offset(layout_.batch, strides_, b) + i * result_row();
  }
  T* copy(std::int64_t split, std::int64_t row) const {
    return copies_.data() + (split * rows_ + row) * width_;
  }

  const AttentionLayout& layout_;
  const TensorView& output_;
  Dims strides_;
  RowStatistics<T> statistics_;
  std::int64_t splits_, rows_, width_;
  Workspace<T> copies_;
};

template <class T>
void forward(const AttentionParams& params, const AttentionLayout& a, const AttentionInputs& inputs,
             const TensorView& output, const AttentionRows& rows) {
  const std::int64_t batch = a.batch.numel();
  const auto& kernels = attention_forward_kernels<T>();
  const AttentionHeads<T> heads(params, a, inputs);
  const ForwardPlan plan(a, batch, heads.on_tiles());
  const Results<T> results(a, output, rows, plan.splits);
  const std::int64_t work = plan.rows * std::min(plan.keys, a.keys) * (a.width + a.value_width);
  // A head that is one task, and stays in L2 beside the next.
  const bool fetch = plan.blocks * plan.splits == 1 && work <= kFetched;
  parallel_for(batch * plan.blocks * plan.splits, attention_grain(work),
               [&](std::int64_t begin, std::int64_t end) {
                 const Workspace<T> scratch(kernels.scratch(heads[0]));
                 const auto tiles = heads.tiles();
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t s = task % plan.splits, block = task / plan.splits;
                   const std::int64_t b = block / plan.blocks;
                   const std::int64_t i = block % plan.blocks * plan.rows, j = s * plan.keys;
                   const bool last = task + 1 == batch * plan.blocks * plan.splits;
                   const auto next = fetch && !last ? std::optional(heads[b + 1]) : std::nullopt;
                   AttentionHead<T> head = heads[b];
                   head.output_row = results.row_stride();
                   kernels.forward(
                       head,
                       {i, std::min(i + plan.rows, a.queries), j, std::min(j + plan.keys, a.keys)},
                       next ? &*next : nullptr, results.output(s, b),
                       results.rows(s, b * a.queries), scratch.data());
                 }
               });
  results.combine();
}

// Whether backward could not find the rows' maxima anew but by forward's own sums.
template <class T>
bool any_beyond_fused(const TensorView& row_max) {
  const T* tops = row_max.as<T>();
  return std::any_of(tops, tops + row_max.numel(),
                     [](T top) { return std::abs(top) >= kMostFused<T> && !std::isinf(top); });
}

// Few queries: reading keys and values is all the work, and packing them would double it.
bool is_decoding(const AttentionParams& params, const AttentionLayout& a,
                 const AttentionInputs& inputs) {
  return a.queries <= 8 && params.dropout_p == 0 && inputs.key.strides.back() == 1;
}

// Heads along the last axis of the batch when they share keys and values.
std::int64_t sharing_heads(const AttentionLayout& a) {
  const bool shared = a.batch.rank() > 0 && a.key.back() == 0 && a.value.back() == 0;
  return shared ? a.batch.back() : 1;
}

template <class T>
AttentionGroup<T> group_at(const AttentionParams& params, const AttentionLayout& a,
                           const AttentionInputs& inputs, std::int64_t heads, std::int64_t index) {
  const bool several = heads > 1;
  return {head_at<T>(params, a, inputs, index * heads), heads, several ? a.query.back() : 0,
          several && inputs.mask.defined ? a.mask.back() : 0};
}

// Between arrays shaped as the output.
template <class T>
void copy_rows(const AttentionLayout& a, const TensorView& from, const TensorView& to) {
  const Dims source = a.output_strides(from), target = a.output_strides(to);
  const std::int64_t source_row = from.strides[from.rank() - 2];
  const std::int64_t target_row = to.strides[to.rank() - 2];
  for (std::int64_t b = 0; b < a.batch.numel(); ++b)
    for (std::int64_t i = 0; i < a.queries; ++i)
      std::copy_n(from.as<T>() + batch_offset(a.batch, source, b) + i * source_row, a.value_width,
                  to.as<T>() + batch_offset(a.batch, target, b) + i * target_row);
}

template <class T>
void decode(const AttentionParams& params, const AttentionLayout& a, const AttentionInputs& inputs,
            const TensorView& output, const AttentionRows& statistics) {
  const std::int64_t heads = sharing_heads(a), groups = a.batch.numel() / heads;
  const std::int64_t rows = heads * a.queries;
  const auto& kernels = attention_decode_kernels<T>();
  const std::int64_t wanted = std::min(ceil_div(kTasks, groups), ceil_div(a.keys, kLeastKeys));
  const std::int64_t most = items_within_task(rows * (a.width + a.value_width));
  const std::int64_t keys = round_up(
      std::min(ceil_div(std::max<std::int64_t>(1, a.keys), std::max<std::int64_t>(1, wanted)),
               most),
      kAttentionKeys);
  const std::int64_t splits = std::max<std::int64_t>(1, ceil_div(a.keys, keys));
  const Results<T> results(a, output, statistics, splits);
  // Memory-bound: a multiply-add costs what reading its operand does.
  const std::int64_t work = (std::min(keys, a.keys) * (a.width + a.value_width)) * (8 + rows);
  parallel_for(groups * splits, attention_grain(work), [&](std::int64_t begin, std::int64_t end) {
    const Workspace<T> scratch(kernels.scratch(group_at<T>(params, a, inputs, heads, 0)));
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t s = task % splits, g = task / splits, j = s * keys;
      kernels.decode(group_at<T>(params, a, inputs, heads, g), j, std::min(j + keys, a.keys),
                     results.output(s, g * heads), results.rows(s, g * rows), scratch.data());
    }
  });
  results.combine();
  if (any_beyond_fused<T>(statistics.max)) forward<T>(params, a, inputs, output, statistics);
}

}  // namespace

void attention_forward(const AttentionParams& params, const AttentionLayout& layout,
                       const AttentionInputs& inputs, const TensorView& output,
                       const AttentionRows& rows) {
  if (layout.batch.numel() * layout.queries == 0) return;
  visit(inputs.query.dtype, [&]<class T>() {
    if (!is_decoding(params, layout, inputs))
      return forward<T>(params, layout, inputs, output, rows);
    if (output.contiguous()) return decode<T>(params, layout, inputs, output, rows);
    // Decoding writes heads that share keys side by side.
    const Workspace<T> outputs(output.numel());
    const TensorView ordered(outputs.data(), output.dtype, output.shape);
    decode<T>(params, layout, inputs, ordered, rows);
    copy_rows<T>(layout, ordered, output);
  });
}

}  // namespace pyfast
