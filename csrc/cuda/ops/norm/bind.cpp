#include <limits>

#include "cuda/core/call.h"
#include "cuda/ops/norm/norm.h"
#include "ops/norm/batch_norm_add.h"

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

// The gradients of weight and bias, of weight's dtype where there is one, else of the input's.
struct ParameterGradients {
  Output weight, bias;
  ParameterGradients(const Call& call, const Input& x, const Input& w, const Dims& shape,
                     bool want_weight, bool want_bias)
      : weight(Output::optional(want_weight, call, w->defined ? w->dtype : x->dtype, shape)),
        bias(Output::optional(want_bias, call, w->defined ? w->dtype : x->dtype, shape)) {}
};

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
  const Output dx(call, x->dtype, x->shape);
  const ParameterGradients d(call, x, w, params.normalized_shape, weight_gradient, bias_gradient);
  const Output workspace = Output::optional(weight_gradient || bias_gradient, call, DType::f32,
                                            {layer_norm_workspace(params, x)});
  run(call, layer_norm_backward, params, g.view(), x.view(), s.view(), w.view(), dx.view(),
      d.weight.view(), d.bias.view(), workspace.view());
  return py::make_tuple(dx.object(), d.weight.object(), d.bias.object());
}

bool to_bool(py::handle object) {
  const int truth = PyObject_IsTrue(object.ptr());
  if (truth < 0) throw py::error_already_set();
  return truth != 0;
}

BatchNormParams batch_norm_params(const char* op, py::handle training, py::handle momentum,
                                  py::handle eps, py::handle activation) {
  return {op, to_bool(training), to_double(momentum, {op, "momentum"}), to_double(eps, {op, "eps"}),
          to_activation(activation, {op, "activation"})};
}

// An array brought into the order that the input has.
Input like(Call& call, py::handle array, const Input& x, const char* argument) {
  return Input::like(call, array, argument, x.object(), x);
}

// The arrays that batch, instance and group norm take beside their input.
struct Operands {
  Input running_mean, running_var, weight, bias;
  Operands(Call& call, py::handle mean, py::handle var, py::handle w, py::handle b)
      : running_mean(Input::written(call, mean, "running_mean")),
        running_var(Input::written(call, var, "running_var")),
        weight(Input::optional(call, w, "weight")),
        bias(Input::optional(call, b, "bias")) {}
};

py::object run_batch_norm(Call& call, const BatchNormParams& params, py::handle input,
                          py::handle mean, py::handle var, py::handle weight, py::handle bias,
                          bool save) {
  const Input x = Input::image(call, input, "input");
  const Operands a(call, mean, var, weight, bias);
  const BatchNormOperands operands{a.running_mean.view(), a.running_var.view(), a.weight.view(),
                                   a.bias.view()};
  check_batch_norm(params, x, operands);
  const Output y(call, x);
  const Output statistics(call, DType::f64, {2, x->shape[1]});
  const Output workspace(call, DType::f32, {batch_norm_workspace(x)});
  run(call, batch_norm_forward, params, x.view(), TensorView(), operands, statistics.view(),
      y.view(), TensorView(), workspace.view());
  return result(y, statistics, save);
}

py::object run_group_norm(const Call& call, const GroupNormParams& params, const Input& x,
                          const Operands& a, bool save) {
  const GroupNormOperands operands{a.running_mean.view(), a.running_var.view(), a.weight.view(),
                                   a.bias.view()};
  check_group_norm(params, x, operands);
  const Output y(call, x->dtype, x->shape);
  const Output statistics(call, DType::f64, {2, x->shape[0], params.groups});
  const Output workspace(call, DType::f32, {group_norm_workspace(params, x)});
  run(call, group_norm_forward, params, x.view(), operands, statistics.view(), y.view(),
      workspace.view());
  return result(y, statistics, save);
}

py::object batch_norm(py::handle framework, py::handle input, py::handle running_mean,
                      py::handle running_var, py::handle weight, py::handle bias,
                      py::handle training, py::handle momentum, py::handle eps,
                      py::handle activation, bool save) {
  Call call("batch_norm", framework);
  const BatchNormParams params = batch_norm_params(call.op(), training, momentum, eps, activation);
  return run_batch_norm(call, params, input, running_mean, running_var, weight, bias, save);
}

