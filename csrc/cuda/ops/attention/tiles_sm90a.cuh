// What forward and backward on sm_90a share: stages of tiles on their way, a warpgroup's operand in
// registers, and rows written as they leave them.
#pragma once

#include "cuda/hopper/pipeline.cuh"
#include "cuda/ops/attention/plan_sm90a.h"
#include "cuda/ops/attention/tiles.cuh"

namespace pyfast::cuda {

// axes.offset(index), by divisions of 32 bits: those of 64 take a subroutine's registers.
__device__ __forceinline__ std::int64_t offset_of(const Axes& axes, int index) {
  std::int64_t at = 0;
  auto left = static_cast<std::uint32_t>(index);
#pragma unroll 1
  for (int i = axes.rank - 1; i >= 0; --i) {
    const auto size = static_cast<std::uint32_t>(axes.size[i]);
    at += left % size * axes.stride[i];
    left /= size;
  }
  return at;
}

// Rows from `row` on start on their way, in boxes as high as the map's, kBox; by one thread.
template <int kRows, int kBox, int kDepth, class Map>
__device__ __forceinline__ void send_tile(unsigned char* to, const BatchedMap<Map>& from, int index,
                                          int row, Mbarrier& there) {
  // Else the reciprocals of all these divisors would be kept in registers.
  const auto coordinate = [&](int axis) {
    return BatchCoordinates::place(index, opaque(static_cast<int>(from.batch.divisor[axis])),
                                   opaque(static_cast<int>(from.batch.size[axis])));
  };
  const int batch[3] = {coordinate(0), coordinate(1), coordinate(2)};
#pragma unroll
  for (int c = 0; c < kDepth; c += kPanelColumns)
#pragma unroll
    for (int r = 0; r < kRows; r += kBox, to += panel_bytes(kBox))
      load_panel(to, from.map, there, c, row + r, batch);
}

// The same, in one box a panel, announced to the barrier.
template <int kRows, int kDepth, class Map>
__device__ __forceinline__ void announce_tile(unsigned char* to, const BatchedMap<Map>& from,
                                              int index, int row, Mbarrier& there) {
  arrive_expecting(there, tile_bytes(kRows, kDepth));
  send_tile<kRows, kRows, kDepth>(to, from, index, row, there);
}

// A warpgroup's left operand in registers, of a product's result.
template <int kInner>
struct LeftOperand {
  std::uint32_t at[kInner / 16][4];

  template <class T>
  __device__ __forceinline__ void round(const WarpTile<kInner>& from) {
#pragma unroll
    for (int k = 0; k < kInner / 16; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float (&four)[4] = from.at[2 * k + i / 2];
        at[k][i] = rounded_pair<T>(four[i % 2 * 2], four[i % 2 * 2 + 1]);
      }
  }
};

// The rows of a warp, times factor[h], to `rows` rows of `width` elements at `to`, the columns from
// `column` on. Four lanes, who
// hold a row's columns by twos, trade them for eight neighbours each: 16 bytes.
template <class T, int kColumns>
__device__ __forceinline__ void store_rows(const WarpTile<kColumns>& sums, const float (&factor)[2],
                                           T* to, int rows, int column, int width) {
  const int lane = WarpTile<kColumns>::lane();
#pragma unroll
  for (int n = 0; n < kColumns / 8; n += 4)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      std::uint32_t word[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        word[i] = rounded_pair<T>(sums.at[n + i][2 * h] * factor[h],
                                  sums.at[n + i][2 * h + 1] * factor[h]);
      trade_columns(word);
      const int r = lane / 4 + 8 * h, c = column + 8 * n + 8 * (lane % 4);
      if (r >= rows || c >= width) continue;
      const Pack<std::uint32_t, 4> eight{{word[0], word[1], word[2], word[3]}};
      *reinterpret_cast<Pack<std::uint32_t, 4>*>(to + static_cast<std::int64_t>(r) * width + c) =
          eight;
    }
}

}  // namespace pyfast::cuda
