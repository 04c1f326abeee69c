// The kernels' own tiles and index maps walked on the CPU, for tests/test_cuda_contraction.py.
#include <pybind11/stl.h>

#include <optional>

#include "core/arguments.h"
#include "cuda/core/host_array.h"
#include "cuda/ops/conv/emulated.h"
#include "cuda/ops/conv/indices.h"

namespace pyfast::cuda {

namespace {

template <class A, class B, class Place>
void fill(const Contraction& c, const HostArray& a, const A& a_map, const HostArray& b,
          const B& b_map, HostArray& out, const Place& place) {
  float* to = out.mutable_data();
  contract_on_host(
      c, a.data(), a_map, b.data(), b_map,
      [&](std::int64_t g, std::int64_t i, std::int64_t j, float v) { to[place.at(g, i, j)] = v; });
}

ConvOptions options_of(py::handle stride, py::handle padding, py::handle dilation,
                       std::int64_t groups) {
  ConvOptions o;
  o.op = "conv2d";
  o.spatial = 2;
  o.transposed = false;
  o.stride = to_dims(stride, {"conv2d", "stride"}, 2);
  o.dilation = to_dims(dilation, {"conv2d", "dilation"}, 2);
  o.padding = to_dims(padding, {"conv2d", "padding"}, 2);
  o.groups = groups;
  return o;
}

ConvIndices indices_of(const ConvOptions& o, const TensorView& image, const TensorView& weight,
                       const TensorView& maps) {
  const ConvParams p = check_convolution(o, image, weight, TensorView());
  if (!(p.output_shape == maps.shape)) throw ValueError(concat("maps must be ", p.output_shape));
  return {p.geometry, 2, image, weight, maps};
}

// Writes, from the other two of conv2d's image, weight and maps, the one that `which` names.
void conv2d(const std::string& which, HostArray image, HostArray weight, HostArray maps,
            py::handle stride, py::handle padding, py::handle dilation, std::int64_t groups) {
  const ConvIndices n = indices_of(options_of(stride, padding, dilation, groups), view_of(image),
                                   view_of(weight), view_of(maps));
  if (which == "maps")
    fill(n.maps_sum(), weight, MapsWeight{n}, image, MapsPatches{n}, maps, MapsPlace{n});
  else if (which == "image")
    fill(n.image_sum(), weight, ImageWeight{n}, maps, ImageSources{n}, image, ImagePlace{n});
  else
    fill(n.weight_sum(), maps, WeightMaps{n}, image, WeightPatches{n}, weight, WeightPlace{n});
}

using Coded = std::optional<py::array>;

// The same by the kernels of sm_90a, thread by thread, on so many blocks of them, in these tiles or
// the best ones; on 0 blocks by portable tiles. `which` is weight, or maps or image, of which scale
// and bias are float32 terms of channels; residual has its shape.
void conv2d_sm90a(const std::string& which, const std::string& dtype_name, const py::array& image,
                  const py::array& weight, const py::array& maps, const Coded& scale,
                  const Coded& bias, const Coded& residual, bool relu, py::handle stride,
                  py::handle padding, py::handle dilation, std::int64_t groups, int blocks,
                  std::optional<int> tile) {
  const DType dtype = dtype_of(dtype_name);
  const TensorView x = view_of(image, dtype), w = view_of(weight, dtype), y = view_of(maps, dtype);
  const ConvIndices n = indices_of(options_of(stride, padding, dilation, groups), x, w, y);
  const auto optional = [](const Coded& a, DType type) {
    return a ? view_of(*a, type) : TensorView();
  };
  ConvEpilogue epilogue;
  epilogue.bias = optional(bias, DType::f32);
  epilogue.activation = relu ? Activation::relu : Activation::none;
  epilogue.scale = optional(scale, DType::f32);
  epilogue.residual = optional(residual, dtype);
  if (which == "weight")
    return emulate_weight_sm90a(
        n, y, x, w, blocks, tile ? std::optional(static_cast<WeightTile>(*tile)) : std::nullopt);
  const bool of_image = which == "image";
  if (blocks == 0)
    return emulate_tiles(n, of_image, of_image ? y : x, w, epilogue, of_image ? x : y);
  const auto tiles = tile ? std::optional(static_cast<ConvTile>(*tile)) : std::nullopt;
  emulate_sm90a(n, {of_image, blocks, tiles}, of_image ? y : x, w, epilogue, of_image ? x : y);
}

// Of maps of any strides (N, maps, H, W), whose image and weight do not matter.
py::array bias_gradient(const std::string& dtype_name, const py::array& maps) {
  const DType dtype = dtype_of(dtype_name);
  const TensorView y = view_of(maps, dtype);
  const TensorView image(nullptr, dtype, {y.shape[0], 1, y.shape[2], y.shape[3]});
  const TensorView weight(nullptr, dtype, {y.shape[1], 1, 1, 1});
  ConvOptions o;
  o.op = "conv2d";
  o.spatial = 2;
  o.transposed = false;
  o.stride = o.dilation = {1, 1};
  o.padding = {0, 0};
  o.groups = 1;
  py::array sums(py::dtype(dtype == DType::f32 ? "f4" : "u2"), std::vector{y.shape[1]});
  emulate_bias(indices_of(o, image, weight, y), y, view_of(sums, dtype));
  return sums;
}

}  // namespace

void register_conv_host(py::module_& host) {
  host.def("conv2d", &conv2d);
  host.def("conv2d_sm90a", &conv2d_sm90a);
  host.def("bias_gradient", &bias_gradient);
}

}  // namespace pyfast::cuda
