// A thread has 16 bytes of channels of one pixel of what is written; neighbours in a warp have
// neighbouring channels. What kernels share of pixels, and weights, come from the caches.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/core/parameter.cuh"
#include "cuda/ops/conv/add_rows.cuh"
#include "cuda/ops/conv/conv.h"
#include "cuda/ops/conv/depthwise.h"

namespace pyfast::cuda {

inline constexpr int kDepthwiseThreads = 256;

// Where pack i of an array of height x width pixels stands. In 32 bits, which hold all packs
// (is_depthwise): divisions of 64 are a subroutine's, around which registers spill.
struct DepthwisePlace {
  int image, y, x, channel;

  template <int kWidth>
  static __device__ __forceinline__ DepthwisePlace of(std::uint32_t i, std::int64_t channels,
                                                      std::int64_t height, std::int64_t width) {
    const auto packs = static_cast<std::uint32_t>(channels) / kWidth, pixel = i / packs;
    const auto w = static_cast<std::uint32_t>(width), h = static_cast<std::uint32_t>(height);
    const std::uint32_t line = pixel / w;
    return {static_cast<int>(line / h), static_cast<int>(line % h), static_cast<int>(pixel % w),
            static_cast<int>(i - pixel * packs) * kWidth};
  }
  __device__ __forceinline__ std::int64_t in(const ConvStrides& s) const {
    return image * s.n + y * s.y + x * s.x + channel;
  }
};

template <class T>
struct DepthwisePut {
  T* out;
  const T* residual;
  Parameter<T> scale, bias;
  bool relu;  // another activation is a pass of its own: around its calls registers would spill
  int terms;  // channels that scale and bias are for

  template <int kWidth>
  __device__ __forceinline__ void operator()(std::int64_t at, int channel,
                                             float (&v)[kWidth]) const {
    float other[kWidth] = {};
    if (residual) load(other, residual + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const bool inside = channel + k < terms;
      v[k] = fmaf(v[k], inside ? scale[channel + k] : 0.0f, inside ? bias[channel + k] : 0.0f) +
             other[k];
    }
    if (relu)
#pragma unroll
      for (float& one : v) one = one <= 0 ? 0.0f : one;
    store(out + at, v);
  }
};

// sum += a b, element by element.
template <class T, int kWidth>
__device__ __forceinline__ void add_products(float (&sum)[kWidth], const T* a, const T* b) {
  float left[kWidth], right[kWidth];
  load(left, a);
  load(right, b);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) sum[k] = fmaf(left[k], right[k], sum[k]);
}

template <class T, int kWidth>
PYFAST_KERNEL(kDepthwiseThreads)
depthwise_maps_kernel(const PYFAST_GRID_CONSTANT Depthwise d, const T* image, const T* weight,
                      std::uint32_t packs, const PYFAST_GRID_CONSTANT DepthwisePut<T> put) {
  const std::uint32_t i = blockIdx.x * kDepthwiseThreads + threadIdx.x;
  if (i >= packs) return;
  const auto at = DepthwisePlace::of<kWidth>(i, d.channels, d.y.maps, d.x.maps);
  const std::int64_t first_y = at.y * d.y.stride - d.y.padding;
  const std::int64_t first_x = at.x * d.x.stride - d.x.padding;
  const T* from = image + (at.image * d.image.n + at.channel);
  const T* w = weight + at.channel;
  float sum[kWidth] = {};
  for (std::int64_t ky = 0; ky < d.y.kernel; ++ky)
    for (std::int64_t kx = 0; kx < d.x.kernel; ++kx, w += d.channels) {
      const std::int64_t y = first_y + ky * d.y.dilation, x = first_x + kx * d.x.dilation;
      if (y < 0 || y >= d.y.image || x < 0 || x >= d.x.image) continue;
      add_products(sum, from + y * d.image.y + x * d.image.x, w);
    }
  put(at.in(d.maps), at.channel, sum);
}

// The map's place on an axis whose tap falls on a place of the image; -1 where there is none.
__device__ __forceinline__ std::int64_t map_of(const ConvAxis& a, std::int64_t place,
                                               std::int64_t tap) {
  const auto reach = static_cast<int>(place + a.padding - tap * a.dilation);
  const auto stride = static_cast<int>(a.stride);
  if (reach < 0 || reach % stride != 0 || reach / stride >= a.maps) return -1;
  return reach / stride;
}

template <class T, int kWidth>
PYFAST_KERNEL(kDepthwiseThreads)
depthwise_image_kernel(const PYFAST_GRID_CONSTANT Depthwise d, const T* maps, const T* weight,
                       std::uint32_t packs, const PYFAST_GRID_CONSTANT DepthwisePut<T> put) {
  const std::uint32_t i = blockIdx.x * kDepthwiseThreads + threadIdx.x;
  if (i >= packs) return;
  const auto at = DepthwisePlace::of<kWidth>(i, d.channels, d.y.image, d.x.image);
  const T* from = maps + (at.image * d.maps.n + at.channel);
  float sum[kWidth] = {};
  for (std::int64_t ky = 0; ky < d.y.kernel; ++ky) {
    const std::int64_t y = map_of(d.y, at.y, ky);
    if (y < 0) continue;
    const T* w = weight + (ky * d.x.kernel * d.channels + at.channel);
    for (std::int64_t kx = 0; kx < d.x.kernel; ++kx, w += d.channels) {
      const std::int64_t x = map_of(d.x, at.x, kx);
      if (x < 0) continue;
      add_products(sum, from + y * d.maps.y + x * d.maps.x, w);
    }
  }
  put(at.in(d.image), at.channel, sum);
}

