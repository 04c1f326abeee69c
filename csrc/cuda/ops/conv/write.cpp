#include "cuda/ops/conv/write.h"

#include "cuda/hopper/device.h"
#include "cuda/ops/conv/conv_sm90a.h"

namespace pyfast::cuda {

namespace {

Output parts_of(const Call& call, const Contraction& c) {
  return Output::optional(c.splits > 1, call, DType::f32, {c.batch * c.splits, c.rows, c.columns});
}

// An array of which kernels are given a copy, where there is one: workspace of the call's.
class Copied {
 public:
  Copied(const Call& call, const TensorView& array, bool copies, const PixelCopy& how)
      : call_(call),
        array_(array),
        how_(how),
        room_(Output::optional(copies, call, array.dtype, {how.size()})) {}

  const TensorView& view() const { return copies() ? room_.view() : array_; }
  void pack() const {
    if (copies()) run(call_, conv_pack_pixels, how_, array_, room_.view());
  }
  void unpack(const TensorView& to) const {
    if (copies()) run(call_, conv_unpack_pixels, how_, room_.view(), to);
  }
  bool copies() const { return room_.view().defined; }

 private:
  const Call& call_;
  TensorView array_;
  PixelCopy how_;
  Output room_;
};

// A weight as kernels read it: as it lies, or packed.
class CopiedWeight {
 public:
  CopiedWeight(const Call& call, const TensorView& weight, const ConvStage& stage)
      : CopiedWeight(call, weight, stage.weight, stage.weight_copy) {}
  CopiedWeight(const Call& call, const TensorView& weight, bool copies, const WeightCopy& how)
      : room_(Output::optional(copies, call, weight.dtype, {how.size()})),
        view_(copies ? room_.view() : weight) {
    if (copies) run(call, conv_pack_weight, how, weight, view_);
  }
  const TensorView& view() const { return view_; }

 private:
  Output room_;
  TensorView view_;
};

// What kernels write that know no activation but relu: another is a pass of its own, over rounded
// sums. Those are kept where the epilogue has a linear, which relu needs none of (saves_input).
class Activated {
 public:
  Activated(const Call& call, const ConvEpilogue& e, const TensorView& written)
      : call_(call),
        activation_(e.activation),
        written_(written),
        fused_(activation_ == Activation::none || activation_ == Activation::relu),
        room_(Output::optional(!fused_ && !e.linear.defined, call, written.dtype, written.shape)),
        sums_(e.linear.defined ? e.linear : written) {
    if (room_.view().defined) sums_.data = room_.view().data;
  }
  const TensorView& sums() const { return sums_; }
  ConvEpilogue epilogue(const ConvEpilogue& e, const TensorView& residual) const {
    return {e.bias, fused_ ? activation_ : Activation::none, TensorView(), e.scale, residual};
  }
  void finish() const {
    if (!fused_) run(call_, conv_activate, activation_, sums_, written_);
  }

