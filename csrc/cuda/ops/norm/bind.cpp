#include <limits>

#include "cuda/core/call.h"
#include "cuda/ops/norm/norm.h"

namespace pyfast::cuda {

namespace {

py::object result(const Output& y, const Output& statistics, bool save) {
  return save ? py::object(py::make_tuple(y.object(), statistics.object())) : y.object();
}

// eps = None is the spacing of float32, in which 16-bit inputs are computed, too.
LayerNormParams layer_norm_params(const char* op, bool rms, py::handle shape, py::handle eps) {
  const Where where{op, "normalized_shape"};
  const Dims sizes = PyIndex_Check(shape.ptr()) ? to_dims(shape, where, 1) : to_shape(shape, where);
  if (rms && eps.is_none()) return {rms, sizes, double{std::numeric_limits<float>::epsilon()}};
  return {rms, sizes, to_double(eps, {op, "eps"})};
}

template <bool rms>
py::object layer_norm(py::handle framework, py::handle input, py::handle weight, py::handle bias,
                      py::handle normalized_shape, py::handle eps, bool save) {
  Call call(rms ? "rms_norm" : "layer_norm", framework);
  const Input x(call, input, "input");
  const LayerNormParams params = layer_norm_params(call.op(), rms, normalized_shape, eps);
  const Input w = Input::optional(call, weight, "weight");
  const Input b = Input::optional(call, bias, "bias");
  check_layer_norm(params, x, w, b);
  const Output y(call, x->dtype, x->shape);
  const Output statistics =
      Output::optional(save, call, DType::f64, layer_norm_statistics_shape(params, x));
  run(call, layer_norm_forward, params, x.view(), w.view(), b.view(), statistics.view(), y.view());
  return result(y, statistics, save);
}

template <bool rms>
py::object layer_norm_gradient(py::handle framework, py::handle grad, py::handle input,
                               py::handle statistics, py::handle weight,
                               py::handle normalized_shape, py::handle eps, bool weight_gradient,
                               bool bias_gradient) {
  Call call(rms ? "rms_norm_backward" : "layer_norm_backward", framework);
  const Input g(call, grad, "grad"), x(call, input, "input");
  const Input s(call, statistics, "statistics", Kind::exact);
  const LayerNormParams params = layer_norm_params(call.op(), rms, normalized_shape, eps);
  const Input w = Input::optional(call, weight, "weight");
  check_layer_norm_backward(params, g, x, s, w);
  const DType dtype = w->defined ? w->dtype : x->dtype;
  const Output dx(call, x->dtype, x->shape);
  const Output dw = Output::optional(weight_gradient, call, dtype, params.normalized_shape);
  const Output db = Output::optional(bias_gradient, call, dtype, params.normalized_shape);
  const Output workspace = Output::optional(weight_gradient || bias_gradient, call, DType::f32,
                                            {layer_norm_workspace(params, x)});
  run(call, layer_norm_backward, params, g.view(), x.view(), s.view(), w.view(), dx.view(),
      dw.view(), db.view(), workspace.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

// In the order its axes have where that is one that kernels know, else in C order.
Input image(Call& call, py::handle array, const char* argument) {
  Input as_it_is(call, array, argument, Kind::floating, false);
  if (as_it_is->contiguous() || (as_it_is->rank() > 2 && channels_last(as_it_is))) return as_it_is;
  return Input(call, array, argument);
}

BatchNormParams batch_norm_params(const char* op, py::handle training, py::handle momentum,
                                  py::handle eps, py::handle activation) {
  const int truth = PyObject_IsTrue(training.ptr());
  if (truth < 0) throw py::error_already_set();
  return {op, truth != 0, to_double(momentum, {op, "momentum"}), to_double(eps, {op, "eps"}),
          to_activation(activation, {op, "activation"})};
}

py::object batch_norm(py::handle framework, py::handle input, py::handle running_mean,
                      py::handle running_var, py::handle weight, py::handle bias,
                      py::handle training, py::handle momentum, py::handle eps,
                      py::handle activation, bool save) {
  Call call("batch_norm", framework);
  const BatchNormParams params = batch_norm_params(call.op(), training, momentum, eps, activation);
  const Input x = image(call, input, "input");
  const Input mean = Input::optional(call, running_mean, "running_mean");
  const Input var = Input::optional(call, running_var, "running_var");
  const Input w = Input::optional(call, weight, "weight");
  const Input b = Input::optional(call, bias, "bias");
  const BatchNormOperands operands{mean.view(), var.view(), w.view(), b.view()};
  check_batch_norm(params, x, operands);
  const Output y(call, x);
  const Output statistics(call, DType::f64, {2, x->shape[1]});
  const Output workspace(call, DType::f32, {batch_norm_workspace(x)});
  run(call, batch_norm_forward, params, x.view(), operands, statistics.view(), y.view(),
      workspace.view());
  return result(y, statistics, save);
}

// grad is brought into the order that the input has.
Input like(Call& call, py::handle grad, const Input& x) {
  Input g(call, grad, "grad", Kind::floating, false);
  if (!(g->shape == x->shape) || g->strides == x->strides) return g;
  return Input(call, call.framework().attr("ordered_like")(grad, x.object()), "grad",
               Kind::floating, false);
}

py::object batch_norm_gradient(py::handle framework, py::handle grad, py::handle input,
                               py::handle statistics, py::handle weight, py::handle bias,
                               py::handle training, py::handle eps, py::handle activation,
                               bool weight_gradient, bool bias_gradient) {
  Call call("batch_norm_backward", framework);
  const BatchNormParams params =
      batch_norm_params(call.op(), training, py::float_(0.0), eps, activation);
  const Input x = image(call, input, "input");
  const Input g = like(call, grad, x);
  const Input s(call, statistics, "statistics", Kind::exact);
  const Input w = Input::optional(call, weight, "weight");
  const Input b = Input::optional(call, bias, "bias");
  check_batch_norm_backward(params, g, x, s, w, b);
  const DType dtype = w->defined ? w->dtype : x->dtype;
  const Output dx(call, x);
  const Output dw = Output::optional(weight_gradient, call, dtype, {x->shape[1]});
  const Output db = Output::optional(bias_gradient, call, dtype, {x->shape[1]});
  const Output workspace(call, DType::f32, {batch_norm_workspace(x)});
  run(call, batch_norm_backward, params, g.view(), x.view(), s.view(), w.view(), b.view(),
      dx.view(), dw.view(), db.view(), workspace.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

template <bool rms>
void register_layer_norm(py::module_& m, const char* forward, const char* backward) {
  using py::arg;
  m.def(forward, &layer_norm<rms>, arg("framework"), arg("input"), arg("weight"), arg("bias"),
        arg("normalized_shape"), arg("eps"), arg("save") = false);
  m.def(backward, &layer_norm_gradient<rms>);
}

}  // namespace

void register_norm(py::module_& m) {
  using py::arg;
  register_layer_norm<false>(m, "layer_norm", "layer_norm_backward");
  register_layer_norm<true>(m, "rms_norm", "rms_norm_backward");
  m.def("batch_norm", &batch_norm, arg("framework"), arg("input"), arg("running_mean"),
        arg("running_var"), arg("weight"), arg("bias"), arg("training"), arg("momentum"),
        arg("eps"), arg("activation"), arg("save") = false);
  m.def("batch_norm_backward", &batch_norm_gradient);
}

}  // namespace pyfast::cuda
