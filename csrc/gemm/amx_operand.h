// Operands of a product on tiles, as panels of 32 rows, the last of 16 where that is enough: in
// bfloat16 parts, or in digits (amx_kernel.h). What AmxEngine asks of either:
//   Item, Seen                     of panels; Seen is what fits() needs to know of them
//   size(), width(row), panel_items(depth)
//   pack(panel, row, depths, seen)
//   packed(rows, k)                panels that are there already: of rows, at a depth block; or
//   null multiply(a, b, run)            a row of tile products fits(a, b, depth) whether the tiles
//   lose nothing of such panels
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "core/memory.h"
#include "gemm/amx.h"
#include "gemm/amx_plan.h"
#include "gemm/gemm.h"

namespace pyfast::gemm {

template <class Item, class Seen>
struct AmxPacked {
  const Item* items;
  Seen seen;
};

// `count` panels of A from `row` on, below each other and alike in width, by the panel of B at
// `col`: the sums to `tiles`, a slot each. Meanwhile `bytes` from `ahead` on come into L2.
template <class Item>
struct AmxRun {
  std::int64_t row, count, col;
  Range depths;
  const Item *a, *b;
  float* tiles;
  bool accumulate;
  const Item* ahead;
  std::int64_t bytes;
};

class AmxRows {  // what both have in common
 public:
  AmxRows(const Source<float>& source, std::int64_t size, bool left)
      : source_(source), size_(size), left_(left) {}

  std::int64_t size() const { return size_; }
  int width(std::int64_t row) const { return size_ - row > kAmxTile ? kAmxPanel : kAmxTile; }
  const Source<float>& source() const { return source_; }

 protected:
  int rows_at(std::int64_t row) const {
    return static_cast<int>(std::min<std::int64_t>(width(row), size_ - row));
  }
  Source<float> source_;
  std::int64_t size_;
  bool left_;
};

class PartOperand : public AmxRows {
 public:
  using Item = std::uint16_t;
  using Seen = Magnitudes;
  static AmxFormat format(int parts) { return {2 * parts, kAmxDepth, 384}; }

  PartOperand(const Source<float>& source, std::int64_t size, bool left, int parts);

  std::int64_t panel_items(std::int64_t depth) const {
    return kAmxPanel * parts_ * round_up(depth, kAmxDepth);
  }
  void pack(Item* panel, std::int64_t row, Range depths, Seen& seen) const;
  bool is_packed() const { return split_ != nullptr; }
  AmxPacked<Item, Seen> packed(Range rows, std::int64_t k) const;

  static void multiply(const PartOperand& a, const PartOperand& b, std::int64_t kc,
                       const AmxRun<Item>& run);
  static bool fits(const Seen& a, const Seen& b, std::int64_t depth) {
    return amx_fits(a, b, depth);
  }

 private:
  int parts_;
  const AmxPanels* split_ = nullptr;
};

class DigitOperand : public AmxRows {
 public:
  using Item = std::int8_t;
  struct Seen {};
  // Sums of levels stay exact, integers, too (digit_sum() in amx_digits.h).
  static AmxFormat format() { return {kAmxDigits, kAmxDigitDepth, 512}; }

  // Looks at all of the operand, unless it is packed.
  DigitOperand(const Source<float>& source, std::int64_t size, bool left, std::int64_t depth);

  const DigitSpread& spread() const { return look().spread; }
  std::unique_ptr<const DigitLook> take_look() { return std::move(own_); }
  void set_products(int products) { products_ = products; }

  std::int64_t panel_items(std::int64_t depth) const {
    return kAmxPanel * kAmxDigits * round_up(depth, kAmxDigitDepth);
  }
  void pack(Item* panel, std::int64_t row, Range depths, Seen&) const;
  bool is_packed() const { return split_ != nullptr; }
  AmxPacked<Item, Seen> packed(Range rows, std::int64_t k) const;

  static void multiply(const DigitOperand& a, const DigitOperand& b, std::int64_t kc,
                       const AmxRun<Item>& run);
  static bool fits(const Seen&, const Seen&, std::int64_t) { return true; }

 private:
  const DigitLook& look() const { return *(split_ ? split_->look : own_); }
  const float* units(std::int64_t row, std::int64_t k) const { return look().at(row, k); }

  const AmxDigits* split_ = nullptr;
  std::unique_ptr<const DigitLook> own_;
  int products_ = 8;
};

inline DigitOperand::Seen join(DigitOperand::Seen, DigitOperand::Seen) { return {}; }

}  // namespace pyfast::gemm
