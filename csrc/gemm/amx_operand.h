// An operand of a product on tiles, as panels of 32 rows, the last of 16 where that is enough.
#pragma once

#include <cstdint>
#include <memory>

#include "core/memory.h"
#include "core/parallel.h"
#include "gemm/amx_format.h"
#include "gemm/gemm.h"

namespace pyfast::gemm {

// Panels side by side, and what was seen of all of them together.
template <class Format>
struct AmxPacked {
  const typename Format::Item* items;
  typename Format::Seen seen;
};

template <class Format>
class AmxSide {
 public:
  using Item = typename Format::Item;
  using Seen = typename Format::Seen;
  using Panels = typename Format::Panels;

  // panels: all of it, packed already, or null.
  AmxSide(const Format& format, const Source<float>& source, std::int64_t size, bool left,
          const Panels* panels = nullptr)
      : format_(format), source_(source), size_(size), left_(left), panels_(panels) {}

  std::int64_t size() const { return size_; }
  int width(std::int64_t row) const { return size_ - row > kAmxTile ? kAmxPanel : kAmxTile; }
  std::int64_t panel_items(std::int64_t depth) const {
    return format_.panel_items(kAmxPanel, depth);
  }
  const Source<float>& source() const { return source_; }

  void pack(Item* panel, std::int64_t row, Range depths, Seen& seen) const {
    const int wide = width(row),
              count = static_cast<int>(std::min<std::int64_t>(wide, size_ - row));
    AmxRows rows{nullptr, source_.stride, count, wide, depths.size(), left_, false};
    if (source_.along) {
      rows.from = source_.along + row * source_.stride + depths.begin;
      rows.along = true;
      return format_.pack(panel, rows, seen);
    }
    if (source_.across) {
      rows.from = source_.across + row + depths.begin * source_.stride;
      return format_.pack(panel, rows, seen);
    }
    const Workspace<float> gathered(wide * depths.size());
    source_.pack(source_.context, gathered.data(), row, count, wide, depths.begin, depths.size());
    rows.from = gathered.data();
    rows.stride = rows.count = wide;
    format_.pack(panel, rows, seen);
  }

  bool is_packed() const { return panels_ != nullptr; }
  AmxPacked<Format> packed(Range rows, std::int64_t k) const {
    const std::int64_t kc = panels_->depth_block;
    const std::int64_t at = k / kc * panels_->count + rows.begin / kAmxPanel;
    AmxPacked<Format> some{panels_->items.data() + at * panel_items(kc), {}};
    for (std::int64_t p = 0; p < ceil_div(rows.size(), kAmxPanel); ++p)
      some.seen = join(some.seen, panels_->seen[at + p]);
    return some;
  }

  // What is seen of `count` panels spread over all of it, at a depth block.
  Seen sample(std::int64_t count, Range depths) const {
    const std::int64_t panels = ceil_div(size_, kAmxPanel);
    const Workspace<Item> scratch(panels_ ? 0 : panel_items(depths.size()));
    Seen seen;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = i * panels / count * kAmxPanel;
      if (panels_)
        seen = join(seen, packed(cut(row, kAmxPanel, size_), depths.begin).seen);
      else
        pack(scratch.data(), row, depths, seen);
    }
    return seen;
  }

 private:
  Format format_;
  Source<float> source_;
  std::int64_t size_;
  bool left_;
  const Panels* panels_;
};

}  // namespace pyfast::gemm
