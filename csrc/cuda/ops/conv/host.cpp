// The kernels' own tiles and index maps walked on the CPU, for tests/test_cuda_contraction.py.
#include "core/arguments.h"
#include "cuda/core/host_array.h"
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

// Writes, from the other two of conv2d's image, weight and maps, the one that `which` names.
void conv2d(const std::string& which, HostArray image, HostArray weight, HostArray maps,
            py::handle stride, py::handle padding, py::handle dilation, std::int64_t groups) {
  ConvOptions o{"conv2d",
                2,
                false,
                to_dims(stride, {"conv2d", "stride"}, 2),
                to_dims(dilation, {"conv2d", "dilation"}, 2),
                to_dims(padding, {"conv2d", "padding"}, 2),
                "",
                {},
                groups};
  const TensorView x = view_of(image), w = view_of(weight), y = view_of(maps);
  const ConvParams p = check_convolution(o, x, w, TensorView());
  if (!(p.output_shape == y.shape)) throw ValueError(concat("maps must be ", p.output_shape));
  const ConvIndices n(p.geometry, 2, x, w, y);
  if (which == "maps")
    fill(n.maps_sum(), weight, MapsWeight{n}, image, MapsPatches{n}, maps, MapsPlace{n});
  else if (which == "image")
    fill(n.image_sum(), weight, ImageWeight{n}, maps, ImageSources{n}, image, ImagePlace{n});
  else
    fill(n.weight_sum(), maps, WeightMaps{n}, image, WeightPatches{n}, weight, WeightPlace{n});
}

}  // namespace

void register_conv_host(py::module_& host) { host.def("conv2d", &conv2d); }

}  // namespace pyfast::cuda
