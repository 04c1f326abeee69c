#include "cuda/ops/conv/emulated_sm90a.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "cuda/core/launch.cuh"
#include "cuda/ops/conv/bias.cuh"
#include "cuda/ops/conv/correlate_sm90a.cuh"
#include "cuda/ops/conv/pack.cuh"
#include "cuda/ops/conv/weight_sm90a.cuh"

namespace pyfast::cuda {

namespace {

template <bool kOfImage>
void emulate(const ConvIndices& n, const TensorView& from, const TensorView& weight,
             const ConvEpilogue& epilogue, const TensorView& to, int blocks,
             std::optional<ConvTile> tile) {
  const bool packs = !reads_weight(n, weight);
  std::vector<std::uint16_t> room(
      static_cast<std::size_t>(packs ? n.taps() * n.maps * n.channels + 8 : 0));
  const std::size_t misplaced = reinterpret_cast<std::uintptr_t>(room.data()) % 16 / 2;
  ConvIndices packed = n;
  TensorView w = weight;
  if (packs) {
    w.data = room.data() + (8 - misplaced) % 8;
    packed.weight = packed_strides(n);
    pack_weight_into(n, weight, w, EmulatedLaunch{});
  }
  auto parts = correlation_boxes(packed, kOfImage, from, w, to, epilogue.residual, blocks);
  if (parts.empty()) throw ValueError("host: the kernels of sm_90a don't take this");
  for (auto& part : parts)
    if (tile) cut_into(*tile, kOfImage, blocks, part);
  correlate_sm90a_into<kOfImage>(parts, epilogue, to, EmulatedLaunch{});
}

}  // namespace

void emulate_maps_sm90a(const ConvIndices& n, const TensorView& image, const TensorView& weight,
                        const ConvEpilogue& epilogue, const TensorView& maps, int blocks,
                        std::optional<ConvTile> tile) {
  emulate<false>(n, image, weight, epilogue, maps, blocks, tile);
}
void emulate_image_sm90a(const ConvIndices& n, const TensorView& maps, const TensorView& weight,
                         const ConvEpilogue& epilogue, const TensorView& image, int blocks,
                         std::optional<ConvTile> tile) {
  emulate<true>(n, maps, weight, epilogue, image, blocks, tile);
}

void emulate_weight_sm90a(const ConvIndices& n, const TensorView& maps, const TensorView& image,
                          const TensorView& grad_weight, int blocks,
                          std::optional<WeightTile> tile) {
  auto how = weight_boxes(n, maps, image, grad_weight, blocks);
  if (!how) throw ValueError("host: the kernels of sm_90a don't take this");
  if (tile) cut_into(*tile, blocks, *how);
  const Dims shape{how->sum.splits, how->sum.size()};
  std::vector<float> room(static_cast<std::size_t>(shape.numel()), NAN);
  weight_sm90a_into(*how, n.weight, TensorView(room.data(), DType::f32, shape), grad_weight,
                    EmulatedLaunch{});
}

void emulate_bias(const ConvIndices& n, const TensorView& maps, const TensorView& grad_bias) {
  const PixelSum sum(n, true, maps);
  const Dims shape{sum.chunks, sum.channels};
  std::vector<float> room(static_cast<std::size_t>(shape.numel()), NAN);
  const TensorView parts(room.data(), DType::f32, shape);
  visit_gpu(maps.dtype,
            [&]<class T>() { sum_pixels_into<T>(sum, maps, grad_bias, parts, EmulatedLaunch{}); });
}

}  // namespace pyfast::cuda
