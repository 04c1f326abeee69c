// What numbers are split into for the tiles, bfloat16 parts or digits (amx_kernel.h), and how such
// panels are packed and multiplied: all that AmxEngine does not do alike for both.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gemm/amx.h"
#include "gemm/amx_plan.h"

namespace pyfast::gemm {

// Rows of an operand in memory: along the depth, or depth after depth.
struct AmxRows {
  const float* from;
  std::int64_t stride;
  int count, width;  // width: of the panel, 16 or 32
  std::int64_t depth;
  bool left, along;
};

// `count` panels of A, `a_next` items apart and alike in width, by a panel of B: sums to `tiles`, a
// slot each. Meanwhile `bytes` from `ahead` on come into L2.
template <class Item>
struct AmxRun {
  std::int64_t depth;
  int products, a_width, b_width;
  const Item *a, *b;
  std::int64_t a_next, count;
  float* tiles;
  bool accumulate;
  const Item* ahead;
  std::int64_t bytes;
};

struct PartFormat {
  using Item = std::uint16_t;
  using Seen = Magnitudes;
  using Panels = AmxPanels;
  int parts;

  // 72 KiB of a panel of three parts; sums of 512 non-negative products had 1.15 times PyTorch's
  // error.
  AmxDepths depths() const { return {2 * parts, kAmxDepth, 384}; }
  std::int64_t panel_items(int width, std::int64_t depth) const {
    return width * parts * round_up(depth, kAmxDepth);
  }
  void pack(Item* panel, const AmxRows& rows, Seen& seen) const;
  // How many tile products a step takes; 0 where the tiles would lose bits.
  int products(const Seen& a, const Seen& b, std::int64_t depth) const {
    return amx_fits(a, b, depth) ? parts * (parts + 1) / 2 : 0;
  }
  // Whether there is no operand that they would suit.
  bool hopeless(const Seen&, std::int64_t) const { return false; }
  void multiply(const AmxRun<Item>& run) const;
  // What does not suit them; within a thread's use of the tiles.
  void otherwise(const Problem<float>& block) const;
};

struct DigitFormat {
  using Item = std::int8_t;
  using Seen = DigitSpread;
  using Panels = AmxDigits;
  std::int64_t summed = kAmxSummed;  // in a row, by the multiply-adds they are held against

  // Adding up more than some ten blocks of non-negative products rounds more than PyTorch does.
  AmxDepths depths() const { return {kAmxDigits, kAmxDigitDepth, 384, 768}; }
  std::int64_t panel_items(int width, std::int64_t depth) const {
    return amx_digit_panel(width, depth);
  }
  void pack(Item* panel, const AmxRows& rows, Seen& seen) const;
  int products(const Seen& a, const Seen& b, std::int64_t depth) const {
    return amx_digit_products(a, b, depth, std::min(depth, summed));
  }
  bool hopeless(const Seen& seen, std::int64_t depth) const;
  void multiply(const AmxRun<Item>& run) const;
  // What does not suit them; within a thread's use of the tiles.
  void otherwise(const Problem<float>& block) const;
};

}  // namespace pyfast::gemm