 private:
  const Call& call_;
  Activation activation_;
  TensorView written_;
  bool fused_;
  Output room_;
  TensorView sums_;
};

bool empty(const TensorView& x) { return x.numel() == 0; }

// By tiles that any GPU has; false where the convolution is none that they take.
bool write_by_tiles(const Call& call, const ConvIndices& n, bool of_image, const TensorView& read,
                    const TensorView& weight, const ConvEpilogue& epilogue,
                    const TensorView& written) {
  if (!walks(n) || empty(read) || empty(weight)) return false;
  const ConvStage stage(n, of_image ? written : read, weight, of_image ? read : written,
                        {!of_image, of_image, !of_image, of_image});
  const Copied from(call, read, of_image ? stage.maps : stage.image,
                    of_image ? stage.maps_copy : stage.image_copy);
  const CopiedWeight w(call, weight, stage);
  from.pack();
  run(call, conv_correlate, tile_correlations(stage.indices, of_image, written), from.view(),
      w.view(), epilogue, written);
  return true;
}

bool write_depthwise(const Call& call, const ConvIndices& n, bool of_image, const TensorView& read,
                     const TensorView& weight, const ConvEpilogue& epilogue,
                     const TensorView& written) {
  if (!is_depthwise(n) || empty(read) || empty(weight)) return false;
  const DepthwiseStage d(n, of_image ? written : read, weight, of_image ? read : written);
  const bool copies_read = of_image ? d.stage.maps : d.stage.image;
  const bool copies_written = of_image ? d.stage.image : d.stage.maps;
  const PixelCopy &there = of_image ? d.stage.maps_copy : d.stage.image_copy,
                  &back = of_image ? d.stage.image_copy : d.stage.maps_copy;
  const Activated result(call, epilogue, written);
  const Copied from(call, read, copies_read, there), to(call, result.sums(), copies_written, back);
  const Copied residual(call, epilogue.residual, copies_written && epilogue.residual.defined, back);
  const CopiedWeight w(call, weight, true, d.weight);
  from.pack();
  residual.pack();
  run(call, conv_depthwise, d.shape, of_image, from.view(), w.view(),
      result.epilogue(epilogue, residual.view()), to.view());
  to.unpack(result.sums());
  result.finish();
  return true;
}

bool write_depthwise_weight(const Call& call, const ConvIndices& n, const TensorView& maps,
                            const TensorView& image, const TensorView& grad_weight) {
  if (!is_depthwise(n) || empty(maps) || empty(image)) return false;
  const DepthwiseStage d(n, image, grad_weight, maps);
  const Copied y(call, maps, d.stage.maps, d.stage.maps_copy);
  const Copied x(call, image, d.stage.image, d.stage.image_copy);
  y.pack();
  x.pack();
  const Output parts(call, DType::f32, {d.shape.chunks(), d.shape.taps(), d.shape.channels});
  run(call, conv_depthwise_weight, d.shape, d.weight, y.view(), x.view(), parts.view(),
      grad_weight);
  return true;
}

#if defined(PYFAST_SM90A)

const TensorView nowhere(const TensorView& x) {  // at a multiple of 16 bytes
  return {nullptr, x.dtype, x.shape, x.strides};
}

bool write_by_hopper(const Call& call, const ConvIndices& n, bool of_image, const TensorView& read,
                     const TensorView& weight, const ConvEpilogue& epilogue,
                     const TensorView& written) {
  if (!hopper_kernels_run(call.device()) || !walks(n) || empty(read) || empty(weight)) return false;
  const ConvStage stage(n, of_image ? written : read, weight, of_image ? read : written,
                        {true, true, !of_image, false});
  const bool copies_read = of_image ? stage.maps : stage.image;
  const bool copies_written = of_image ? stage.image : stage.maps;
  const int blocks = processors(call.device());
  const auto boxes = [&](const TensorView& from, const TensorView& w, const TensorView& residual,
                         const TensorView& to) {
    return correlation_boxes(stage.indices, of_image, from, w, to, residual, blocks);
  };
  if (boxes(copies_read ? nowhere(read) : read, stage.weight ? nowhere(weight) : weight,
            TensorView(), copies_written ? nowhere(written) : written)
          .empty())
    return false;
  const PixelCopy &how = of_image ? stage.maps_copy : stage.image_copy,
                  &back = of_image ? stage.image_copy : stage.maps_copy;
  const Activated result(call, epilogue, written);
  const Copied from(call, read, copies_read, how), to(call, result.sums(), copies_written, back);
  const Copied residual(call, epilogue.residual, copies_written && epilogue.residual.defined, back);
  const CopiedWeight w(call, weight, stage);
  const DeviceCorrelations parts =
      encoded<CUtensorMap, CUtensorMap>(boxes(from.view(), w.view(), residual.view(), to.view()));
  if (parts.empty()) return false;
  from.pack();
  residual.pack();
  run(call, of_image ? conv_image_sm90a : conv_maps_sm90a, parts,
      result.epilogue(epilogue, residual.view()), to.view());
  to.unpack(result.sums());
  result.finish();
  return true;
}

bool write_weight_by_hopper(const Call& call, const ConvIndices& n, const TensorView& maps,
                            const TensorView& image, const TensorView& grad_weight) {
  if (!hopper_kernels_run(call.device()) || !walks(n)) return false;
  const ConvStage stage(n, image, grad_weight, maps, {});
  const auto boxes = [&](const TensorView& y, const TensorView& x) {
    return weight_boxes(stage.indices, y, x, grad_weight, processors(call.device()));
  };
  if (!boxes(stage.maps ? nowhere(maps) : maps, stage.image ? nowhere(image) : image)) return false;
  const Copied y(call, maps, stage.maps, stage.maps_copy);
  const Copied x(call, image, stage.image, stage.image_copy);
  const auto how = encoded<CUtensorMap>(boxes(y.view(), x.view()));
  if (!how) return false;
  y.pack();
  x.pack();
  const Output parts(call, DType::f32, {how->sum.splits, how->sum.size()});
  run(call, conv_weight_sm90a, *how, stage.weight_copy, parts.view(), grad_weight);
  return true;
}

#else

bool write_by_hopper(const Call&, const ConvIndices&, bool, const TensorView&, const TensorView&,
                     const ConvEpilogue&, const TensorView&) {
  return false;
}
bool write_weight_by_hopper(const Call&, const ConvIndices&, const TensorView&, const TensorView&,
                            const TensorView&) {
  return false;
}

#endif

}  // namespace

void write_maps(const Call& call, const ConvParams& p, const TensorView& image,
                const TensorView& weight, const ConvEpilogue& epilogue, const TensorView& maps) {
  const ConvIndices n(p.geometry, p.spatial, image, weight, maps);
  if (write_by_hopper(call, n, false, image, weight, epilogue, maps)) return;
  if (write_by_tiles(call, n, false, image, weight, epilogue, maps)) return;
  if (write_depthwise(call, n, false, image, weight, epilogue, maps)) return;
  const Output parts = parts_of(call, n.maps_sum());
  run(call, conv_maps, n, image, weight, epilogue, maps, parts.view());
}

void write_image(const Call& call, const ConvParams& p, const TensorView& maps,
                 const TensorView& weight, const ConvEpilogue& epilogue, const TensorView& image) {
  const ConvIndices n(p.geometry, p.spatial, image, weight, maps);
  if (write_by_hopper(call, n, true, maps, weight, epilogue, image)) return;
  if (write_by_tiles(call, n, true, maps, weight, epilogue, image)) return;
  if (write_depthwise(call, n, true, maps, weight, epilogue, image)) return;
  const Output parts = parts_of(call, n.image_sum());
  run(call, conv_image, n, maps, weight, epilogue, image, parts.view());
}

void write_weight(const Call& call, const ConvParams& p, const TensorView& maps,
                  const TensorView& image, const TensorView& grad_weight) {
  const ConvIndices n(p.geometry, p.spatial, image, grad_weight, maps);
  if (write_weight_by_hopper(call, n, maps, image, grad_weight)) return;
  if (write_depthwise_weight(call, n, maps, image, grad_weight)) return;
  const Output parts = parts_of(call, n.weight_sum());
  run(call, conv_weight, n, maps, image, grad_weight, parts.view());
}

}  // namespace pyfast::cuda
