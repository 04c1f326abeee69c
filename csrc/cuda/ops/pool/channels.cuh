// Pooling of images whose channels lie side by side: a thread has neighbouring channels, 16 bytes
// of them, of one output (backward: of one input), and a warp neighbouring addresses. What windows
// share comes from the cache. Backward gathers: nothing is added atomically.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/core/numeric.cuh"
#include "cuda/ops/pool/windows.h"

namespace pyfast::cuda {

inline constexpr int kPoolThreads = 256;

struct ChannelImages {
  WindowAxis rows, cols;
  std::int64_t images, channels;

  explicit ChannelImages(const PoolParams& p)
      : rows(window_axis(p.rows)),
        cols(window_axis(p.cols)),
        images(p.images),
        channels(p.channels) {}
  std::int64_t inputs() const { return images * rows.in * cols.in * channels; }
  std::int64_t outputs() const { return images * rows.out * cols.out * channels; }
};

// Where pack `i` of an array of height x width pixels stands.
template <int kWidth>
struct ChannelPlace {
  std::int64_t image, channel;
  int row, col;

  __device__ __forceinline__ ChannelPlace(std::int64_t i, std::int64_t channels, int height,
                                          int width) {
    const std::int64_t packs = channels / kWidth;
    if (i <= INT32_MAX && packs <= INT32_MAX) {  // a GPU divides 64 bits by a subroutine
      const auto small = static_cast<std::uint32_t>(i), each = static_cast<std::uint32_t>(packs);
      split(small / each, small % each, static_cast<std::uint32_t>(height),
            static_cast<std::uint32_t>(width));
    } else {
      split(i / packs, i % packs, std::int64_t{height}, std::int64_t{width});
    }
  }

 private:
  template <class N>
  __device__ __forceinline__ void split(N pixel, N pack, N height, N width) {
    const N line = pixel / width;
    channel = std::int64_t{pack} * kWidth;
    col = static_cast<int>(pixel % width);
    row = static_cast<int>(line % height);
    image = std::int64_t{line / height};
  }
};

// The first element of a pixel's pack.
__device__ __forceinline__ std::int64_t pixel_at(std::int64_t image, int row, int col, int height,
                                                 int width, std::int64_t channels) {
  return ((image * height + row) * width + col) * channels;
}

template <class T, int kWidth>
PYFAST_KERNEL(kPoolThreads)
max_channels_kernel(T* y, std::uint8_t* taps, const T* x, std::int64_t packs,
                    const PYFAST_GRID_CONSTANT ChannelImages s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
  if (i >= packs) return;
  const ChannelPlace<kWidth> at(i, s.channels, s.rows.out, s.cols.out);
  float best[kWidth];
  int tap[kWidth] = {};
#pragma unroll
  for (float& v : best) v = -INFINITY;
  bool first = true;
  for (int r = s.rows.begin(at.row); r < s.rows.last_in(at.row); r += s.rows.step())
    for (int c = s.cols.begin(at.col); c < s.cols.last_in(at.col); c += s.cols.step()) {
      const int here = s.rows.tap(at.row, r) * s.cols.kernel + s.cols.tap(at.col, c);
      float v[kWidth];
      load(v, x + pixel_at(at.image, r, c, s.rows.in, s.cols.in, s.channels) + at.channel);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        if (!first && !(v[k] > best[k]) && v[k] == v[k]) continue;  // first of equals, last NaN
        best[k] = v[k];
        tap[k] = here;
      }
      first = false;
    }
  store(y + i * kWidth, best);
  if (!taps) return;
  Pack<std::uint8_t, kWidth> bytes;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) bytes.at[k] = static_cast<std::uint8_t>(tap[k]);
  *reinterpret_cast<Pack<std::uint8_t, kWidth>*>(taps + i * kWidth) = bytes;
}

// f(place of an output's pack, row and column of its window) for the windows that hold an input.
template <class F>
__device__ __forceinline__ void each_holder(const ChannelImages& s, std::int64_t image, int row,
                                            int col, std::int64_t channel, F f) {
  for (int r = s.rows.first_window(row); r < s.rows.end_window(row); ++r) {
    if (!s.rows.holds(r, row)) continue;
    for (int c = s.cols.first_window(col); c < s.cols.end_window(col); ++c)
      if (s.cols.holds(c, col))
        f(pixel_at(image, r, c, s.rows.out, s.cols.out, s.channels) + channel, r, c);
  }
}

template <class T, int kWidth>
PYFAST_KERNEL(kPoolThreads)
max_channels_backward_kernel(T* dx, const T* g, const std::uint8_t* taps, std::int64_t packs,
                             const PYFAST_GRID_CONSTANT ChannelImages s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
  if (i >= packs) return;
  const ChannelPlace<kWidth> at(i, s.channels, s.rows.in, s.cols.in);
  float sum[kWidth] = {};
  each_holder(s, at.image, at.row, at.col, at.channel, [&](std::int64_t o, int r, int c) {
    const int mine = s.rows.tap(r, at.row) * s.cols.kernel + s.cols.tap(c, at.col);
    const auto tap = *reinterpret_cast<const Pack<std::uint8_t, kWidth>*>(taps + o);
    float v[kWidth];
    load(v, g + o);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      if (tap.at[k] == mine) sum[k] += v[k];
  });
  store(dx + i * kWidth, sum);
}

