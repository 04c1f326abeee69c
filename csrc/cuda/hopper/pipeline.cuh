// What kernels of a loading warp and computing warpgroups share: stages of tiles on their way, the
// loop over them, and rows of sums as 16 bytes a lane.
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

// A stage is `there` when its bytes have landed, and `done` with when every computing warp says so.
template <int kStages>
struct StageSignals {
  Mbarrier there[kStages], done[kStages];

  // By one thread.
  __device__ __forceinline__ void begin(int computing_warps) {
    for (int i = 0; i < kStages; ++i) {
      begin_barrier(there[i], 1);
      begin_barrier(done[i], computing_warps);
    }
    publish_barriers();
  }
};

// sums = the products of `steps` stages: begin_step() begins and commits those of stage.at(). While
// a step is multiplied, the copies into the stage before it begin.
template <int kStages, int kTall, int kColumns, class BeginStep>
__device__ __forceinline__ void multiply_steps(WarpTile<kColumns> (&sums)[kTall],
                                               StageSignals<kStages>& signals,
                                               Stage<kStages>& stage, int steps,
                                               const BeginStep& begin_step) {
#pragma unroll
  for (int i = 0; i < kTall; ++i) sums[i].clear();
  int before = 0;  // the stage that was multiplied last
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_phase(signals.there[stage.at()], stage.parity());
    begin_step();
    if (step > 0) {
      wait_products<1>();
      warp_is_done(signals.done[before]);
    }
    before = stage.at();
    stage.advance();
  }
  wait_products<0>();
#pragma unroll
  for (int i = 0; i < kTall; ++i) settle(sums[i]);
  if (steps > 0) warp_is_done(signals.done[before]);
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
