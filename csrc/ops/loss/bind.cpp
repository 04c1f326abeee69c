#include "core/python.h"
#include "ops/loss/cross_entropy.h"
#include "ops/loss/pointwise.h"

namespace pyfast {

namespace {

struct PointwiseArrays {
  Input input, target, weight, pos_weight;
  PointwiseArrays(const char* op, py::handle x, py::handle t, py::handle w, py::handle pos)
      : input(x, {op, "input"}),
        target(t, {op, "target"}),
        weight(Input::optional(w, {op, "weight"})),
        pos_weight(Input::optional(pos, {op, "pos_weight"})) {}
  PointwiseParams check(std::string_view loss, double scale, std::string_view reduction) const {
    const PointwiseParams params =
        check_pointwise(loss, scale, reduction, input, target, weight, pos_weight);
    run(check_probabilities, check_probabilities, params, input.view());
    return params;
  }
};

py::object pointwise(const std::string& name, std::string_view loss, double scale,
                     std::string_view reduction, py::handle input, py::handle target,
                     py::handle weight, py::handle pos_weight) {
  const char* op = name.c_str();
  const PointwiseArrays a(op, input, target, weight, pos_weight);
  const PointwiseParams params = a.check(loss, scale, reduction);
  const Output y(op, a.input->dtype, params.reduction == Reduction::none ? a.input->shape : Dims());
  run(pointwise_forward, reference::pointwise_forward, params, a.input.view(), a.target.view(),
      a.weight.view(), a.pos_weight.view(), y.view());
  return y.object();
}

py::tuple pointwise_grad(const std::string& name, std::string_view loss, double scale,
                         std::string_view reduction, py::handle grad, py::handle input,
                         py::handle target, py::handle weight, py::handle pos_weight,
                         bool need_target) {
  const char* op = name.c_str();
  const PointwiseArrays a(op, input, target, weight, pos_weight);
  const PointwiseParams params = a.check(loss, scale, reduction);
  const Input g(grad, {op, "grad"});
  check_pointwise_backward(params, g, a.input);
  const Output dx(op, a.input->dtype, a.input->shape);
  const Output dt = Output::optional(need_target, op, a.input->dtype, a.input->shape);
  run(pointwise_backward, reference::pointwise_backward, params, g.view(), a.input.view(),
      a.target.view(), a.weight.view(), a.pos_weight.view(), dx.view(), dt.view());
  return py::make_tuple(dx.object(), dt.object());
}

// Class indices or probabilities: whatever the dtype says.
Input to_target(const char* op, py::handle target) {
  try {
    return Input(target, {op, "target"}, Kind::index);
  } catch (const TypeError&) {
    return Input(target, {op, "target"});
  }
}

struct ClassArrays {
  Input input, target, weight;
  ClassArrays(const char* op, py::handle x, py::handle t, py::handle w)
      : input(x, {op, "input"}),
        target(to_target(op, t)),
        weight(Input::optional(w, {op, "weight"})) {}
};

py::tuple cross_entropy(bool nll, py::handle input, py::handle target, py::handle weight,
                        py::handle ignore_index, std::string_view reduction,
                        double label_smoothing) {
  const char* op = nll ? "nll_loss" : "cross_entropy";
  const ClassArrays a(op, input, target, weight);
  const CrossEntropyParams params =
      check_cross_entropy(nll, a.input, a.target, a.weight, reduction,
                          to_int(ignore_index, {op, "ignore_index"}), label_smoothing);
  check_labels(params, a.target);
  const Output y(op, a.input->dtype, params.reduction == Reduction::none ? params.rows : Dims());
  const Output lse = Output::optional(!nll, op, a.input->dtype, params.rows);
  run(cross_entropy_forward, reference::cross_entropy_forward, params, a.input.view(),
      a.target.view(), a.weight.view(), y.view(), lse.view());
  return py::make_tuple(y.object(), lse.object());
}

py::tuple cross_entropy_grad(bool nll, py::handle grad, py::handle input, py::handle target,
                             py::handle weight, py::handle log_sum_exp, py::handle ignore_index,
                             std::string_view reduction, double label_smoothing, bool need_target) {
  const char* op = nll ? "nll_loss" : "cross_entropy";
  const ClassArrays a(op, input, target, weight);
  const Input g(grad, {op, "grad"});
  const Input lse = Input::optional(log_sum_exp, {op, "log_sum_exp"});
  const CrossEntropyParams params =
      check_cross_entropy(nll, a.input, a.target, a.weight, reduction,
                          to_int(ignore_index, {op, "ignore_index"}), label_smoothing);
  check_labels(params, a.target);
  check_cross_entropy_backward(params, g, lse, a.input);
  const Output dx(op, a.input->dtype, a.input->shape);
  const Output dt =
      Output::optional(need_target && params.soft, op, a.input->dtype, a.input->shape);
  run(cross_entropy_backward, reference::cross_entropy_backward, params, g.view(), a.input.view(),
      a.target.view(), a.weight.view(), lse.view(), dx.view(), dt.view());
  return py::make_tuple(dx.object(), dt.object());
}

}  // namespace

void register_loss(py::module_& m) {
  using py::arg;
  m.def("pointwise_loss", &pointwise, arg("op"), arg("loss"), arg("scale"), arg("reduction"),
        arg("input"), arg("target"), arg("weight"), arg("pos_weight"));
  m.def("pointwise_loss_backward", &pointwise_grad, arg("op"), arg("loss"), arg("scale"),
        arg("reduction"), arg("grad"), arg("input"), arg("target"), arg("weight"),
        arg("pos_weight"), arg("need_target"));
  m.def("cross_entropy", &cross_entropy, arg("nll"), arg("input"), arg("target"), arg("weight"),
        arg("ignore_index"), arg("reduction"), arg("label_smoothing"));
  m.def("cross_entropy_backward", &cross_entropy_grad, arg("nll"), arg("grad"), arg("input"),
        arg("target"), arg("weight"), arg("log_sum_exp"), arg("ignore_index"), arg("reduction"),
        arg("label_smoothing"), arg("need_target"));
}

}  // namespace pyfast