template <class T, int kWidth>
PYFAST_KERNEL(kPoolThreads)
avg_channels_kernel(T* y, const T* x, std::int64_t packs,
                    const PYFAST_GRID_CONSTANT ChannelImages s, PoolDivisor divisor) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
  if (i >= packs) return;
  const ChannelPlace<kWidth> at(i, s.channels, s.rows.out, s.cols.out);
  float sum[kWidth] = {};
  for (int r = s.rows.begin(at.row); r < s.rows.last_in(at.row); r += s.rows.step())
    for (int c = s.cols.begin(at.col); c < s.cols.last_in(at.col); c += s.cols.step()) {
      float v[kWidth];
      load(v, x + pixel_at(at.image, r, c, s.rows.in, s.cols.in, s.channels) + at.channel);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum[k] += v[k];
    }
  const float count = divisor(s.rows, s.cols, at.row, at.col);
#pragma unroll
  for (float& v : sum) v /= count;
  store(y + i * kWidth, sum);
}

template <class T, int kWidth>
PYFAST_KERNEL(kPoolThreads)
avg_channels_backward_kernel(T* dx, const T* g, std::int64_t packs,
                             const PYFAST_GRID_CONSTANT ChannelImages s, PoolDivisor divisor) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
  if (i >= packs) return;
  const ChannelPlace<kWidth> at(i, s.channels, s.rows.in, s.cols.in);
  float sum[kWidth] = {};
  each_holder(s, at.image, at.row, at.col, at.channel, [&](std::int64_t o, int r, int c) {
    const float count = divisor(s.rows, s.cols, r, c);
    float v[kWidth];
    load(v, g + o);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sum[k] += v[k] / count;
  });
  store(dx + i * kWidth, sum);
}

// start.operator()<T, kWidth>(): 16 bytes where all these arrays allow it.
template <class Start, class... Views>
void visit_channels(const ChannelImages& s, const Start& start, const TensorView& first,
                    const Views&... others) {
  visit_gpu(first.dtype, [&]<class T>() {
    const auto aligned = [](const TensorView& x) {
      return !x.defined || reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
    };
    if (s.channels % kVector<T> == 0 && (aligned(first) && ... && aligned(others)))
      start.template operator()<T, kVector<T>>();
    else
      start.template operator()<T, 1>();
  });
}

inline std::int64_t pool_blocks(std::int64_t packs) {
  return (packs + kPoolThreads - 1) / kPoolThreads;
}

// `taps` may be undefined.
template <class Launch>
void max_channels_into(const PoolParams& p, const TensorView& x, const TensorView& y,
                       const TensorView& taps, const Launch& launch) {
  const ChannelImages s(p);
  auto* const bytes = taps.defined ? taps.as<std::uint8_t>() : nullptr;
  const auto start = [&]<class T, int kWidth>() {
    const std::int64_t packs = s.outputs() / kWidth;
    launch(&max_channels_kernel<T, kWidth>, pool_blocks(packs), kPoolThreads, std::size_t{0},
           y.as<T>(), bytes, x.as<const T>(), packs, s);
  };
  visit_channels(s, start, x, y, taps);
}

template <class Launch>
void max_channels_backward_into(const PoolParams& p, const TensorView& grad, const TensorView& taps,
                                const TensorView& grad_input, const Launch& launch) {
  const ChannelImages s(p);
  const auto start = [&]<class T, int kWidth>() {
    const std::int64_t packs = s.inputs() / kWidth;
    launch(&max_channels_backward_kernel<T, kWidth>, pool_blocks(packs), kPoolThreads,
           std::size_t{0}, grad_input.as<T>(), grad.as<const T>(), taps.as<const std::uint8_t>(),
           packs, s);
  };
  visit_channels(s, start, grad, taps, grad_input);
}

template <class Launch>
void avg_channels_into(const PoolParams& p, const TensorView& x, const TensorView& y,
                       const Launch& launch) {
  const ChannelImages s(p);
  const auto start = [&]<class T, int kWidth>() {
    const std::int64_t packs = s.outputs() / kWidth;
    launch(&avg_channels_kernel<T, kWidth>, pool_blocks(packs), kPoolThreads, std::size_t{0},
           y.as<T>(), x.as<const T>(), packs, s, PoolDivisor(p));
  };
  visit_channels(s, start, x, y);
}

template <class Launch>
void avg_channels_backward_into(const PoolParams& p, const TensorView& grad,
                                const TensorView& grad_input, const Launch& launch) {
  const ChannelImages s(p);
  const auto start = [&]<class T, int kWidth>() {
    const std::int64_t packs = s.inputs() / kWidth;
    launch(&avg_channels_backward_kernel<T, kWidth>, pool_blocks(packs), kPoolThreads,
           std::size_t{0}, grad_input.as<T>(), grad.as<const T>(), packs, s, PoolDivisor(p));
  };
  visit_channels(s, start, grad, grad_input);
}

}  // namespace pyfast::cuda
