#include <limits>

#include "core/python.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/batch_norm_add.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/layer_norm.h"

namespace pyfast {

namespace {

bool to_bool(py::handle object) {
  const int truth = PyObject_IsTrue(object.ptr());
  if (truth < 0) throw py::error_already_set();
  return truth != 0;
}

// The arrays that batch, instance and group norm take; running statistics that will be written must
// be writable.
struct Operands {
  Input running_mean, running_var, weight, bias;
  Operands(const char* op, py::handle mean, py::handle var, py::handle w, py::handle b, bool update)
      : running_mean(Input::optional(mean, {op, "running_mean"})),
        running_var(Input::optional(var, {op, "running_var"})),
        weight(Input::optional(w, {op, "weight"})),
        bias(Input::optional(b, {op, "bias"})) {
    if (!update) return;
    running_mean.require_writable({op, "running_mean"});
    running_var.require_writable({op, "running_var"});
  }
};

// output, or (output, statistics) for a backward pass to come
py::object result(const Output& y, const Output& statistics, bool save) {
  return save ? py::object(py::make_tuple(y.object(), statistics.object())) : y.object();
}

py::object run_batch_norm(const BatchNormParams& params, const Input& x, const Operands& operands,
                          bool save) {
  const BatchNormOperands views{operands.running_mean.view(), operands.running_var.view(),
                                operands.weight.view(), operands.bias.view()};
  check_batch_norm(params, x, views);
  const Output y(params.op, x->dtype, x->shape);
  const Output statistics(params.op, DType::f64, {2, x->shape[1]});
  run(batch_norm_forward, reference::batch_norm_forward, params, x.view(), views, statistics.view(),
      y.view());
  return result(y, statistics, save);
}

py::object run_group_norm(const GroupNormParams& params, const Input& x, const Operands& operands,
                          bool save) {
  const GroupNormOperands views{operands.running_mean.view(), operands.running_var.view(),
                                operands.weight.view(), operands.bias.view()};
  check_group_norm(params, x, views);
  const Output y(params.op(), x->dtype, x->shape);
  const Output statistics(params.op(), DType::f64, {2, x->shape[0], params.groups});
  run(group_norm_forward, reference::group_norm_forward, params, x.view(), views, statistics.view(),
      y.view());
  return result(y, statistics, save);
}

py::object batch_norm(py::handle input, py::handle running_mean, py::handle running_var,
                      py::handle weight, py::handle bias, py::handle training, py::handle momentum,
                      py::handle eps, py::handle activation, bool save) {
  const char* op = "batch_norm";
  const BatchNormParams params{op, to_bool(training), to_double(momentum, {op, "momentum"}),
                               to_double(eps, {op, "eps"}),
                               to_activation(activation, {op, "activation"})};
  const Input x(input, {op, "input"});
  const Operands operands(op, running_mean, running_var, weight, bias, params.training);
  return run_batch_norm(params, x, operands, save);
}

py::object batch_norm_gradient(py::handle grad, py::handle input, py::handle statistics,
                               py::handle weight, py::handle bias, py::handle training,
                               py::handle eps, py::handle activation, bool weight_gradient,
                               bool bias_gradient) {
  const char* op = "batch_norm_backward";
  const BatchNormParams params{op, to_bool(training), 0, to_double(eps, {op, "eps"}),
                               to_activation(activation, {op, "activation"})};
  const Input g(grad, {op, "grad"}), x(input, {op, "input"}), s(statistics, {op, "statistics"});
  const Input w = Input::optional(weight, {op, "weight"});
  const Input b = Input::optional(bias, {op, "bias"});
  check_batch_norm_backward(params, g, x, s, w, b);
  const Output dx(op, x->dtype, x->shape);
  const Output dw = Output::optional(weight_gradient, op, x->dtype, {x->shape[1]});
  const Output db = Output::optional(bias_gradient, op, x->dtype, {x->shape[1]});
  run(batch_norm_backward, reference::batch_norm_backward, params, g.view(), x.view(), s.view(),
      w.view(), b.view(), dx.view(), dw.view(), db.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

// output, or (output, statistics, what backward wants of the output)
py::object batch_norm_add(py::handle input, py::handle residual, py::handle running_mean,
                          py::handle running_var, py::handle weight, py::handle bias,
                          py::handle training, py::handle momentum, py::handle eps,
                          py::handle activation, bool save) {
  const char* op = "batch_norm";
  const BatchNormParams params{op, to_bool(training), to_double(momentum, {op, "momentum"}),
                               to_double(eps, {op, "eps"}),
                               to_activation(activation, {op, "activation"})};
  const Input x(input, {op, "input"}), r(residual, {op, "residual"});
  const Operands a(op, running_mean, running_var, weight, bias, params.training);
  const BatchNormOperands operands{a.running_mean.view(), a.running_var.view(), a.weight.view(),
                                   a.bias.view()};
  check_batch_norm(params, x, operands);
  check_batch_norm_add(params, x, r);
  const Output y(op, x->dtype, x->shape);
  const Output statistics(op, DType::f64, {2, x->shape[1]});
  run(batch_norm_add_forward, reference::batch_norm_add_forward, params, x.view(), r.view(),
      operands, statistics.view(), y.view());
  if (!save) return y.object();
  return py::make_tuple(y.object(), statistics.object(), y.object());
}

// (grad_input, grad_residual, grad_weight, grad_bias); `saved` is what forward gave.
py::object batch_norm_add_gradient(py::handle grad, py::handle input, py::handle statistics,
                                   py::handle saved, py::handle weight, py::handle training,
                                   py::handle eps, py::handle activation, bool weight_gradient,
                                   bool bias_gradient) {
  const char* op = "batch_norm_backward";
  const BatchNormParams params{op, to_bool(training), 0, to_double(eps, {op, "eps"}),
                               to_activation(activation, {op, "activation"})};
  const Input g(grad, {op, "grad"}), x(input, {op, "input"}), s(statistics, {op, "statistics"});
  const Input y(saved, {op, "saved"});
  const Input w = Input::optional(weight, {op, "weight"});
  check_batch_norm_backward(params, g, x, s, w, TensorView());
  check_batch_norm_add(params, x, y);
  const Output dx(op, x->dtype, x->shape), dr(op, x->dtype, x->shape);
  const Output dw = Output::optional(weight_gradient, op, x->dtype, {x->shape[1]});
  const Output db = Output::optional(bias_gradient, op, x->dtype, {x->shape[1]});
  run(batch_norm_add_backward, reference::batch_norm_add_backward, params, g.view(), x.view(),
      s.view(), y.view(), w.view(), dx.view(), dr.view(), dw.view(), db.view());
  return py::make_tuple(dx.object(), dr.object(), dw.object(), db.object());
}

// With the samples' own statistics, or with the running ones: batch_norm's inference.
py::object instance_norm(py::handle input, py::handle running_mean, py::handle running_var,
                         py::handle weight, py::handle bias, py::handle use_input_stats,
                         py::handle momentum, py::handle eps, bool save) {
  const char* op = "instance_norm";
  const bool own = to_bool(use_input_stats);
  const double rate = to_double(momentum, {op, "momentum"}), epsilon = to_double(eps, {op, "eps"});
  const Input x(input, {op, "input"});
  const Operands operands(op, running_mean, running_var, weight, bias, own);
  if (!own) return run_batch_norm({op, false, rate, epsilon, Activation::none}, x, operands, save);
  return run_group_norm(instance_norm_params(x, rate, epsilon), x, operands, save);
}

py::object group_norm(py::handle input, py::handle num_groups, py::handle weight, py::handle bias,
                      py::handle eps, bool save) {
  const char* op = "group_norm";
  const GroupNormParams params{false, to_int(num_groups, {op, "num_groups"}),
                               to_double(eps, {op, "eps"}), 0};
  const Input x(input, {op, "input"});
  const Operands operands(op, py::none(), py::none(), weight, bias, false);
  return run_group_norm(params, x, operands, save);
}

py::object group_norm_gradient(py::handle grad, py::handle input, py::handle statistics,
                               py::handle weight, py::handle num_groups, py::handle eps,
                               bool weight_gradient, bool bias_gradient) {
  const char* op = "group_norm_backward";
  const GroupNormParams params{false, to_int(num_groups, {op, "num_groups"}),
                               to_double(eps, {op, "eps"}), 0};
  const Input g(grad, {op, "grad"}), x(input, {op, "input"}), s(statistics, {op, "statistics"});
  const Input w = Input::optional(weight, {op, "weight"});
  check_group_norm_backward(params, g, x, s, w);
  const Output dx(op, x->dtype, x->shape);
  const Output dw = Output::optional(weight_gradient, op, x->dtype, {x->shape[1]});
  const Output db = Output::optional(bias_gradient, op, x->dtype, {x->shape[1]});
  run(group_norm_backward, reference::group_norm_backward, params, g.view(), x.view(), s.view(),
      w.view(), dx.view(), dw.view(), db.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

// eps = None is the spacing of the input's dtype at one, as in PyTorch.
LayerNormParams layer_norm_params(const char* op, bool rms, py::handle shape, py::handle eps,
                                  DType dtype) {
  const Where where{op, "normalized_shape"};
  const Dims sizes = PyIndex_Check(shape.ptr()) ? to_dims(shape, where, 1) : to_shape(shape, where);
  if (rms && eps.is_none())
    return {rms, sizes,
            dtype == DType::f32 ? double{std::numeric_limits<float>::epsilon()}
                                : std::numeric_limits<double>::epsilon()};
  return {rms, sizes, to_double(eps, {op, "eps"})};
}

template <bool rms>
py::object layer_norm(py::handle input, py::handle weight, py::handle bias,
                      py::handle normalized_shape, py::handle eps, bool save) {
  const char* op = rms ? "rms_norm" : "layer_norm";
  const Input x(input, {op, "input"});
  const LayerNormParams params = layer_norm_params(op, rms, normalized_shape, eps, x->dtype);
  const Input w = Input::optional(weight, {op, "weight"});
  const Input b = Input::optional(bias, {op, "bias"});
  check_layer_norm(params, x, w, b);
  const Output y(op, x->dtype, x->shape);
  const Output statistics =
      Output::optional(save, op, DType::f64, layer_norm_statistics_shape(params, x));
  run(layer_norm_forward, reference::layer_norm_forward, params, x.view(), w.view(), b.view(),
      statistics.view(), y.view());
  return result(y, statistics, save);
}

template <bool rms>
py::object layer_norm_gradient(py::handle grad, py::handle input, py::handle statistics,
                               py::handle weight, py::handle normalized_shape, py::handle eps,
                               bool weight_gradient, bool bias_gradient) {
  const char* op = rms ? "rms_norm_backward" : "layer_norm_backward";
  const Input g(grad, {op, "grad"}), x(input, {op, "input"}), s(statistics, {op, "statistics"});
  const LayerNormParams params = layer_norm_params(op, rms, normalized_shape, eps, x->dtype);
  const Input w = Input::optional(weight, {op, "weight"});
  check_layer_norm_backward(params, g, x, s, w);
  const Output dx(op, x->dtype, x->shape);
  const Output dw = Output::optional(weight_gradient, op, x->dtype, params.normalized_shape);
  const Output db = Output::optional(bias_gradient, op, x->dtype, params.normalized_shape);
  run(layer_norm_backward, reference::layer_norm_backward, params, g.view(), x.view(), s.view(),
      w.view(), dx.view(), dw.view(), db.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

template <bool rms>
void register_layer_norm(py::module_& m, const char* forward, const char* backward) {
  using py::arg;
  m.def(forward, &layer_norm<rms>, arg("input"), arg("weight"), arg("bias"),
        arg("normalized_shape"), arg("eps"), arg("save") = false);
  m.def(backward, &layer_norm_gradient<rms>, arg("grad"), arg("input"), arg("statistics"),
        arg("weight"), arg("normalized_shape"), arg("eps"), arg("weight_gradient"),
        arg("bias_gradient"));
}

}  // namespace

void register_norm(py::module_& m) {
  using py::arg;
  m.def("batch_norm", &batch_norm, arg("input"), arg("running_mean"), arg("running_var"),
        arg("weight"), arg("bias"), arg("training"), arg("momentum"), arg("eps"), arg("activation"),
        arg("save") = false);
  m.def("batch_norm_backward", &batch_norm_gradient, arg("grad"), arg("input"), arg("statistics"),
        arg("weight"), arg("bias"), arg("training"), arg("eps"), arg("activation"),
        arg("weight_gradient"), arg("bias_gradient"));
  m.def("batch_norm_add", &batch_norm_add, arg("input"), arg("residual"), arg("running_mean"),
        arg("running_var"), arg("weight"), arg("bias"), arg("training"), arg("momentum"),
        arg("eps"), arg("activation"), arg("save") = false);
  m.def("batch_norm_add_backward", &batch_norm_add_gradient, arg("grad"), arg("input"),
        arg("statistics"), arg("saved"), arg("weight"), arg("training"), arg("eps"),
        arg("activation"), arg("weight_gradient"), arg("bias_gradient"));
  m.def("instance_norm", &instance_norm, arg("input"), arg("running_mean"), arg("running_var"),
        arg("weight"), arg("bias"), arg("use_input_stats"), arg("momentum"), arg("eps"),
        arg("save") = false);
  m.def("group_norm", &group_norm, arg("input"), arg("num_groups"), arg("weight"), arg("bias"),
        arg("eps"), arg("save") = false);
  m.def("group_norm_backward", &group_norm_gradient, arg("grad"), arg("input"), arg("statistics"),
        arg("weight"), arg("num_groups"), arg("eps"), arg("weight_gradient"), arg("bias_gradient"));
  register_layer_norm<false>(m, "layer_norm", "layer_norm_backward");
  register_layer_norm<true>(m, "rms_norm", "rms_norm_backward");
}

}  // namespace pyfast
