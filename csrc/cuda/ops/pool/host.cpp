// The kernels of images with channels last run on the CPU, for tests/test_cuda_pool.py.
#include <pybind11/numpy.h>

#include "cuda/core/host_array.h"
#include "cuda/ops/pool/channels.cuh"
#include "ops/pool/arguments.h"

namespace pyfast::cuda {

namespace {

// Kernel size, stride, padding, dilation and ceil_mode.
PoolParams max_params(const Dims& shape, const py::tuple& window) {
  const auto sizes =
      window_sizes<2>("pool", window[0], window[1], window[2], window[3], py::bool_(window[4]));
  return check_max_pool("pool", 2, shape, sizes);
}

// Kernel size, stride, padding, ceil_mode, count_include_pad and divisor_override; or output_size.
PoolParams avg_params_of(const Dims& shape, const py::tuple& w) {
  if (w.size() == 1) return check_adaptive_pool("pool", 2, shape, output_sizes<2>("pool", w[0]));
  return avg_params<2>("pool", shape, w[0], w[1], w[2], py::bool_(w[3]), py::bool_(w[4]), w[5]);
}

// (N, C, H, W) of an array (N, H, W, C).
Dims shape_of(const py::array& x) { return {x.shape(0), x.shape(3), x.shape(1), x.shape(2)}; }

py::array fresh(const py::array& like, const Dims& s, const char* format = nullptr) {
  const py::dtype type = format ? py::dtype(format) : like.dtype();
  return py::array(type, std::vector<py::ssize_t>{s[0], s[2], s[3], s[1]});
}

py::tuple max_forward(const std::string& name, const py::array& x, const py::tuple& window) {
  const DType dtype = dtype_of(name);
  const PoolParams p = max_params(shape_of(x), window);
  const py::array y = fresh(x, p.output_shape), taps = fresh(x, p.output_shape, "u1");
  max_channels_into(p, view_of(x, dtype), view_of(y, dtype), view_of(taps, DType::u8),
                    EmulatedLaunch{});
  return py::make_tuple(y, taps);
}

py::array max_backward(const std::string& name, const py::array& grad, const py::array& taps,
                       const py::tuple& shape, const py::tuple& window) {
  const DType dtype = dtype_of(name);
  const Dims image = to_shape(shape, {"pool", "shape"});
  const py::array dx = fresh(grad, image);
  max_channels_backward_into(max_params(image, window), view_of(grad, dtype),
                             view_of(taps, DType::u8), view_of(dx, dtype), EmulatedLaunch{});
  return dx;
}

py::array avg_forward(const std::string& name, const py::array& x, const py::tuple& window) {
  const DType dtype = dtype_of(name);
  const PoolParams p = avg_params_of(shape_of(x), window);
  const py::array y = fresh(x, p.output_shape);
  avg_channels_into(p, view_of(x, dtype), view_of(y, dtype), EmulatedLaunch{});
  return y;
}

py::array avg_backward(const std::string& name, const py::array& grad, const py::tuple& shape,
                       const py::tuple& window) {
  const DType dtype = dtype_of(name);
  const Dims image = to_shape(shape, {"pool", "shape"});
  const py::array dx = fresh(grad, image);
  avg_channels_backward_into(avg_params_of(image, window), view_of(grad, dtype), view_of(dx, dtype),
                             EmulatedLaunch{});
  return dx;
}

}  // namespace

void register_pool_host(py::module_& host) {
  host.def("max_pool_channels", &max_forward);
  host.def("max_pool_channels_backward", &max_backward);
  host.def("avg_pool_channels", &avg_forward);
  host.def("avg_pool_channels_backward", &avg_backward);
}

}  // namespace pyfast::cuda
