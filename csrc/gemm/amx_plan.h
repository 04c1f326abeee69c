// How a product on tiles is cut up: the operand with fewer rows is shared and packed once, by all
// threads; the other's rows are cut into chunks, and whoever takes a chunk packs it. A depth block
// is summed in the tiles; the sums of several wait in memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gemm/amx_kernel.h"

namespace pyfast::gemm {

inline constexpr int kAmxPanel = 2 * kAmxTile;          // rows or columns of a whole panel
inline constexpr int kAmxSlot = kAmxPanel * kAmxPanel;  // sums of a pair of panels

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};
inline Range cut(std::int64_t begin, std::int64_t size, std::int64_t end) {
  return {begin, std::min(begin + size, end)};
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t v, std::int64_t unit) { return ceil_div(v, unit) * unit; }

// How a format cuts the depth.
struct AmxDepths {
  int bytes;                    // of a number
  std::int64_t step;            // of a tile product
  std::int64_t most;            // of a block,
  std::int64_t of_long = most;  // and where the sum is long
  std::int64_t block(std::int64_t k) const;
};

struct AmxPlan {
  bool share_left;
  std::int64_t kc, ks;  // depth of a block, and packed at a time
  std::int64_t group;   // depth summed up before it joins the total
  std::int64_t shared_block, private_block, private_pass;  // rows
};
AmxPlan amx_plan(std::int64_t m, std::int64_t n, std::int64_t k, const AmxDepths& depths);

}  // namespace pyfast::gemm
