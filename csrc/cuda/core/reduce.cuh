// Sums and maxima over a warp or a block, in a fixed order: the same bits in every run.
#pragma once

#include <cstdint>

namespace pyfast::cuda {

struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
// fmaxf drops NaN; here NaN wins, as in every maximum of pyfast.
struct Max {
  __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

template <class Op>
__device__ __forceinline__ float warp_reduce(float x, Op op) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, lane));
  return x;
}

// Every thread of a team gets the result; a team is a warp, or the whole block of kThreads.
template <int kThreads, class Op>
__device__ __forceinline__ float team_reduce(float x, Op op) {
  x = warp_reduce(x, op);
  if constexpr (kThreads > 32) {
    __shared__ float part[32];
    __syncthreads();  // the result of an earlier call may still be read
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    // Every warp folds the parts alike; lanes beyond them repeat the first, which a sum must not.
    constexpr int kWarps = kThreads / 32;
    x = part[threadIdx.x % kWarps];
#pragma unroll
    for (int lane = kWarps / 2; lane > 0; lane /= 2)
      x = op(x, __shfl_xor_sync(0xffffffffu, x, lane));
  }
  return x;
}

}  // namespace pyfast::cuda