// With the samples' own statistics, or with the running ones: batch_norm's inference.
py::object instance_norm(py::handle framework, py::handle input, py::handle running_mean,
                         py::handle running_var, py::handle weight, py::handle bias,
                         py::handle use_input_stats, py::handle momentum, py::handle eps,
                         bool save) {
  Call call("instance_norm", framework);
  const double rate = to_double(momentum, {call.op(), "momentum"});
  const double epsilon = to_double(eps, {call.op(), "eps"});
  if (!to_bool(use_input_stats))
    return run_batch_norm(call, {call.op(), false, rate, epsilon, Activation::none}, input,
                          running_mean, running_var, weight, bias, save);
  const Input x(call, input, "input");
  return run_group_norm(call, instance_norm_params(x, rate, epsilon), x,
                        Operands(call, running_mean, running_var, weight, bias), save);
}

GroupNormParams group_norm_params(const char* op, py::handle groups, py::handle eps) {
  return {false, to_int(groups, {op, "num_groups"}), to_double(eps, {op, "eps"}), 0};
}

py::object group_norm(py::handle framework, py::handle input, py::handle num_groups,
                      py::handle weight, py::handle bias, py::handle eps, bool save) {
  Call call("group_norm", framework);
  const GroupNormParams params = group_norm_params(call.op(), num_groups, eps);
  const Input x(call, input, "input");
  return run_group_norm(call, params, x, Operands(call, py::none(), py::none(), weight, bias),
                        save);
}

py::object group_norm_gradient(py::handle framework, py::handle grad, py::handle input,
                               py::handle statistics, py::handle weight, py::handle num_groups,
                               py::handle eps, bool weight_gradient, bool bias_gradient) {
  Call call("group_norm_backward", framework);
  const GroupNormParams params = group_norm_params(call.op(), num_groups, eps);
  const Input g(call, grad, "grad"), x(call, input, "input");
  const Input s(call, statistics, "statistics", Kind::exact);
  const Input w = Input::optional(call, weight, "weight");
  check_group_norm_backward(params, g, x, s, w);
  const Output dx(call, x->dtype, x->shape);
  const ParameterGradients d(call, x, w, {x->shape[1]}, weight_gradient, bias_gradient);
  const Output workspace(call, DType::f32, {group_norm_workspace(params, x)});
  run(call, group_norm_backward, params, g.view(), x.view(), s.view(), w.view(), dx.view(),
      d.weight.view(), d.bias.view(), workspace.view());
  return py::make_tuple(dx.object(), d.weight.object(), d.bias.object());
}

py::object batch_norm_gradient(py::handle framework, py::handle grad, py::handle input,
                               py::handle statistics, py::handle weight, py::handle bias,
                               py::handle training, py::handle eps, py::handle activation,
                               bool weight_gradient, bool bias_gradient) {
  Call call("batch_norm_backward", framework);
  const BatchNormParams params =
      batch_norm_params(call.op(), training, py::float_(0.0), eps, activation);
  const Input x = Input::image(call, input, "input");
  const Input g = like(call, grad, x, "grad");
  const Input s(call, statistics, "statistics", Kind::exact);
  const Input w = Input::optional(call, weight, "weight");
  const Input b = Input::optional(call, bias, "bias");
  check_batch_norm_backward(params, g, x, s, w, b);
  const Output dx(call, x);
  const ParameterGradients d(call, x, w, {x->shape[1]}, weight_gradient, bias_gradient);
  const Output workspace(call, DType::f32, {batch_norm_workspace(x)});
  run(call, batch_norm_backward, params, g.view(), x.view(), s.view(), w.view(), b.view(),
      TensorView(), dx.view(), TensorView(), d.weight.view(), d.bias.view(), workspace.view());
  return py::make_tuple(dx.object(), d.weight.object(), d.bias.object());
}

