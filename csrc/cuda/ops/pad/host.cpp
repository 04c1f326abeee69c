// Padding element by element as the kernels do it, on the CPU, for tests/test_cuda_host.py.
#include "core/arguments.h"
#include "cuda/core/host_array.h"
#include "cuda/ops/pad/places.h"

namespace pyfast::cuda {

namespace {

HostArray pad(const HostArray& input, py::handle amounts, std::string_view mode, double value) {
  const TensorView x = view_of(input);
  const PadParams p = check_pad("pad", x.shape, to_shape(amounts, {"pad", "pad"}), mode, value);
  const PadPlaces places(p);
  HostArray y = new_array(p.output_shape);
  for (std::int64_t o = 0; o < p.output_shape.numel(); ++o) {
    const std::int64_t i = places.source(o);
    y.mutable_data()[o] = i == kZero ? static_cast<float>(value) : x.as<float>()[i];
  }
  return y;
}

HostArray pad_backward(const HostArray& grad, py::handle input_shape, py::handle amounts,
                       std::string_view mode) {
  const Dims shape = to_shape(input_shape, {"pad", "input_shape"});
  const PadParams p = check_pad("pad", shape, to_shape(amounts, {"pad", "pad"}), mode, 0);
  check_pad_backward("pad", p, view_of(grad));
  const PadPlaces places(p);
  HostArray dx = new_array(shape);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    float sum = 0;
    places.each_place(i, [&](std::int64_t o) { sum += grad.data()[o]; });
    dx.mutable_data()[i] = sum;
  }
  return dx;
}

}  // namespace

void register_pad_host(py::module_& host) {
  host.def("pad", &pad);
  host.def("pad_backward", &pad_backward);
}

}  // namespace pyfast::cuda
