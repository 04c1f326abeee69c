#include <limits>
#include <optional>

#include "cuda/core/call.h"
#include "cuda/ops/pool/pool.h"
#include "ops/pool/arguments.h"

namespace pyfast::cuda {

namespace {

// Kernels count along an axis in 32 bits: windows that reach over its ends, and, where windows are
// adaptive, the product of both sizes.
void require_small(const PoolParams& p) {
  constexpr std::int64_t most = std::numeric_limits<int>::max() / 2;
  for (const PoolAxis* a : {&p.rows, &p.cols}) {
    const std::int64_t reach = a->adaptive ? checked_mul(p.op, a->in + 1, a->out + 1)
                                           : a->in + 2 * a->padding + a->span() + a->stride;
    if (reach > most)
      throw ValueError(concat(p.op, ": an axis of ", a->in, " elements is too long for a GPU"));
  }
}

// Positions are numbered in C order, and so are their arrays; taps lie as the input does.
py::object max_forward(Call& call, const PoolParams& params, const Input& x,
                       std::optional<DType> index) {
  require_small(params);
  const bool last = is_last(x) && index != DType::i64;
  const Input in = last ? x : Input(call, x.object(), "input");
  const OrderedOutput y(call, x->dtype, params.output_shape, last);
  const OrderedOutput indices =
      index ? OrderedOutput(call, *index, params.output_shape, last) : OrderedOutput();
  run(call, last ? max_pool_channels : max_pool_forward, params, in.view(), y.view(),
      indices.view());
  if (!index) return y.object();
  return py::make_tuple(y.object(), indices.object());
}

template <int spatial>
py::object max_pool(py::handle framework, py::handle input, py::handle kernel_size,
                    py::handle stride, py::handle padding, py::handle dilation, bool ceil_mode,
                    bool return_indices) {
  Call call(spatial == 1 ? "max_pool1d" : "max_pool2d", framework);
  const Input x = Input::image(call, input, "input");
  const auto sizes =
      window_sizes<spatial>(call.op(), kernel_size, stride, padding, dilation, ceil_mode);
  return max_forward(call, check_max_pool(call.op(), spatial, x->shape, sizes), x,
                     positions_if(return_indices));
}

template <int spatial>
py::object max_pool_taps(py::handle framework, py::handle input, py::handle kernel_size,
                         py::handle stride, py::handle padding, py::handle dilation,
                         bool ceil_mode) {
  Call call(spatial == 1 ? "max_pool1d" : "max_pool2d", framework);
  const Input x = Input::image(call, input, "input");
  const auto sizes =
      window_sizes<spatial>(call.op(), kernel_size, stride, padding, dilation, ceil_mode);
  const PoolParams params = check_max_pool(call.op(), spatial, x->shape, sizes);
  return max_forward(call, params, x, has_taps(params) ? DType::u8 : DType::i64);
}

template <int spatial>
py::object max_pool_taps_gradient(py::handle framework, py::handle grad, py::handle taps,
                                  py::handle input_shape, py::handle kernel_size, py::handle stride,
                                  py::handle padding, py::handle dilation, bool ceil_mode) {
  Call call(spatial == 1 ? "max_pool1d_taps_backward" : "max_pool2d_taps_backward", framework);
  const Input lying(call, taps, "taps", Kind::byte, false);
  const Input image = Input::image(call, grad, "grad");
  const bool last = is_last(image) && is_last(lying);
  const Input g = last ? image : Input(call, image.object(), "grad");
  const Input where = last ? lying : Input(call, taps, "taps", Kind::byte);
  const Dims shape = to_shape(input_shape, {call.op(), "input_shape"});
  const auto sizes =
      window_sizes<spatial>(call.op(), kernel_size, stride, padding, dilation, ceil_mode);
  const PoolParams params = check_max_pool(call.op(), spatial, shape, sizes);
  check_max_pool_taps(params, g, where);
  require_small(params);
  const OrderedOutput dx(call, g->dtype, shape, last);
  run(call, last ? max_pool_channels_backward : max_pool_taps_backward, params, g.view(),
      where.view(), dx.view());
  return dx.object();
}

// Positions say nothing of windows: sorted by where they lead, those of one input lie side by side.
template <int spatial>
py::object max_pool_gradient(py::handle framework, py::handle grad, py::handle indices,
                             py::handle input_shape) {
  Call call(spatial == 1 ? "max_pool1d_backward" : "max_pool2d_backward", framework);
  const Input g(call, grad, "grad"), index(call, indices, "indices", Kind::index);
  const Dims shape = to_shape(input_shape, {call.op(), "input_shape"});
  const PoolParams params = check_max_pool_backward(call.op(), spatial, g, index, shape);
  const Output places(call, DType::i64, {g->numel()}), dx(call, g->dtype, shape);
  run(call, max_pool_places, params, index.view(), places.view());
  const Input order(call, framework.attr("argsort")(places.object()), "order", Kind::index);
  run(call, max_pool_backward, g.view(), places.view(), order.view(), dx.view());
  return dx.object();
}

template <int spatial>
py::object adaptive_max_pool(py::handle framework, py::handle input, py::handle output_size,
                             bool return_indices) {
  Call call(spatial == 1 ? "adaptive_max_pool1d" : "adaptive_max_pool2d", framework);
  const Input x = Input::image(call, input, "input");
  const auto sizes = output_sizes<spatial>(call.op(), output_size);
  return max_forward(call, check_adaptive_pool(call.op(), spatial, x->shape, sizes), x,
                     positions_if(return_indices));
}

py::object avg_forward(const Call& call, const PoolParams& params, const Input& x) {
  require_small(params);
  const bool last = is_last(x);
  const OrderedOutput y(call, x->dtype, params.output_shape, last);
  run(call, last ? avg_pool_channels : avg_pool_forward, params, x.view(), y.view());
  return y.object();
}

py::object avg_backward(const Call& call, const PoolParams& params, const Input& grad,
                        const Dims& input_shape) {
  check_pool_backward(params, grad);
  require_small(params);
  const bool last = is_last(grad);
  const OrderedOutput dx(call, grad->dtype, input_shape, last);
  run(call, last ? avg_pool_channels_backward : avg_pool_backward, params, grad.view(), dx.view());
  return dx.object();
}

template <int spatial>
py::object avg_pool(py::handle framework, py::handle input, py::handle kernel_size,
                    py::handle stride, py::handle padding, bool ceil_mode, bool count_include_pad,
                    py::handle divisor_override) {
  Call call(spatial == 1 ? "avg_pool1d" : "avg_pool2d", framework);
  const Input x = Input::image(call, input, "input");
  return avg_forward(call,
                     avg_params<spatial>(call.op(), x->shape, kernel_size, stride, padding,
                                         ceil_mode, count_include_pad, divisor_override),
                     x);
}

template <int spatial>
py::object avg_pool_gradient(py::handle framework, py::handle grad, py::handle input_shape,
                             py::handle kernel_size, py::handle stride, py::handle padding,
                             bool ceil_mode, bool count_include_pad, py::handle divisor_override) {
  Call call(spatial == 1 ? "avg_pool1d_backward" : "avg_pool2d_backward", framework);
  const Input g = Input::image(call, grad, "grad");
  const Dims shape = to_shape(input_shape, {call.op(), "input_shape"});
  return avg_backward(call,
                      avg_params<spatial>(call.op(), shape, kernel_size, stride, padding, ceil_mode,
                                          count_include_pad, divisor_override),
                      g, shape);
}

template <int spatial>
py::object adaptive_avg_pool(py::handle framework, py::handle input, py::handle output_size) {
  Call call(spatial == 1 ? "adaptive_avg_pool1d" : "adaptive_avg_pool2d", framework);
  const Input x = Input::image(call, input, "input");
  const auto sizes = output_sizes<spatial>(call.op(), output_size);
  return avg_forward(call, check_adaptive_pool(call.op(), spatial, x->shape, sizes), x);
}

template <int spatial>
py::object adaptive_avg_pool_gradient(py::handle framework, py::handle grad, py::handle input_shape,
                                      py::handle output_size) {
  Call call(spatial == 1 ? "adaptive_avg_pool1d_backward" : "adaptive_avg_pool2d_backward",
            framework);
  const Input g = Input::image(call, grad, "grad");
  const Dims shape = to_shape(input_shape, {call.op(), "input_shape"});
  const auto sizes = output_sizes<spatial>(call.op(), output_size);
  return avg_backward(call, check_adaptive_pool(call.op(), spatial, shape, sizes), g, shape);
}

template <int spatial>
void register_dimension(py::module_& m) {
  const auto def = [&](const char* stem, const char* end, auto function) {
    m.def(concat(stem, spatial, "d", end).c_str(), function);
  };
  def("max_pool", "", &max_pool<spatial>);
  def("max_pool", "_taps", &max_pool_taps<spatial>);
  def("max_pool", "_taps_backward", &max_pool_taps_gradient<spatial>);
  def("max_pool", "_backward", &max_pool_gradient<spatial>);
  def("adaptive_max_pool", "", &adaptive_max_pool<spatial>);
  def("avg_pool", "", &avg_pool<spatial>);
  def("avg_pool", "_backward", &avg_pool_gradient<spatial>);
  def("adaptive_avg_pool", "", &adaptive_avg_pool<spatial>);
  def("adaptive_avg_pool", "_backward", &adaptive_avg_pool_gradient<spatial>);
}

}  // namespace

void register_pool(py::module_& m) {
  register_dimension<1>(m);
  register_dimension<2>(m);
}

}  // namespace pyfast::cuda
