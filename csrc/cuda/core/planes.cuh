// Arrays in C order seen as (outer, channels, inner): each channel's values are cut into chunks by
// shape alone, and a team of threads takes a chunk: a block, or a warp where chunks are short.
#pragma once

#include "cuda/core/rows.cuh"

namespace pyfast::cuda {

struct Planes {
  std::int64_t outer = 1, channels = 1, inner = 1;
  std::int64_t chunk = 1;  // values of a channel that a team takes, a multiple of 8

  Planes(std::int64_t outer_, std::int64_t channels_, std::int64_t inner_)
      : outer(outer_), channels(channels_), inner(inner_) {
    const std::int64_t each = (values() + chunks() - 1) / chunks();
    chunk = (each + 7) / 8 * 8;  // packs never straddle chunks; the last ones may then be empty
  }
  // About 16 Ki values a chunk, unless there are very many of them.
  std::int64_t chunks() const {
    constexpr std::int64_t kMost = 512;
    const std::int64_t wanted = (values() + 16383) / 16384;
    return wanted < 1 ? 1 : wanted < kMost ? wanted : kMost;
  }
  __host__ __device__ std::int64_t values() const { return outer * inner; }  // of one channel
};

template <int kTeam>
struct PlaneTeam {
  static constexpr int kBlock = 256, kThreads = kTeam;
  static dim3 grid(const Planes& p) {
    return dim3(blocks_for(p.channels, kBlock / kTeam), static_cast<unsigned>(p.chunks()));
  }
  static __device__ __forceinline__ std::int64_t channel() {
    return std::int64_t{blockIdx.x} * (kBlock / kTeam) + threadIdx.x / kTeam;
  }
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kTeam; }
  // Where the team's partial result belongs: chunk by chunk, all channels side by side.
  static __device__ __forceinline__ std::int64_t slot(const Planes& p) {
    return blockIdx.y * p.channels + channel();
  }
  // f(address of a pack of kWidth values) for the packs of this thread.
  template <int kWidth, class F>
  static __device__ __forceinline__ void packs(const Planes& p, F f) {
    const std::int64_t first = blockIdx.y * p.chunk;
    const std::int64_t last = first + p.chunk < p.values() ? first + p.chunk : p.values();
    for (std::int64_t i = first + lane() * kWidth; i < last; i += kTeam * kWidth) {
      const std::int64_t plane = i / p.inner;
      f((plane * p.channels + channel()) * p.inner + (i - plane * p.inner));
    }
  }
};

// f<Team, kWidth>(); `vectors`: rows of `inner` may be moved 16 bytes at a time.
template <class T, class F>
void visit_planes(const Planes& p, bool vectors, F&& f) {
  const bool narrow = p.chunk <= 1024;
  if (vectors && narrow) return f.template operator()<PlaneTeam<32>, kVector<T>>();
  if (vectors) return f.template operator()<PlaneTeam<256>, kVector<T>>();
  if (narrow) return f.template operator()<PlaneTeam<32>, 1>();
  f.template operator()<PlaneTeam<256>, 1>();
}

}  // namespace pyfast::cuda
