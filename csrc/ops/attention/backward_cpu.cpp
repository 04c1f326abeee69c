#include <algorithm>
#include <optional>

#include "core/copy.h"
#include "ops/attention/cut.h"
#include "ops/attention/heads.h"

namespace pyfast {

namespace {

template <class T>
void zero(T* data, std::int64_t n) {
  parallel_for(n, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    std::fill(data + begin, data + end, T{0});
  });
}

// A gradient being summed: in the output array itself where each matrix of it is C-ordered and
// belongs to one batch element, else in `copies` arrays of `batch` matrices that finish() adds up
// in order.
template <class T>
class Sum {
 public:
  Sum(const TensorView& target, const Dims& batch, const Dims& strides, std::int64_t copies)
      : target_(target), batch_(batch), strides_(strides), copies_(copies) {
    if (!target.defined) return;
    rows_ = target.shape[target.rank() - 2];
    width_ = target.shape.back();
    const std::int64_t all = batch.numel() * rows_ * width_;
    if (copies > 1 || all != target.numel() || row() != width_) staged_.emplace(all * copies);
  }
  // Matrix `index` of a copy, to add to its rows begin ... end; null when this gradient is not
  // wanted. The first who does clears them, as they come into its cache.
  T* open(std::int64_t index, std::int64_t copy, std::int64_t begin, std::int64_t end,
          bool first) const {
    if (!target_.defined) return nullptr;
    T* to =
        staged_ ? staged_->data() + (copy * batch_.numel() + index) * rows_ * width_ : at(index);
    if (first) std::fill(to + begin * width_, to + end * width_, T{0});
    return to;
  }
  void clear() const {
    const std::int64_t n = batch_.numel();
    for (std::int64_t i = 0; i < copies_ * n; ++i) open(i % n, i / n, 0, rows_, true);
  }
  void finish() const {
    if (!staged_) return;
    const Dims lead(target_.shape.span().first(static_cast<std::size_t>(target_.rank() - 2)));
    const Dims steps(target_.strides.span().first(static_cast<std::size_t>(target_.rank() - 2)));
    const std::int64_t n = batch_.numel(), all = copies_ * n, matrices = lead.numel();
    parallel_for(
        rows_, grain_for((matrices + all) * width_), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t m = 0; m < matrices; ++m)
            for (std::int64_t i = begin; i < end; ++i)
              std::fill_n(target_.as<T>() + batch_offset(lead, steps, m) + i * row(), width_, T{0});
          for (std::int64_t m = 0; m < all; ++m) {
            T* to = at(m % n);
            const T* from = staged_->data() + m * rows_ * width_;
            for (std::int64_t i = begin; i < end; ++i)
              for (std::int64_t k = 0; k < width_; ++k) to[i * row() + k] += from[i * width_ + k];
          }
        });
  }

 private:
  T* at(std::int64_t index) const {
    return target_.as<T>() + batch_offset(batch_, strides_, index);
  }
  std::int64_t row() const { return target_.strides[target_.rank() - 2]; }

  TensorView target_;
  Dims batch_, strides_;
  std::int64_t copies_, rows_ = 0, width_ = 0;
  std::optional<Workspace<T>> staged_;
};

// An array shaped as the output, whose rows lie in one piece each.
template <class T>
class OutputRows {
 public:
  OutputRows(const AttentionLayout& layout, const TensorView& x)
      : batch_(layout.batch),
        copy_(x.numel() == 0 || x.strides.back() == 1 ? 0 : x.numel()),
        view_(copy_.data() ? TensorView(copy_.data(), x.dtype, x.shape) : x),
        strides_(layout.output_strides(view_)) {
    if (copy_.data()) copy_contiguous(copy_.data(), x);
  }
  const T* of_head(std::int64_t b) const {
    return view_.as<T>() + batch_offset(batch_, strides_, b);
  }
  std::int64_t row_stride() const { return view_.strides[view_.rank() - 2]; }

 private:
  const Dims& batch_;
  Workspace<T> copy_;
  TensorView view_;
  Dims strides_;
};