// output, or (output, statistics, gates): gates are None without an activation.
py::object batch_norm_add(py::handle framework, py::handle input, py::handle residual,
                          py::handle running_mean, py::handle running_var, py::handle weight,
                          py::handle bias, py::handle training, py::handle momentum, py::handle eps,
                          py::handle activation, bool save) {
  Call call("batch_norm", framework);
  const BatchNormParams params = batch_norm_params(call.op(), training, momentum, eps, activation);
  const Input x = Input::image(call, input, "input"), r = like(call, residual, x, "residual");
  const Operands a(call, running_mean, running_var, weight, bias);
  const BatchNormOperands operands{a.running_mean.view(), a.running_var.view(), a.weight.view(),
                                   a.bias.view()};
  check_batch_norm(params, x, operands);
  check_batch_norm_add(params, x, r);
  const bool gated = save && params.activation != Activation::none;
  const Output y(call, x);
  const Output statistics(call, DType::f64, {2, x->shape[1]});
  const Output gates = Output::optional(gated, call, DType::u8, {batch_norm_gates(x)});
  const Output workspace(call, DType::f32, {batch_norm_workspace(x)});
  run(call, batch_norm_forward, params, x.view(), r.view(), operands, statistics.view(), y.view(),
      gates.view(), workspace.view());
  if (!save) return y.object();
  return py::make_tuple(y.object(), statistics.object(), gates.object());
}

// (grad_input, grad_residual, grad_weight, grad_bias); without an activation grad is the
// residual's.
py::object batch_norm_add_gradient(py::handle framework, py::handle grad, py::handle input,
                                   py::handle statistics, py::handle saved, py::handle weight,
                                   py::handle training, py::handle eps, py::handle activation,
                                   bool weight_gradient, bool bias_gradient) {
  Call call("batch_norm_backward", framework);
  const BatchNormParams params =
      batch_norm_params(call.op(), training, py::float_(0.0), eps, activation);
  const bool gated = params.activation != Activation::none;
  const Input x = Input::image(call, input, "input");
  const Input g = like(call, grad, x, "grad");
  const Input s(call, statistics, "statistics", Kind::exact);
  const Input gates = Input::optional(call, saved, "saved", Kind::byte);
  const Input w = Input::optional(call, weight, "weight");
  check_batch_norm_backward(params, g, x, s, w, TensorView());
  check_batch_norm_add(params, x, g);
  if (gates->defined != gated)
    throw ValueError(concat(call.op(), ": saved must be None just where activation is"));
  if (gated) require_shape({call.op(), "saved"}, gates, {batch_norm_gates(x)});
  const Output dx(call, x);
  const Output dr = gated ? Output(call, x) : Output::optional(false, call, x->dtype, Dims());
  const ParameterGradients d(call, x, w, {x->shape[1]}, weight_gradient, bias_gradient);
  const Output workspace(call, DType::f32, {batch_norm_workspace(x)});
  run(call, batch_norm_backward, params, g.view(), x.view(), s.view(), w.view(), TensorView(),
      gates.view(), dx.view(), dr.view(), d.weight.view(), d.bias.view(), workspace.view());
  return py::make_tuple(dx.object(), gated ? dr.object() : g.object(), d.weight.object(),
                        d.bias.object());
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
  m.def("batch_norm_add", &batch_norm_add, arg("framework"), arg("input"), arg("residual"),
        arg("running_mean"), arg("running_var"), arg("weight"), arg("bias"), arg("training"),
        arg("momentum"), arg("eps"), arg("activation"), arg("save") = false);
  m.def("batch_norm_add_backward", &batch_norm_add_gradient);
  m.def("instance_norm", &instance_norm, arg("framework"), arg("input"), arg("running_mean"),
        arg("running_var"), arg("weight"), arg("bias"), arg("use_input_stats"), arg("momentum"),
        arg("eps"), arg("save") = false);
  m.def("group_norm", &group_norm, arg("framework"), arg("input"), arg("num_groups"), arg("weight"),
        arg("bias"), arg("eps"), arg("save") = false);
  m.def("group_norm_backward", &group_norm_gradient);
}

}  // namespace pyfast::cuda
