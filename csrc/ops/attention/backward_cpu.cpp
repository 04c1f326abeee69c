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

// A gradient being summed: in the output array itself where each matrix of it belongs to one batch
// element, else in `copies` arrays of `batch` matrices that finish() adds up in order.
template <class T>
class Sum {
 public:
  Sum(const TensorView& target, const Dims& batch, const Dims& strides, std::int64_t copies)
      : target_(target), batch_(batch), strides_(strides), copies_(copies) {
    if (!target.defined) return;
    matrix_ = target.shape[target.rank() - 2] * target.shape.back();
    const std::int64_t all = batch.numel() * matrix_;
    if (copies > 1 || all != target.numel()) staged_.emplace(all * copies);
    zero(data(), staged_ ? staged_->size() : all);
  }
  // Matrix `index` of a copy; null when this gradient is not wanted.
  T* matrix(std::int64_t index, std::int64_t copy) const {
    if (!target_.defined) return nullptr;
    return data() + (copy * batch_.numel() + index) * matrix_;
  }
  void finish() const {
    if (!staged_) return;
    zero(target_.as<T>(), target_.numel());
    parallel_for(matrix_, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = 0; i < copies_ * batch_.numel(); ++i) {
        T* to = target_.as<T>() + batch_offset(batch_, strides_, i % batch_.numel());
        const T* from = data() + i * matrix_;
        for (std::int64_t k = begin; k < end; ++k) to[k] += from[k];
      }
    });
  }

 private:
  T* data() const { return staged_ ? staged_->data() : target_.as<T>(); }

  TensorView target_;
  Dims batch_, strides_;
  std::int64_t copies_, matrix_ = 0;
  std::optional<Workspace<T>> staged_;
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
        grad_(grad),
        row_max_(rows.max),
        row_sum_(rows.sum),
        kernels_(attention_backward_kernels<T>()),
        grad_dots_(grad_dots(output, rows.max.numel())),
        strides_(gradient_layout(layout, params,
                                 {packed(inputs.query), packed(inputs.key), packed(inputs.value),
                                  packed(inputs.mask)})) {}

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
    for (std::int64_t i = 0; i < layout_.queries; i += rows)
      for (std::int64_t j = 0; j < keys; j += copies * range)
        parallel_for(
            groups * copies, attention_grain(work), [&](std::int64_t begin, std::int64_t end) {
              const Workspace<T> scratch(scratch_size());
              const auto tiles = heads_.tiles();
              for (std::int64_t task = begin; task < end; ++task) {
                const std::int64_t copy = task % copies, first = j + copy * range;
                const AttentionRange here{i, std::min(i + rows, layout_.queries), first,
                                          std::min(first + range, keys)};
                head_range(heads, task / copies, copy, here, query, key, value, scratch.data());
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
  static TensorView packed(const TensorView& x) {
    return x.defined ? TensorView(nullptr, x.dtype, x.shape) : TensorView();
  }
  std::int64_t width() const { return layout_.width + layout_.value_width; }
  std::int64_t scratch_size() const { return kernels_.scratch(heads_[0]); }
  std::int64_t key_range(std::int64_t copies) const {
    return round_up(ceil_div(layout_.keys, copies), kAttentionKeys);
  }
  std::int64_t query_range(std::int64_t keys) const {
    return kAttentionPanel * items_within_task(kAttentionPanel * keys * width() * 5 / 2);
  }

  Workspace<T> grad_dots(const TensorView& output, std::int64_t rows) const {
    const Contiguous<T> packed(output);
    const std::int64_t width = layout_.value_width;
    Workspace<T> dots(rows);
    parallel_for(dots.size(), grain_for(width / 4 + 1), [&](std::int64_t begin, std::int64_t end) {
      kernels_.row_dots(grad_.data() + begin * width, packed.data() + begin * width, end - begin,
                        width, dots.data() + begin);
    });
    return dots;
  }

  AttentionUpstream<T> upstream(std::int64_t index) const {
    const std::int64_t row = index * layout_.queries, at = row * layout_.value_width;
    return {grad_.data() + at, row_max_.data() + row, row_sum_.data() + row,
            grad_dots_.data() + row};
  }

  void head_range(const SharedAxes& heads, std::int64_t group, std::int64_t copy,
                  const AttentionRange& range, const Sum<T>& query, const Sum<T>& key,
                  const Sum<T>& value, T* scratch) const {
    if (range.key_begin >= range.key_end) return;
    AttentionTargets<T> targets{};
    targets.key = key.matrix(group, 0);
    targets.value = value.matrix(group, 0);
    for (std::int64_t i = 0; i < heads.inner(); ++i) {
      const std::int64_t index = heads.index(group, i);
      targets.query = query.matrix(index, copy);
      kernels_.backward(heads_[index], range, upstream(index), targets, scratch);
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
  const Contiguous<T> grad_, row_max_, row_sum_;
  const AttentionBackwardKernels<T>& kernels_;
  const Workspace<T> grad_dots_;   // of grad and output, row by row
  const AttentionLayout strides_;  // of gradients, C-ordered like every output
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