// One call of backward.
template <class T>
class Backward {
 public:
  Backward(const AttentionParams& params, const AttentionLayout& layout,
           const AttentionInputs& inputs, const TensorView& grad, const TensorView& output,
           const AttentionRows& rows, const AttentionGradients& to)
      : params_(params),
        layout_(layout),
        heads_(params, layout, inputs),
        to_(to),
        grad_(layout, grad),
        row_max_(rows.max),
        row_sum_(rows.sum),
        kernels_(attention_backward_kernels<T>()),
        grad_dots_(grad_dots(output)),
        strides_(gradient_layout(
            layout, params,
            {or_packed(to.query, inputs.query), or_packed(to.key, inputs.key),
             or_packed(to.value, inputs.value), or_packed(to.mask, inputs.mask)})) {}

  // A task takes one head of keys and values, with every query head that shares it, and a range
  // of keys and queries. Tasks run in waves, of which each gives a query one range per copy of
  // its gradient: so no two tasks of a wave write the same place.
  void matrices() const {
    const SharedAxes heads(layout_.batch, [&](int axis) {
      return strides_.key[axis] != 0 || strides_.value[axis] != 0;
    });
    const std::int64_t keys = layout_.keys, groups = heads.outer();
    // Each task splits its queries for the tiles anew.
    const std::int64_t tasks = heads_.on_tiles() ? kTasks / 2 : kTasks;
    const std::int64_t copies = std::max<std::int64_t>(
        1, std::min(tasks / std::max<std::int64_t>(1, groups), ceil_div(keys, kLeastKeys)));
    const std::int64_t range = key_range(copies), rows = query_range(heads.inner() * range);
    const Sum<T> query(to_.query, layout_.batch, strides_.query, copies);
    const Sum<T> key(to_.key, heads.outer_shape(), strides_.key, 1);
    const Sum<T> value(to_.value, heads.outer_shape(), strides_.value, 1);
    const std::int64_t work =
        heads.inner() * std::min(rows, layout_.queries) * std::min(range, keys) * width() * 5 / 2;
    if (keys * layout_.queries == 0)
      for (const auto* sum : {&query, &key, &value}) sum->clear();
    for (std::int64_t i = 0; i < layout_.queries; i += rows)
      for (std::int64_t j = 0; j < keys; j += copies * range)
        parallel_for(
            groups * copies, attention_grain(work), [&](std::int64_t begin, std::int64_t end) {
              const Workspace<T> scratch(scratch_size());
              const auto tiles = heads_.tiles();
              for (std::int64_t task = begin; task < end; ++task) {
                const std::int64_t copy = task % copies, first = std::min(j + copy * range, keys);
                const AttentionRange here{i, std::min(i + rows, layout_.queries), first,
                                          std::min(first + range, keys)};
                head_range(heads, task / copies, copy, j == 0, here, query, key, value,
                           scratch.data());
              }
            });
    query.finish();
    key.finish();
    value.finish();
  }

