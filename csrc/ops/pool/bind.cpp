#include <optional>

#include "core/python.h"
#include "ops/pool/arguments.h"
#include "ops/pool/pool.h"

namespace pyfast {

namespace {

py::object max_forward(const PoolParams& params, const Input& x, std::optional<DType> index) {
  const Output y(params.op, x->dtype, params.output_shape);
  const Output indices = Output::optional(index.has_value(), params.op, index.value_or(DType::i64),
                                          params.output_shape);
  run(max_pool_forward, reference::max_pool_forward, params, x.view(), y.view(), indices.view());
  if (!index) return y.object();
  return py::make_tuple(y.object(), indices.object());
}

template <int spatial>
py::object max_pool(py::handle input, py::handle kernel_size, py::handle stride, py::handle padding,
                    py::handle dilation, bool ceil_mode, bool return_indices) {
  constexpr const char* op = spatial == 1 ? "max_pool1d" : "max_pool2d";
  const Input x(input, {op, "input"});
  const auto sizes = window_sizes<spatial>(op, kernel_size, stride, padding, dilation, ceil_mode);
  return max_forward(check_max_pool(op, spatial, x->shape, sizes), x, positions_if(return_indices));
}

// What a backward pass needs to know: taps as uint8, or positions where a byte cannot number them.
template <int spatial>
py::object max_pool_taps(py::handle input, py::handle kernel_size, py::handle stride,
                         py::handle padding, py::handle dilation, bool ceil_mode) {
  constexpr const char* op = spatial == 1 ? "max_pool1d" : "max_pool2d";
  const Input x(input, {op, "input"});
  const auto sizes = window_sizes<spatial>(op, kernel_size, stride, padding, dilation, ceil_mode);
  const PoolParams params = check_max_pool(op, spatial, x->shape, sizes);
  return max_forward(params, x, has_taps(params) ? DType::u8 : DType::i64);
}

template <int spatial>
py::object max_pool_taps_backward(py::handle grad, py::handle taps, py::handle input_shape,
                                  py::handle kernel_size, py::handle stride, py::handle padding,
                                  py::handle dilation, bool ceil_mode) {
  constexpr const char* op = spatial == 1 ? "max_pool1d_taps_backward" : "max_pool2d_taps_backward";
  const Input g(grad, {op, "grad"}), where(taps, {op, "taps"}, Kind::byte);
  const Dims shape = to_shape(input_shape, {op, "input_shape"});
  const auto sizes = window_sizes<spatial>(op, kernel_size, stride, padding, dilation, ceil_mode);
  const PoolParams params = check_max_pool(op, spatial, shape, sizes);
  check_max_pool_taps(params, g, where);
  const Output dx(op, g->dtype, shape);
  run(max_pool_backward, reference::max_pool_backward, params, g.view(), where.view(), dx.view());
  return dx.object();
}

template <int spatial>
py::object adaptive_max_pool(py::handle input, py::handle output_size, bool return_indices) {
  constexpr const char* op = spatial == 1 ? "adaptive_max_pool1d" : "adaptive_max_pool2d";
  const Input x(input, {op, "input"});
  const auto sizes = output_sizes<spatial>(op, output_size);
  return max_forward(check_adaptive_pool(op, spatial, x->shape, sizes), x,
                     positions_if(return_indices));
}

template <int spatial>
py::object max_pool_backward_(py::handle grad, py::handle indices, py::handle input_shape) {
  constexpr const char* op = spatial == 1 ? "max_pool1d_backward" : "max_pool2d_backward";
  const Input g(grad, {op, "grad"}), index(indices, {op, "indices"}, Kind::index);
  const Dims shape = to_shape(input_shape, {op, "input_shape"});
  const PoolParams params = check_max_pool_backward(op, spatial, g, index, shape);
  const Output dx(op, g->dtype, shape);
  run(max_pool_backward, reference::max_pool_backward, params, g.view(), index.view(), dx.view());
  return dx.object();
}

py::object avg_forward(const PoolParams& params, const Input& x) {
  const Output y(params.op, x->dtype, params.output_shape);
  run(avg_pool_forward, reference::avg_pool_forward, params, x.view(), y.view());
  return y.object();
}

py::object avg_backward(const PoolParams& params, const Input& grad, const Dims& input_shape) {
  check_pool_backward(params, grad);
  const Output dx(params.op, grad->dtype, input_shape);
  run(avg_pool_backward, reference::avg_pool_backward, params, grad.view(), dx.view());
  return dx.object();
}

template <int spatial>
py::object avg_pool(py::handle input, py::handle kernel_size, py::handle stride, py::handle padding,
                    bool ceil_mode, bool count_include_pad, py::handle divisor_override) {
  constexpr const char* op = spatial == 1 ? "avg_pool1d" : "avg_pool2d";
  const Input x(input, {op, "input"});
  return avg_forward(avg_params<spatial>(op, x->shape, kernel_size, stride, padding, ceil_mode,
                                         count_include_pad, divisor_override),
                     x);
}

template <int spatial>
py::object avg_pool_backward_(py::handle grad, py::handle input_shape, py::handle kernel_size,
                              py::handle stride, py::handle padding, bool ceil_mode,
                              bool count_include_pad, py::handle divisor_override) {
  constexpr const char* op = spatial == 1 ? "avg_pool1d_backward" : "avg_pool2d_backward";
  const Input g(grad, {op, "grad"});
  const Dims shape = to_shape(input_shape, {op, "input_shape"});
  return avg_backward(avg_params<spatial>(op, shape, kernel_size, stride, padding, ceil_mode,
                                          count_include_pad, divisor_override),
                      g, shape);
}

template <int spatial>
py::object adaptive_avg_pool(py::handle input, py::handle output_size) {
  constexpr const char* op = spatial == 1 ? "adaptive_avg_pool1d" : "adaptive_avg_pool2d";
  const Input x(input, {op, "input"});
  const auto sizes = output_sizes<spatial>(op, output_size);
  return avg_forward(check_adaptive_pool(op, spatial, x->shape, sizes), x);
}

template <int spatial>
py::object adaptive_avg_pool_backward(py::handle grad, py::handle input_shape,
                                      py::handle output_size) {
  constexpr const char* op =
      spatial == 1 ? "adaptive_avg_pool1d_backward" : "adaptive_avg_pool2d_backward";
  const Input g(grad, {op, "grad"});
  const Dims shape = to_shape(input_shape, {op, "input_shape"});
  const auto sizes = output_sizes<spatial>(op, output_size);
  return avg_backward(check_adaptive_pool(op, spatial, shape, sizes), g, shape);
}

template <int spatial>
void register_dimension(py::module_& m) {
  using py::arg;
  const auto name = [](const char* stem, const char* end = "") {
    return concat(stem, spatial, "d", end);
  };
  m.def(name("max_pool").c_str(), &max_pool<spatial>, arg("input"), arg("kernel_size"),
        arg("stride"), arg("padding"), arg("dilation"), arg("ceil_mode"), arg("return_indices"));
  m.def(name("max_pool", "_taps").c_str(), &max_pool_taps<spatial>, arg("input"),
        arg("kernel_size"), arg("stride"), arg("padding"), arg("dilation"), arg("ceil_mode"));
  m.def(name("max_pool", "_taps_backward").c_str(), &max_pool_taps_backward<spatial>, arg("grad"),
        arg("taps"), arg("input_shape"), arg("kernel_size"), arg("stride"), arg("padding"),
        arg("dilation"), arg("ceil_mode"));
  m.def(name("max_pool", "_backward").c_str(), &max_pool_backward_<spatial>, arg("grad"),
        arg("indices"), arg("input_shape"));
  m.def(name("adaptive_max_pool").c_str(), &adaptive_max_pool<spatial>, arg("input"),
        arg("output_size"), arg("return_indices"));
  m.def(name("avg_pool").c_str(), &avg_pool<spatial>, arg("input"), arg("kernel_size"),
        arg("stride"), arg("padding"), arg("ceil_mode"), arg("count_include_pad"),
        arg("divisor_override"));
  m.def(name("avg_pool", "_backward").c_str(), &avg_pool_backward_<spatial>, arg("grad"),
        arg("input_shape"), arg("kernel_size"), arg("stride"), arg("padding"), arg("ceil_mode"),
        arg("count_include_pad"), arg("divisor_override"));
  m.def(name("adaptive_avg_pool").c_str(), &adaptive_avg_pool<spatial>, arg("input"),
        arg("output_size"));
  m.def(name("adaptive_avg_pool", "_backward").c_str(), &adaptive_avg_pool_backward<spatial>,
        arg("grad"), arg("input_shape"), arg("output_size"));
}

}  // namespace

void register_pool(py::module_& m) {
  register_dimension<1>(m);
  register_dimension<2>(m);
}

}  // namespace pyfast
