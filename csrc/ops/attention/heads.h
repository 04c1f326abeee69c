// The heads of a call with the spans of their masks, which are found once for each distinct mask.
#pragma once

#include <cmath>
#include <optional>

#include "core/memory.h"
#include "core/parallel.h"
#include "gemm/amx.h"
#include "ops/attention/kernel.h"
#include "ops/attention/layout.h"

namespace pyfast {

// The batch as outer axes, along which some operand varies, and inner ones, where it is shared.
class SharedAxes {
 public:
  template <class Varies>
  SharedAxes(const Dims& batch, Varies varies)
      : outer_(batch), inner_(batch), strides_(contiguous_strides(batch)) {
    for (int axis = 0; axis < batch.rank(); ++axis) (varies(axis) ? inner_ : outer_)[axis] = 1;
  }
  std::int64_t outer() const { return outer_.numel(); }
  std::int64_t inner() const { return inner_.numel(); }
  const Dims& outer_shape() const { return outer_; }
  std::int64_t index(std::int64_t outer, std::int64_t inner) const {
    return batch_offset(outer_, strides_, outer) + batch_offset(inner_, strides_, inner);
  }

 private:
  Dims outer_, inner_, strides_;
};

// Whether products are to be on AMX tiles: large enough to pay for the split. There the scale is
// multiplied by 2^-80, which must not cost it bits.
inline bool prefers_tiles(const AttentionParams& params, const AttentionLayout& a,
                          const AttentionInputs& inputs) {
  constexpr std::int64_t kLeast = 64, kLeastWidth = 32;
  const auto fills = [](std::int64_t width) {
    return width >= kLeastWidth &&
           2 * ((width + kAmxDepth - 1) / kAmxDepth * kAmxDepth) <= 3 * width;
  };
  const double size = std::abs(params.scale);
  const bool exact = size == 0 || (size >= 0x1p-40 && size <= 0x1p40);
  return exact && inputs.query.dtype == DType::f32 && a.queries >= kLeast && a.keys >= kLeast &&
         fills(a.width) && fills(a.value_width) && inputs.key.strides.back() == 1 &&
         inputs.value.strides.back() == 1 && gemm::amx_ready();
}

template <class T>
class AttentionHeads {
 public:
  AttentionHeads(const AttentionParams& params, const AttentionLayout& layout,
                 const AttentionInputs& inputs)
      : params_(params),
        layout_(layout),
        inputs_(inputs),
        on_tiles_(prefers_tiles(params, layout, inputs)) {
    if (inputs.mask.defined && layout.batch.numel() > 0) classify();
  }

  AttentionHead<T> operator[](std::int64_t index) const {
    AttentionHead<T> head = head_at<T>(params_, layout_, inputs_, index);
    head.tiles = on_tiles_;
    if (spans_) head.spans = spans_->data() + batch_offset(layout_.batch, span_strides_, index);
    return head;
  }
  bool on_tiles() const { return on_tiles_; }
  // To be held by a thread around the kernels.
  struct Tiles {
    explicit Tiles(bool wanted) {
      if (wanted) held.emplace();
    }
    std::optional<gemm::AmxTiles> held;
  };
  Tiles tiles() const { return Tiles(on_tiles_); }

 private:
  void classify() {
    const SharedAxes masks(layout_.batch, [&](int axis) { return layout_.mask[axis] != 0; });
    constexpr std::int64_t panel = kAttentionPanel;
    const std::int64_t blocks = (layout_.keys + kAttentionKeys - 1) / kAttentionKeys;
    const std::int64_t rows = (layout_.queries + kAttentionRows - 1) / kAttentionRows;
    const std::int64_t panels = (layout_.queries + panel - 1) / panel, size = rows * blocks;
    span_strides_ = contiguous_strides(masks.outer_shape());
    for (int axis = 0; axis < layout_.batch.rank(); ++axis)
      span_strides_[axis] *= layout_.mask[axis] != 0 ? size : 0;
    spans_.emplace(masks.outer() * size);
    const auto& kernels = attention_forward_kernels<T>();
    parallel_for(masks.outer() * panels, grain_for(panel * layout_.keys / 16 + 1),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t task = begin; task < end; ++task) {
                     const std::int64_t mask = task / panels, i = task % panels * panel;
                     kernels.classify(head_at<T>(params_, layout_, inputs_, masks.index(mask, 0)),
                                      i, std::min(i + panel, layout_.queries),
                                      spans_->data() + mask * size + i / kAttentionRows * blocks);
                   }
                 });
  }

  const AttentionParams& params_;
  const AttentionLayout& layout_;
  const AttentionInputs& inputs_;
  bool on_tiles_;
  std::optional<Workspace<MaskSpan>> spans_;
  Dims span_strides_;  // along the batch
};

}  // namespace pyfast
