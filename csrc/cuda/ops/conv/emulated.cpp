#include "cuda/ops/conv/emulated.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "cuda/core/launch.cuh"
#include "cuda/ops/conv/bias.cuh"
#include "cuda/ops/conv/correlate.cuh"
#include "cuda/ops/conv/correlate_sm90a.cuh"
#include "cuda/ops/conv/depthwise.cuh"
#include "cuda/ops/conv/stage.cuh"
#include "cuda/ops/conv/weight_sm90a.cuh"

namespace pyfast::cuda {

namespace {

// Workspace at a multiple of 16 bytes, full of NaN.
class Room {
 public:
  Room(DType dtype, std::int64_t elements)
      : bytes_(static_cast<std::size_t>(elements * item_size(dtype) + 16), 0xFF),
        view_(nullptr, dtype, {elements}) {
    const auto odd = reinterpret_cast<std::uintptr_t>(bytes_.data()) % 16;
    view_.data = bytes_.data() + (16 - odd) % 16;
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  const TensorView& view() const { return view_; }

 private:
  std::vector<unsigned char> bytes_;
  TensorView view_;
};

// An array of which kernels are given a copy, where there is one.
class Copied {
 public:
  Copied(const TensorView& array, bool copies, const PixelCopy& how)
      : array_(array),
        how_(how),
        copies_(copies && array.defined),
        room_(array.dtype, copies_ ? how.size() : 0) {}
  const TensorView& view() const { return copies_ ? room_.view() : array_; }
  void pack() const {
    if (copies_) pack_pixels_into(how_, array_, room_.view(), EmulatedLaunch{});
  }
  void unpack() const {
    if (copies_) unpack_pixels_into(how_, room_.view(), array_, EmulatedLaunch{});
  }

 private:
  TensorView array_;
  PixelCopy how_;
  bool copies_;
  Room room_;
};

class CopiedWeight {
 public:
  CopiedWeight(const TensorView& weight, const ConvStage& stage)
      : CopiedWeight(weight, stage.weight, stage.weight_copy) {}
  CopiedWeight(const TensorView& weight, bool copies, const WeightCopy& how)
      : room_(weight.dtype, copies ? how.size() : 0), view_(copies ? room_.view() : weight) {
    if (copies) pack_weight_into(how, weight, view_, EmulatedLaunch{});
  }
  const TensorView& view() const { return view_; }

 private:
  Room room_;
  TensorView view_;
};

}  // namespace

void emulate_sm90a(const ConvIndices& n, const EmulatedConv& how, const TensorView& read,
                   const TensorView& weight, const ConvEpilogue& epilogue,
                   const TensorView& written) {
  const bool of_image = how.of_image;
  const ConvStage stage(n, of_image ? written : read, weight, of_image ? read : written,
                        {true, true, !of_image, false});
  const PixelCopy &there = of_image ? stage.maps_copy : stage.image_copy,
                  &back = of_image ? stage.image_copy : stage.maps_copy;
  const bool copies_written = of_image ? stage.image : stage.maps;
  const Copied from(read, of_image ? stage.maps : stage.image, there);
  const Copied to(written, copies_written, back), residual(epilogue.residual, copies_written, back);
  const CopiedWeight w(weight, stage);
  from.pack();
  residual.pack();
  auto parts = correlation_boxes(stage.indices, of_image, from.view(), w.view(), to.view(),
                                 residual.view(), how.blocks);
  if (parts.empty()) throw ValueError("host: the kernels of sm_90a don't take this");
  for (auto& part : parts)
    if (how.tile) cut_into(*how.tile, of_image, how.blocks, part);
  ConvEpilogue inner = epilogue;
  inner.residual = residual.view();
  if (of_image)
    correlate_sm90a_into<true>(parts, inner, to.view(), EmulatedLaunch{});
  else
    correlate_sm90a_into<false>(parts, inner, to.view(), EmulatedLaunch{});
  to.unpack();
}

void emulate_weight_sm90a(const ConvIndices& n, const TensorView& maps, const TensorView& image,
                          const TensorView& grad_weight, int blocks,
                          std::optional<WeightTile> tile) {
  const ConvStage stage(n, image, grad_weight, maps, {});
  const Copied y(maps, stage.maps, stage.maps_copy), x(image, stage.image, stage.image_copy);
  auto how = weight_boxes(stage.indices, y.view(), x.view(), grad_weight, blocks);
  if (!how) throw ValueError("host: the kernels of sm_90a don't take this");
  y.pack();
  x.pack();
  if (tile) cut_into(*tile, blocks, *how);
  const Room parts(DType::f32, how->sum.splits * how->sum.size());
  weight_sm90a_into(*how, stage.weight_copy, parts.view(), grad_weight, EmulatedLaunch{});
}

void emulate_tiles(const ConvIndices& n, bool of_image, const TensorView& read,
                   const TensorView& weight, const ConvEpilogue& epilogue,
                   const TensorView& written) {
  if (!walks(n)) throw ValueError("host: tiles don't take this");
  const ConvStage stage(n, of_image ? written : read, weight, of_image ? read : written,
                        {!of_image, of_image, !of_image, of_image});
  const Copied from(read, of_image ? stage.maps : stage.image,
                    of_image ? stage.maps_copy : stage.image_copy);
  const CopiedWeight w(weight, stage);
  from.pack();
  correlate_into(tile_correlations(stage.indices, of_image, written), from.view(), w.view(),
                 epilogue, written, EmulatedLaunch{});
}

void emulate_depthwise(const ConvIndices& n, const std::string& which, const TensorView& image,
                       const TensorView& weight, const TensorView& maps,
                       const ConvEpilogue& epilogue) {
  if (!is_depthwise(n)) throw ValueError("host: this is not depthwise");
  const DepthwiseStage d(n, image, weight, maps);
  const Copied x(image, d.stage.image, d.stage.image_copy),
      y(maps, d.stage.maps, d.stage.maps_copy);
  if (which == "weight") {
    y.pack();
    x.pack();
    const Room parts(DType::f32, d.shape.chunks() * d.shape.taps() * d.shape.channels);
    return depthwise_weight_into(d.shape, d.weight, y.view(), x.view(), parts.view(), weight,
                                 EmulatedLaunch{});
  }
  const bool of_image = which == "image";
  const Copied &from = of_image ? y : x, &to = of_image ? x : y;
  const bool copies = of_image ? d.stage.image : d.stage.maps;
  const PixelCopy& back = of_image ? d.stage.image_copy : d.stage.maps_copy;
  const Copied residual(epilogue.residual, copies, back);
  const CopiedWeight w(weight, true, d.weight);
  from.pack();
  residual.pack();
  ConvEpilogue inner = epilogue;
  inner.residual = residual.view();
  depthwise_into(d.shape, of_image, from.view(), w.view(), inner, to.view(), EmulatedLaunch{});
  to.unpack();
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
