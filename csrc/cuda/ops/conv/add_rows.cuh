// Sums that the threads of a block have of the same channels, added up in a fixed order.
#pragma once

#include "cuda/core/machine.cuh"

namespace pyfast::cuda {

// kAcross threads have neighbouring channels, kWidth each, and the others of the kThreads the same
// ones. The first kAcross threads get the sums. Takes kThreads times kWidth floats of shared
// memory.
template <int kThreads, int kAcross, int kWidth>
__device__ __forceinline__ void add_rows(float (&sum)[kWidth]) {
  constexpr int kChannels = kAcross * kWidth;
  const int row = static_cast<int>(threadIdx.x) / kAcross;
  float* mine = reinterpret_cast<float*>(shared_memory()) + threadIdx.x * kWidth;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) mine[i] = sum[i];
  for (int half = kThreads / kAcross / 2; half > 0; half /= 2) {
    sync_block();
    if (row < half)
#pragma unroll
      for (int i = 0; i < kWidth; ++i) mine[i] += mine[half * kChannels + i];
  }
  if (row == 0)
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] = mine[i];
}

}  // namespace pyfast::cuda
