#include "cuda/core/call.h"
#include "cuda/ops/loss/cross_entropy.h"
#include "cuda/ops/loss/pointwise.h"

namespace pyfast::cuda {

namespace {

struct PointwiseArrays {
  Input input, target, weight, pos_weight;
  PointwiseArrays(Call& call, py::handle x, py::handle t, py::handle w, py::handle pos)
      : input(call, x, "input"),
        target(call, t, "target"),
        weight(Input::optional(call, w, "weight")),
        pos_weight(Input::optional(call, pos, "pos_weight")) {}
};

py::object pointwise(py::handle framework, const std::string& op, std::string_view loss,
                     double scale, std::string_view reduction, py::handle input, py::handle target,
                     py::handle weight, py::handle pos_weight) {
  Call call(op.c_str(), framework);
  const PointwiseArrays a(call, input, target, weight, pos_weight);
  const PointwiseParams params =
      check_pointwise(loss, scale, reduction, a.input, a.target, a.weight, a.pos_weight);
  const bool each = params.reduction == Reduction::none;
  const Output y(call, a.input->dtype, each ? a.input->shape : Dims());
  const Output workspace = Output::optional(!each, call, DType::f32, {kLossChunks});
  run(call, pointwise_forward, params, a.input.view(), a.target.view(), a.weight.view(),
      a.pos_weight.view(), y.view(), workspace.view());
  return y.object();
}

py::tuple pointwise_gradient(py::handle framework, const std::string& op, std::string_view loss,
                             double scale, std::string_view reduction, py::handle grad,
                             py::handle input, py::handle target, py::handle weight,
                             py::handle pos_weight, bool need_target) {
  Call call(op.c_str(), framework);
  const PointwiseArrays a(call, input, target, weight, pos_weight);
  const PointwiseParams params =
      check_pointwise(loss, scale, reduction, a.input, a.target, a.weight, a.pos_weight);
  const Input g(call, grad, "grad");
  check_pointwise_backward(params, g, a.input);
  const Output dx(call, a.input->dtype, a.input->shape);
  const Output dt = Output::optional(need_target, call, a.input->dtype, a.input->shape);
  run(call, pointwise_backward, params, g.view(), a.input.view(), a.target.view(), a.weight.view(),
      a.pos_weight.view(), dx.view(), dt.view());
  return py::make_tuple(dx.object(), dt.object());
}

// Class indices or probabilities: whatever the dtype says.
Input to_target(Call& call, py::handle target) {
  try {
    return Input(call, target, "target", Kind::index);
  } catch (const TypeError&) {
    return Input(call, target, "target");
  }
}

struct Arrays {
  Input input, target, weight;
  Arrays(Call& call, py::handle x, py::handle t, py::handle w)
      : input(call, x, "input"),
        target(to_target(call, t)),
        weight(Input::optional(call, w, "weight")) {}
};

const char* name_of(bool nll) { return nll ? "nll_loss" : "cross_entropy"; }

py::tuple cross_entropy(py::handle framework, bool nll, py::handle input, py::handle target,
                        py::handle weight, py::handle ignore_index, std::string_view reduction,
                        double label_smoothing) {
  Call call(name_of(nll), framework);
  const Arrays a(call, input, target, weight);
  const CrossEntropyParams params =
      check_cross_entropy(nll, a.input, a.target, a.weight, reduction,
                          to_int(ignore_index, {call.op(), "ignore_index"}), label_smoothing);
  const Dims shape = params.reduction == Reduction::none ? params.rows : Dims();
  const Output y(call, a.input->dtype, shape);
  const Output lse = Output::optional(!nll, call, DType::f32, params.rows);
  const Output workspace(call, DType::f32, {cross_entropy_workspace(params)});
  run(call, cross_entropy_forward, params, a.input.view(), a.target.view(), a.weight.view(),
      y.view(), lse.view(), workspace.view());
  return py::make_tuple(y.object(), lse.object());
}

py::tuple cross_entropy_gradient(py::handle framework, bool nll, py::handle grad, py::handle input,
                                 py::handle target, py::handle weight, py::handle log_sum_exp,
                                 py::handle ignore_index, std::string_view reduction,
                                 double label_smoothing, bool need_target) {
  Call call(name_of(nll), framework);
  const Arrays a(call, input, target, weight);
  const Input g(call, grad, "grad");
  const Input lse = Input::optional(call, log_sum_exp, "log_sum_exp");
  const CrossEntropyParams params =
      check_cross_entropy(nll, a.input, a.target, a.weight, reduction,
                          to_int(ignore_index, {call.op(), "ignore_index"}), label_smoothing);
  check_cross_entropy_backward(params, g, lse, a.input);
  const Output dx(call, a.input->dtype, a.input->shape);
  const Output dt =
      Output::optional(need_target && params.soft, call, a.input->dtype, a.input->shape);
  const Output workspace(call, DType::f32, {cross_entropy_workspace(params)});
  run(call, cross_entropy_backward, params, g.view(), a.input.view(), a.target.view(),
      a.weight.view(), lse.view(), dx.view(), dt.view(), workspace.view());
  return py::make_tuple(dx.object(), dt.object());
}

}  // namespace

void register_loss(py::module_& m) {
  m.def("pointwise_loss", &pointwise);
  m.def("pointwise_loss_backward", &pointwise_gradient);
  m.def("cross_entropy", &cross_entropy);
  m.def("cross_entropy_backward", &cross_entropy_gradient);
}

}  // namespace pyfast::cuda
