#include "cuda/ops/conv/write.h"

#include "cuda/hopper/device.h"
#include "cuda/ops/conv/conv_sm90a.h"

namespace pyfast::cuda {

namespace {

Output parts_of(const Call& call, const Contraction& c) {
  return Output::optional(c.splits > 1, call, DType::f32, {c.batch * c.splits, c.rows, c.columns});
}

#if defined(PYFAST_SM90A)

// A weight with its channels beside each other: as it lies, or packed.
struct HopperWeight {
  Output packed;
  TensorView view;
  ConvIndices indices;

  HopperWeight(const Call& call, const ConvIndices& n, const TensorView& weight, bool packs)
      : packed(Output::optional(packs, call, weight.dtype, {n.taps(), n.maps, n.channels})),
        view(packs ? packed.view() : weight),
        indices(n) {
    if (!packs) return;
    indices.weight = packed_strides(n);
    run(call, conv_pack_weight, n, weight, view);
  }
};

bool write_by_hopper(const Call& call, const ConvIndices& n, bool of_image, const TensorView& read,
                     const TensorView& weight, const ConvEpilogue& epilogue,
                     const TensorView& written) {
  if (!hopper_kernels_run(call.device())) return false;
  const bool packs = !reads_weight(n, weight);
  const int blocks = processors(call.device());
  ConvIndices planned = n;
  if (packs) planned.weight = packed_strides(n);
  const TensorView nowhere(nullptr, weight.dtype, weight.shape);  // at a multiple of 16 bytes
  if (correlation_boxes(planned, of_image, read, packs ? nowhere : weight, written,
                        epilogue.residual, blocks)
          .empty())
    return false;
  const HopperWeight w(call, n, weight, packs);
  const DeviceCorrelations parts = encoded<CUtensorMap, CUtensorMap>(
      correlation_boxes(w.indices, of_image, read, w.view, written, epilogue.residual, blocks));
  if (parts.empty()) return false;
  // Those kernels know relu; another activation is a pass of its own, over rounded sums.
  const bool fused =
      epilogue.activation == Activation::none || epilogue.activation == Activation::relu;
  ConvEpilogue inner = epilogue;
  if (!fused) inner.activation = Activation::none;
  const Output room =
      Output::optional(!fused && !epilogue.linear.defined, call, written.dtype, written.shape);
  const TensorView linear =
      epilogue.linear.defined ? epilogue.linear
      : fused ? written
              : TensorView(room.view().data, written.dtype, written.shape, written.strides);
  run(call, of_image ? conv_image_sm90a : conv_maps_sm90a, parts, inner, linear);
  if (linear.data != written.data) run(call, conv_activate, epilogue.activation, linear, written);
  return true;
}

bool write_weight_by_hopper(const Call& call, const ConvIndices& n, const TensorView& maps,
                            const TensorView& image, const TensorView& grad_weight) {
  if (!hopper_kernels_run(call.device())) return false;
  const auto how =
      encoded<CUtensorMap>(weight_boxes(n, maps, image, grad_weight, processors(call.device())));
  if (!how) return false;
  const Output parts(call, DType::f32, {how->sum.splits, how->sum.size()});
  run(call, conv_weight_sm90a, *how, n.weight, parts.view(), grad_weight);
  return true;
}

#endif

}  // namespace

void write_maps(const Call& call, const ConvParams& p, const TensorView& image,
                const TensorView& weight, const ConvEpilogue& epilogue, const TensorView& maps) {
  const ConvIndices n(p.geometry, p.spatial, image, weight, maps);
#if defined(PYFAST_SM90A)
  if (write_by_hopper(call, n, false, image, weight, epilogue, maps)) return;
#endif
  const Output parts = parts_of(call, n.maps_sum());
  run(call, conv_maps, n, image, weight, epilogue, maps, parts.view());
}

void write_image(const Call& call, const ConvParams& p, const TensorView& maps,
                 const TensorView& weight, const ConvEpilogue& epilogue, const TensorView& image) {
  const ConvIndices n(p.geometry, p.spatial, image, weight, maps);
#if defined(PYFAST_SM90A)
  if (write_by_hopper(call, n, true, maps, weight, epilogue, image)) return;
#endif
  const Output parts = parts_of(call, n.image_sum());
  run(call, conv_image, n, maps, weight, epilogue, image, parts.view());
}

void write_weight(const Call& call, const ConvParams& p, const TensorView& maps,
                  const TensorView& image, const TensorView& grad_weight) {
  const ConvIndices n(p.geometry, p.spatial, image, grad_weight, maps);
#if defined(PYFAST_SM90A)
  if (write_weight_by_hopper(call, n, maps, image, grad_weight)) return;
#endif
  const Output parts = parts_of(call, n.weight_sum());
  run(call, conv_weight, n, maps, image, grad_weight, parts.view());
}

}  // namespace pyfast::cuda