  // The mask's gradient: every head that shares an element of it adds to it, in one task.
  void mask() const {
    const SharedAxes heads(layout_.batch, [&](int axis) { return strides_.mask[axis] != 0; });
    zero(to_.mask.as<T>(), to_.mask.numel());
    if (layout_.batch.numel() == 0) return;
    const bool by_row = strides_.mask_row != 0, by_column = !by_row && strides_.mask_column != 0;
    const std::int64_t rows = by_row ? kAttentionPanel : std::max<std::int64_t>(1, layout_.queries);
    const std::int64_t columns =
        by_column ? kAttentionKeys : std::max<std::int64_t>(1, layout_.keys);
    const std::int64_t row_blocks = ceil_div(layout_.queries, rows);
    const std::int64_t blocks = row_blocks * ceil_div(layout_.keys, columns);
    const std::int64_t work = heads.inner() * rows * columns * width();
    parallel_for(
        heads.outer() * blocks, attention_grain(work), [&](std::int64_t begin, std::int64_t end) {
          const Workspace<T> scratch(scratch_size());
          const auto tiles = heads_.tiles();
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t i = task % blocks % row_blocks * rows;
            const std::int64_t j = task % blocks / row_blocks * columns;
            mask_range(
                heads, task / blocks,
                {i, std::min(i + rows, layout_.queries), j, std::min(j + columns, layout_.keys)},
                scratch.data());
          }
        });
  }

 private:
  static TensorView or_packed(const TensorView& gradient, const TensorView& x) {
    if (gradient.defined || !x.defined) return gradient;
    return TensorView(nullptr, x.dtype, x.shape);
  }
  std::int64_t width() const { return layout_.width + layout_.value_width; }
  std::int64_t scratch_size() const { return kernels_.scratch(heads_[0]); }
  std::int64_t key_range(std::int64_t copies) const {
    return round_up(ceil_div(layout_.keys, copies), kAttentionKeys);
  }
  std::int64_t query_range(std::int64_t keys) const {
    return kAttentionPanel * items_within_task(kAttentionPanel * keys * width() * 5 / 2);
  }

  Workspace<T> grad_dots(const TensorView& output) const {
    const std::int64_t width = layout_.value_width, heads = layout_.batch.numel();
    Workspace<T> dots(heads * layout_.queries);
    if (!heads_.on_tiles() && layout_.keys <= kAttentionKeys) return dots;  // nobody reads them
    const OutputRows<T> rows(layout_, output);
    parallel_for(heads, grain_for(layout_.queries * (width / 4 + 1)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t b = begin; b < end; ++b)
                     kernels_.row_dots(grad_.of_head(b), grad_.row_stride(), rows.of_head(b),
                                       rows.row_stride(), layout_.queries, width,
                                       dots.data() + b * layout_.queries);
                 });
    return dots;
  }

  AttentionUpstream<T> upstream(std::int64_t index) const {
    const std::int64_t row = index * layout_.queries;
    return {grad_.of_head(index), grad_.row_stride(), row_max_.data() + row, row_sum_.data() + row,
            grad_dots_.data() + row};
  }

  // first: nobody has added to the gradient of these queries yet.
  void head_range(const SharedAxes& heads, std::int64_t group, std::int64_t copy, bool first,
                  const AttentionRange& range, const Sum<T>& query, const Sum<T>& key,
                  const Sum<T>& value, T* scratch) const {
    const std::int64_t begin = range.key_begin, end = range.key_end;
    const bool opens = range.query_begin == 0;
    AttentionTargets<T> targets{};
    targets.key = key.open(group, 0, begin, end, opens);
    targets.value = value.open(group, 0, begin, end, opens);
    for (std::int64_t i = 0; i < heads.inner(); ++i) {
      const std::int64_t index = heads.index(group, i);
      targets.query = query.open(index, copy, range.query_begin, range.query_end, first);
      if (begin < end) kernels_.backward(heads_[index], range, upstream(index), targets, scratch);
    }
  }

  void mask_range(const SharedAxes& heads, std::int64_t outer, const AttentionRange& range,
                  T* scratch) const {
    AttentionTargets<T> targets{};
    targets.mask_row = strides_.mask_row;
    targets.mask_column = strides_.mask_column;
    for (std::int64_t i = 0; i < heads.inner(); ++i) {
      const std::int64_t index = heads.index(outer, i);
      targets.mask = to_.mask.as<T>() + batch_offset(layout_.batch, strides_.mask, index);
      kernels_.backward(heads_[index], range, upstream(index), targets, scratch);
    }
  }

  const AttentionParams& params_;
  const AttentionLayout& layout_;
  const AttentionHeads<T> heads_;
  const AttentionGradients& to_;
  const OutputRows<T> grad_;
  const Contiguous<T> row_max_, row_sum_;
  const AttentionBackwardKernels<T>& kernels_;
  const Workspace<T> grad_dots_;   // of grad and output, row by row
  const AttentionLayout strides_;  // of gradients; C-ordered those that are not wanted
};

}  // namespace

void attention_backward(const AttentionParams& params, const AttentionLayout& layout,
                        const AttentionInputs& inputs, const TensorView& grad,
                        const TensorView& output, const AttentionRows& rows,
                        const AttentionGradients& gradients) {
  visit(inputs.query.dtype, [&]<class T>() {
    const Backward<T> call(params, layout, inputs, grad, output, rows, gradients);
    if (gradients.query.defined || gradients.key.defined || gradients.value.defined)
      call.matrices();
    if (gradients.mask.defined) call.mask();
  });
}

}  // namespace pyfast
