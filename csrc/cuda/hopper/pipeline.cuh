// What kernels of a loading warp and computing warpgroups share: stages of tiles on their way, and
// rows of sums as 16 bytes a lane.
#pragma once

#include "cuda/hopper/machine.cuh"

namespace pyfast::cuda {

// Which of kStages stages is next, and the parity of its barriers' phase.
template <int kStages>
struct Stage {
  static_assert((kStages & (kStages - 1)) == 0);
  std::uint32_t passed = 0;
  __device__ __forceinline__ int at() const { return static_cast<int>(passed % kStages); }
  __device__ __forceinline__ std::uint32_t parity() const { return passed / kStages % 2; }
  __device__ __forceinline__ void advance() { ++passed; }
};

// The first of a warp's sixteen rows, of those that the warpgroups have side by side.
__device__ __forceinline__ int warp_row(int group) {
  return 64 * group + static_cast<int>(threadIdx.x) % 128 / 32 * 16;
}

// A warp arrives, once all its lanes have come here.
__device__ __forceinline__ void warp_is_done(Mbarrier& barrier) {
  sync_warp();
  if (WarpTile<8>::lane() == 0) arrive(barrier);
}

// Of every four eights of columns, lane 4 r + c holds pair c of each; afterwards it holds all four
// pairs of the c-th, 16 bytes of a row. And back: twice is nothing.
__device__ __forceinline__ void trade_columns(std::uint32_t (&word)[4]) {
  const int lane = WarpTile<8>::lane();
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool high = (lane & bit) != 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const std::uint32_t theirs = from_lane_xor(high ? word[i] : word[i | bit], bit);
      (high ? word[i] : word[i | bit]) = theirs;
    }
  }
}

}  // namespace pyfast::cuda
