// The passes of stage.h. Tiles of 64 pixels by 64 channels go through shared memory, so that both
// sides move neighbours: pixels where channels are planes, channels in the copy. Only bits are
// moved.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/core/numeric.cuh"
#include "cuda/ops/conv/stage.h"

namespace pyfast::cuda {

inline constexpr int kStageThreads = 256, kStageTile = 64;

template <class Bits>
struct StageTile {
  static constexpr int kEach = 16 / static_cast<int>(sizeof(Bits));  // elements of 16 bytes
  static constexpr int kWords = 4 / static_cast<int>(sizeof(Bits));  // of a word
  // An odd number of words a row: pixels beside each other lie in different banks.
  static constexpr int kPitch = kStageTile + kWords;
  static constexpr std::size_t kBytes = sizeof(Bits) * kStageTile * kPitch;
  Bits* at;
  std::int64_t pixel;  // the tile's first
  int channel;

  __device__ __forceinline__ explicit StageTile(const PixelCopy& c)
      : at(reinterpret_cast<Bits*>(shared_memory())) {
    const std::int64_t across = (c.channels + kStageTile - 1) / kStageTile;
    pixel = blockIdx.x / across * kStageTile;
    channel = static_cast<int>(blockIdx.x % across) * kStageTile;
  }
  static std::int64_t blocks(const PixelCopy& c) {
    return (c.pixels() + kStageTile - 1) / kStageTile *
           ((c.channels + kStageTile - 1) / kStageTile);
  }

  // f(element of the tile, place in the array or kZero): neighbouring threads have neighbouring
  // pixels.
  template <class F>
  __device__ __forceinline__ void each_of_array(const PixelCopy& c, F f) const {
    const int p = static_cast<int>(threadIdx.x) % kStageTile;
    if (pixel + p >= c.pixels()) return;
    const std::int64_t line = c.line(pixel + p);
    const int column = static_cast<int>((pixel + p) % c.width);
    const int end = lesser_of(kStageTile, c.channels - channel);
    for (int k = static_cast<int>(threadIdx.x) / kStageTile; k < end;
         k += kStageThreads / kStageTile) {
      const std::int64_t within = c.within(column, channel + k);
      f(at[p * kPitch + k], within == kZero ? kZero : line + within);
    }
  }
  // f(first of kEach elements of the tile, kPitch apart, their place in the array).
  template <class F>
  __device__ __forceinline__ void each_vector_of_array(const PixelCopy& c, F f) const {
    constexpr int kAcross = kStageTile / kEach;
    const int p = static_cast<int>(threadIdx.x) % kAcross * kEach;
    if (pixel + p >= c.pixels()) return;
    const std::int64_t plane = c.height * c.width, image = (pixel + p) / plane;
    const std::int64_t line = image * c.array.n + (pixel + p - image * plane);
    const int end = lesser_of(kStageTile, c.array_channels - channel);
    for (int k = static_cast<int>(threadIdx.x) / kAcross; k < end; k += kStageThreads / kAcross)
      f(at + p * kPitch + k, line + (channel + k) * c.array.c);
  }
  // f(first of kEach elements of the tile, side by side, their place in the copy).
  template <class F>
  __device__ __forceinline__ void each_of_copy(const PixelCopy& c, F f) const {
    constexpr int kAcross = kStageTile / kEach;
    const int k = static_cast<int>(threadIdx.x) % kAcross * kEach;
    if (channel + k >= c.channels) return;
    for (int p = static_cast<int>(threadIdx.x) / kAcross; p < kStageTile && pixel + p < c.pixels();
         p += kStageThreads / kAcross)
      f(at + p * kPitch + k, (pixel + p) * c.channels + channel + k);
  }

