// How large the tiles of attention are, by element type and padded head: for GPU and host. Shared
// memory stays under 99 KiB, which every GPU from sm_80 on gives a block.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace pyfast::cuda {

// Bytes from one row of a tile to the next: 16 more than the row (core/warp_tile.cuh).
constexpr std::size_t row_bytes(int item, int depth) {
  return static_cast<std::size_t>(item * depth + 16);
}

// 32 rows a warp halve what is read from shared memory; float32 and the widest heads leave
// registers for 16 only.
template <int kItem, int kDepth>
struct ForwardTile {
  static constexpr bool kHalf = kItem == 2;
  static constexpr int kWarps = 4, kThreads = 32 * kWarps;
  static constexpr int kTiles = kHalf && kDepth <= 128 ? 2 : 1;
  static constexpr int kRows = 16 * kTiles * kWarps;
  static constexpr int kKeys = kDepth <= 64 ? 64 : kHalf ? 32 : 16;
  static constexpr std::size_t kBytes = row_bytes(kItem, kDepth) * (kRows + 2 * kKeys);
  static_assert(kBytes <= 99 << 10);
};

// Backward keeps kRows rows of two operands and streams kStep rows of two others, kStages of them
// in flight.
template <int kItem, int kDepth>
struct BackwardTile {
  static constexpr bool kHalf = kItem == 2;
  static constexpr int kWarps = !kHalf && kDepth == 256 ? 2 : 4, kThreads = 32 * kWarps;
  static constexpr int kRows = 16 * kWarps;
  static constexpr int kStep = !kHalf ? 16 : kDepth <= 64 ? 64 : kDepth == 128 ? 32 : 16;
  static constexpr int kStages = kDepth == 256 || (!kHalf && kDepth == 128) ? 1 : 2;
  static constexpr std::size_t kStatistics = 3 * sizeof(float) * kStep * kStages;
  static constexpr std::size_t kBytes =
      row_bytes(kItem, kDepth) * (2 * kRows + 2 * kStep * kStages) + kStatistics;
  static_assert(kBytes <= 99 << 10);
};

// f.operator()<kDepth>() for the padded head.
template <class F>
void visit_depth(int depth, F&& f) {
  if (depth == 32) return f.template operator()<32>();
  if (depth == 64) return f.template operator()<64>();
  if (depth == 128) return f.template operator()<128>();
  f.template operator()<256>();
}

inline int forward_rows(DType dtype, int depth) {
  int rows = 0;
  visit_depth(depth, [&]<int kDepth>() {
    rows = dtype == DType::f32 ? ForwardTile<4, kDepth>::kRows : ForwardTile<2, kDepth>::kRows;
  });
  return rows;
}

}  // namespace pyfast::cuda
