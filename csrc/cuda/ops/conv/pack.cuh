// A weight as TMA reads it: (tap's row, tap's column, map, channel).
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/ops/conv/indices.h"

namespace pyfast::cuda {

inline constexpr int kPackThreads = 256;

// A thread has all taps of a pair of map and channel: in (map, channel, tap) they lie together.
template <class T>
PYFAST_KERNEL(kPackThreads)
pack_weight_kernel(T* to, const T* from, const PYFAST_GRID_CONSTANT ConvIndices n) {
  const std::int64_t pairs = n.maps * n.channels;
  const std::int64_t pair = std::int64_t{blockIdx.x} * kPackThreads + threadIdx.x;
  if (pair >= pairs) return;
  for (std::int64_t tap = 0; tap < n.taps(); ++tap)
    to[tap * pairs + pair] = from[n.weight_at(pair / n.channels, pair % n.channels, tap)];
}

template <class Launch>
void pack_weight_into(const ConvIndices& n, const TensorView& weight, const TensorView& packed,
                      const Launch& launch) {
  const std::int64_t blocks = (n.maps * n.channels + kPackThreads - 1) / kPackThreads;
  // Only bits are moved.
  launch(&pack_weight_kernel<std::uint16_t>, blocks, kPackThreads, std::size_t{0},
         packed.as<std::uint16_t>(), weight.as<const std::uint16_t>(), n);
}

}  // namespace pyfast::cuda