  static __device__ __forceinline__ int lesser_of(int a, std::int64_t b) {
    return b < a ? static_cast<int>(b) : a;
  }
};

// 16 bytes beside elements that lie at multiples of a word.
template <class Bits>
struct SixteenBytes {
  union {
    Pack<std::uint32_t, 4> words;
    Bits at[16 / sizeof(Bits)];
  };
  __device__ __forceinline__ void from(const Bits* words_at) {
    for (int i = 0; i < 4; ++i) words.at[i] = reinterpret_cast<const std::uint32_t*>(words_at)[i];
  }
  __device__ __forceinline__ void to(Bits* words_at) const {
    for (int i = 0; i < 4; ++i) reinterpret_cast<std::uint32_t*>(words_at)[i] = words.at[i];
  }
};

template <class Bits, bool kVectors>
PYFAST_KERNEL(kStageThreads)
pack_pixels_kernel(const PYFAST_GRID_CONSTANT PixelCopy c, const Bits* array, Bits* copy) {
  using Tile = StageTile<Bits>;
  const Tile tile(c);
  if constexpr (kVectors) {
    tile.each_vector_of_array(c, [&](Bits* to, std::int64_t from) {
      SixteenBytes<Bits> v;
      v.words = *reinterpret_cast<const Pack<std::uint32_t, 4>*>(array + from);
#pragma unroll
      for (int i = 0; i < Tile::kEach; ++i) to[i * Tile::kPitch] = v.at[i];
    });
    // Channels that the array lacks.
    const int begin = Tile::lesser_of(kStageTile, c.array_channels - tile.channel);
    const int end = Tile::lesser_of(kStageTile, c.channels - tile.channel);
    if (static_cast<int>(threadIdx.x) < kStageTile)
      for (int k = begin < 0 ? 0 : begin; k < end; ++k)
        tile.at[static_cast<int>(threadIdx.x) * Tile::kPitch + k] = 0;
  } else {
    tile.each_of_array(
        c, [&](Bits& to, std::int64_t from) { to = from == kZero ? Bits{0} : array[from]; });
  }
  sync_block();
  tile.each_of_copy(c, [&](const Bits* from, std::int64_t to) {
    SixteenBytes<Bits> v;
    v.from(from);
    *reinterpret_cast<Pack<std::uint32_t, 4>*>(copy + to) = v.words;
  });
}

template <class Bits, bool kVectors>
PYFAST_KERNEL(kStageThreads)
unpack_pixels_kernel(const PYFAST_GRID_CONSTANT PixelCopy c, const Bits* copy, Bits* array) {
  using Tile = StageTile<Bits>;
  const Tile tile(c);
  tile.each_of_copy(c, [&](Bits* to, std::int64_t from) {
    SixteenBytes<Bits> v;
    v.words = *reinterpret_cast<const Pack<std::uint32_t, 4>*>(copy + from);
    v.to(to);
  });
  sync_block();
  if constexpr (kVectors)
    tile.each_vector_of_array(c, [&](const Bits* from, std::int64_t to) {
      SixteenBytes<Bits> v;
#pragma unroll
      for (int i = 0; i < Tile::kEach; ++i) v.at[i] = from[i * Tile::kPitch];
      *reinterpret_cast<Pack<std::uint32_t, 4>*>(array + to) = v.words;
    });
  else
    tile.each_of_array(c, [&](const Bits& from, std::int64_t to) {
      if (to != kZero) array[to] = from;
    });
}

// A thread has all taps of a row and a column: in (map, channel, tap) they lie together.
template <class Bits>
PYFAST_KERNEL(kStageThreads)
pack_weight_kernel(const PYFAST_GRID_CONSTANT WeightCopy c, const Bits* array, Bits* copy) {
  const std::int64_t pairs = c.rows * c.columns, taps = c.taps_y * c.taps_x;
  const std::int64_t pair = std::int64_t{blockIdx.x} * kStageThreads + threadIdx.x;
  if (pair >= pairs) return;
  for (std::int64_t tap = 0; tap < taps; ++tap) {
    const std::int64_t from = c.at(pair / c.columns, pair % c.columns, tap);
    copy[tap * pairs + pair] = from == kZero ? Bits{0} : array[from];
  }
}

// f.operator()<Bits>() for elements of 2 or 4 bytes.
template <class F>
void visit_bits(DType t, F&& f) {
  if (item_size(t) == 2) return f.template operator()<std::uint16_t>();
  f.template operator()<std::uint32_t>();
}

template <class Launch>
void pack_pixels_into(const PixelCopy& c, const TensorView& array, const TensorView& copy,
                      const Launch& launch) {
  visit_bits(array.dtype, [&]<class Bits>() {
    const auto kernel =
        c.vectors(array) ? &pack_pixels_kernel<Bits, true> : &pack_pixels_kernel<Bits, false>;
    launch(kernel, StageTile<Bits>::blocks(c), kStageThreads, StageTile<Bits>::kBytes, c,
           array.as<const Bits>(), copy.as<Bits>());
  });
}

template <class Launch>
void unpack_pixels_into(const PixelCopy& c, const TensorView& copy, const TensorView& array,
                        const Launch& launch) {
  visit_bits(array.dtype, [&]<class Bits>() {
    const auto kernel =
        c.vectors(array) ? &unpack_pixels_kernel<Bits, true> : &unpack_pixels_kernel<Bits, false>;
    launch(kernel, StageTile<Bits>::blocks(c), kStageThreads, StageTile<Bits>::kBytes, c,
           copy.as<const Bits>(), array.as<Bits>());
  });
}

template <class Launch>
void pack_weight_into(const WeightCopy& c, const TensorView& weight, const TensorView& copy,
                      const Launch& launch) {
  visit_bits(weight.dtype, [&]<class Bits>() {
    launch(&pack_weight_kernel<Bits>, (c.rows * c.columns + kStageThreads - 1) / kStageThreads,
           kStageThreads, std::size_t{0}, c, weight.as<const Bits>(), copy.as<Bits>());
  });
}

}  // namespace pyfast::cuda
