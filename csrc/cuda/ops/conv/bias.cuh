// The bias' gradient: each channel's sum over all pixels. Blocks of threads sum chunks of the
// pixels, cut by shape alone, for some channels each; then a thread a channel adds its chunks up,
// in order.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/ops/conv/add_rows.cuh"
#include "cuda/ops/conv/pixel_sum.h"

namespace pyfast::cuda {

inline constexpr int kSumThreads = 256;

// kAcross threads have neighbouring channels, kWidth each; the others of the block other pixels.
template <class T, int kAcross, int kWidth>
PYFAST_KERNEL(kSumThreads)
sum_pixels_kernel(const T* dz, float* parts, const PYFAST_GRID_CONSTANT PixelSum s) {
  constexpr int kRows = kSumThreads / kAcross, kChannels = kAcross * kWidth;
  const auto blocks = (s.channels + kChannels - 1) / kChannels;
  const std::int64_t chunk = blockIdx.x / blocks;
  const std::int64_t first = blockIdx.x % blocks * kChannels;
  const int across = static_cast<int>(threadIdx.x) % kAcross;
  const int row = static_cast<int>(threadIdx.x) / kAcross;
  const std::int64_t channel = first + across * kWidth;
  const std::int64_t begin = chunk * s.each;
  const std::int64_t end = begin + s.each < s.pixels ? begin + s.each : s.pixels;
  float sum[kWidth] = {};
  if (channel < s.channels)
    for (std::int64_t p = begin + row; p < end; p += kRows) {
      float v[kWidth];
      load(v, dz + s.place(p) + channel * s.c);
      for (int i = 0; i < kWidth; ++i) sum[i] += v[i];
    }
  add_rows<kSumThreads, kAcross>(sum);
  if (row == 0 && channel < s.channels)
    for (int i = 0; i < kWidth; ++i) parts[chunk * s.channels + channel + i] = sum[i];
}

template <class T>
PYFAST_KERNEL(kSumThreads)
add_pixel_sums_kernel(const float* parts, T* sums, const PYFAST_GRID_CONSTANT PixelSum s) {
  const std::int64_t channel = std::int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (channel >= s.channels) return;
  float sum = 0;
  for (std::int64_t i = 0; i < s.chunks; ++i) sum += parts[i * s.channels + channel];
  sums[channel] = from_float<T>(sum);
}

// `parts`: room for chunks times channels floats.
template <class T, class Launch>
void sum_pixels_into(const PixelSum& s, const TensorView& dz, const TensorView& sums,
                     const TensorView& parts, const Launch& launch) {
  const auto start = [&]<int kAcross, int kWidth>() {
    constexpr int kChannels = kAcross * kWidth;
    const std::int64_t blocks = (s.channels + kChannels - 1) / kChannels * s.chunks;
    launch(&sum_pixels_kernel<T, kAcross, kWidth>, blocks, kSumThreads,
           sizeof(float) * kSumThreads * kWidth, dz.as<const T>(), parts.as<float>(), s);
  };
  if (s.vectors)
    start.template operator()<8, kVector<T>>();
  else if (s.c == 1)
    start.template operator()<32, 1>();
  else
    start.template operator()<1, 1>();
  launch(&add_pixel_sums_kernel<T>, (s.channels + kSumThreads - 1) / kSumThreads, kSumThreads,
         std::size_t{0}, parts.as<const float>(), sums.as<T>(), s);
}

}  // namespace pyfast::cuda