// The sum of one tap over a chunk of the maps' pixels: eight threads have neighbouring channels,
// the others of the block other pixels. Parts are (chunk, tap, channel).
template <class T, int kWidth>
PYFAST_KERNEL(kDepthwiseThreads)
depthwise_weight_kernel(const PYFAST_GRID_CONSTANT Depthwise d, const T* image, const T* maps,
                        std::int64_t each, float* parts) {
  constexpr int kAcross = 8, kRows = kDepthwiseThreads / kAcross, kChannels = kAcross * kWidth;
  const std::int64_t blocks = (d.channels + kChannels - 1) / kChannels;
  std::int64_t rest = blockIdx.x;
  const int across = static_cast<int>(threadIdx.x) % kAcross;
  const int row = static_cast<int>(threadIdx.x) / kAcross;
  const std::int64_t channel = rest % blocks * kChannels + across * kWidth;
  rest /= blocks;
  const std::int64_t tap = rest % d.taps(), chunk = rest / d.taps();
  const std::int64_t ky = tap / d.x.kernel, kx = tap % d.x.kernel;
  const std::int64_t pixels = d.batch * d.y.maps * d.x.maps;
  const std::int64_t end = (chunk + 1) * each < pixels ? (chunk + 1) * each : pixels;
  float sum[kWidth] = {};
  if (channel < d.channels)
    for (std::int64_t p = chunk * each + row; p < end; p += kRows) {
      const auto at = DepthwisePlace::of<1>(static_cast<std::uint32_t>(p), 1, d.y.maps, d.x.maps);
      const std::int64_t y = at.y * d.y.stride + ky * d.y.dilation - d.y.padding;
      const std::int64_t x = at.x * d.x.stride + kx * d.x.dilation - d.x.padding;
      if (y < 0 || y >= d.y.image || x < 0 || x >= d.x.image) continue;
      add_products(sum, maps + (at.in(d.maps) + channel),
                   image + (at.image * d.image.n + y * d.image.y + x * d.image.x + channel));
    }
  add_rows<kDepthwiseThreads, kAcross>(sum);
  if (row == 0 && channel < d.channels)
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      parts[(chunk * d.taps() + tap) * d.channels + channel + k] = sum[k];
}

template <class T>
PYFAST_KERNEL(kDepthwiseThreads)
add_depthwise_parts_kernel(const float* parts, T* weight, std::int64_t chunks, std::int64_t taps,
                           const PYFAST_GRID_CONSTANT WeightCopy to) {
  const std::int64_t at = std::int64_t{blockIdx.x} * kDepthwiseThreads + threadIdx.x;
  const std::int64_t all = taps * to.rows;
  if (at >= all) return;
  const std::int64_t place = to.at(at % to.rows, 0, at / to.rows);
  if (place == kZero) return;  // what was padded
  float sum = 0;
  for (std::int64_t i = 0; i < chunks; ++i) sum += parts[i * all + at];
  weight[place] = from_float<T>(sum);
}

// Writes the maps, or the image, from the other. The activation is none or relu; its
// linear is not written.
template <class Launch>
void depthwise_into(const Depthwise& d, bool of_image, const TensorView& read,
                    const TensorView& weight, const ConvEpilogue& e, const TensorView& written,
                    const Launch& launch) {
  visit_gpu(written.dtype, [&]<class T>() {
    constexpr int kWidth = kVector<T>;
    const DepthwisePut<T> put{written.as<T>(),
                              e.residual.as<T>(),
                              {e.scale, 1.0f},
                              {e.bias, 0.0f},
                              e.activation == Activation::relu,
                              e.terms(static_cast<int>(d.channels))};
    const std::int64_t pixels = of_image ? d.image_pixels() : d.map_pixels();
    const std::int64_t packs = pixels * d.channels / kWidth;
    const auto kernel =
        of_image ? &depthwise_image_kernel<T, kWidth> : &depthwise_maps_kernel<T, kWidth>;
    launch(kernel, (packs + kDepthwiseThreads - 1) / kDepthwiseThreads, kDepthwiseThreads,
           std::size_t{0}, d, read.as<const T>(), weight.as<const T>(),
           static_cast<std::uint32_t>(packs), put);
  });
}

// `parts`: room for chunks() times taps() times channels floats.
template <class Launch>
void depthwise_weight_into(const Depthwise& d, const WeightCopy& to, const TensorView& maps,
                           const TensorView& image, const TensorView& parts,
                           const TensorView& grad_weight, const Launch& launch) {
  visit_gpu(grad_weight.dtype, [&]<class T>() {
    constexpr int kWidth = kVector<T>, kChannels = 8 * kWidth;
    const std::int64_t blocks = (d.channels + kChannels - 1) / kChannels * d.taps() * d.chunks();
    launch(&depthwise_weight_kernel<T, kWidth>, blocks, kDepthwiseThreads,
           sizeof(float) * kDepthwiseThreads * kWidth, d, image.as<const T>(), maps.as<const T>(),
           d.chunk(), parts.as<float>());
    const std::int64_t all = d.taps() * d.channels;
    launch(&add_depthwise_parts_kernel<T>, (all + kDepthwiseThreads - 1) / kDepthwiseThreads,
           kDepthwiseThreads, std::size_t{0}, parts.as<const float>(), grad_weight.as<T>(),
           d.chunks(), d.taps(), to);
  });
}

}  // namespace pyfast::cuda
