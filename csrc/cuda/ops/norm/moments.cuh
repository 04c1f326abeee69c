// Mean and variance of planes (core/planes.cuh): a team's chunk, to be merged in order.
#pragma once

#include "cuda/core/planes.cuh"
#include "cuda/ops/norm/moments.h"

namespace pyfast::cuda {

// The team's first thread gets the whole.
template <int kThreads>
__device__ __forceinline__ Moments team_merge(Moments m) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    Moments other;
    other.n = __shfl_down_sync(0xffffffffu, m.n, lane);
    other.mean = __shfl_down_sync(0xffffffffu, m.mean, lane);
    other.m2 = __shfl_down_sync(0xffffffffu, m.m2, lane);
    m.merge(other);
  }
  if constexpr (kThreads > 32) {
    __shared__ Moments warps[kThreads / 32];
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = m;
    __syncthreads();
    if (threadIdx.x == 0)
      for (int w = 1; w < kThreads / 32; ++w) m.merge(warps[w]);
  }
  return m;
}

__device__ __forceinline__ void put_moments(float* partial, std::int64_t slot, const Moments& m) {
  float* to = partial + 3 * slot;
  to[0] = m.n, to[1] = m.mean, to[2] = m.m2;
}

// Of a channel's chunks, which lie `channels` slots apart: a warp takes them side by side, so that
// it waits for memory a few times rather than once a chunk. The first lane gets the whole.
__device__ __forceinline__ Moments merge_chunks(const float* partial, std::int64_t channel,
                                                std::int64_t channels, std::int64_t chunks) {
  Moments m;
  for (std::int64_t k = threadIdx.x % 32; k < chunks; k += 32) {
    const float* from = partial + 3 * (k * channels + channel);
    Moments part;
    part.n = from[0], part.mean = from[1], part.m2 = from[2];
    m.merge(part);
  }
  return team_merge<32>(m);
}

template <class Team, int kWidth, class T>
__global__ void __launch_bounds__(Team::kBlock)
    moments_planes(float* partial, const T* x, const Planes planes) {
  if (Team::channel() >= planes.channels) return;
  Moments m;
  Team::template packs<kWidth>(planes, [&](std::int64_t at) {
    float v[kWidth];
    load(v, x + at);
    m.merge(Moments::of(v));
  });
  m = team_merge<Team::kThreads>(m);
  if (Team::lane() == 0) put_moments(partial, Team::slot(planes), m);
}

template <class T>
void launch_moments(float* partial, const TensorView& x, const Planes& planes,
                    cudaStream_t stream) {
  visit_planes<T>(planes, vectorizable(planes.inner, x), [&]<class Team, int kWidth>() {
    moments_planes<Team, kWidth>
        <<<Team::grid(planes), Team::kBlock, 0, stream>>>(partial, x.as<const T>(), planes);
  });
}

}  // namespace pyfast::cuda
