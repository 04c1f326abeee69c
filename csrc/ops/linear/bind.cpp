#include "core/python.h"
#include "ops/linear/linear.h"

namespace pyfast {

namespace {

// The output; with `keep`, also what backward wants as `saved`.
py::object forward(py::handle input, py::handle weight, py::handle bias, py::handle activation,
                   bool keep) {
  const char* op = "linear";
  const Input x(input, {op, "input"}), w(weight, {op, "weight"});
  const Input b = Input::optional(bias, {op, "bias"});
  const Activation a = to_activation(activation, {op, "activation"});
  const Dims shape = check_linear(x, w, b);
  const Output y(op, x->dtype, shape);
  const Output saved = Output::optional(keep && saves_input(a), op, x->dtype, shape);
  run(linear_forward, reference::linear_forward, a, x.view(), w.view(), b.view(), y.view(),
      saved.view());
  if (!keep) return y.object();
  return py::make_tuple(y.object(), saves_input(a) ? saved.object() : y.object());
}

py::object forward_packed(py::handle input, const PackedWeight& weight, py::handle bias,
                          py::handle activation) {
  const char* op = "linear_packed";
  const Input x(input, {op, "input"});
  const Input b = Input::optional(bias, {op, "bias"});
  const Activation a = to_activation(activation, {op, "activation"});
  const Output y(op, x->dtype, check_linear_packed(x, weight, b));
  const Unlocked unlocked;
  linear_packed_forward(a, x, weight, b, y.view());
  return y.object();
}

std::unique_ptr<PackedWeight> pack_weight(py::handle weight) {
  const Input w(weight, {"PackedWeight", "weight"});
  check_packed_weight(w);
  const Unlocked unlocked;
  return std::make_unique<PackedWeight>(w);
}

py::object backward(py::handle grad, py::handle input, py::handle weight, py::handle saved,
                    py::handle activation, bool need_input, bool need_weight, bool need_bias) {
  const char* op = "linear_backward";
  const Input g(grad, {op, "grad"}), x(input, {op, "input"}), w(weight, {op, "weight"});
  const Input s = Input::optional(saved, {op, "saved"});
  const Activation a = to_activation(activation, {op, "activation"});
  check_linear_backward(a, g, x, w, s);
  const Output dx = Output::optional(need_input, op, x->dtype, x->shape);
  const Output dw = Output::optional(need_weight, op, w->dtype, w->shape);
  const Dims bias_shape = w->rank() == 2 ? Dims{w->shape[0]} : Dims{};
  const Output db = Output::optional(need_bias, op, x->dtype, bias_shape);
  run(linear_backward, reference::linear_backward, a, g.view(), x.view(), w.view(), s.view(),
      dx.view(), dw.view(), db.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

}  // namespace

void register_linear(py::module_& m) {
  using py::arg;
  m.def("linear", &forward, arg("input"), arg("weight"), arg("bias"), arg("activation"),
        arg("keep"));
  py::class_<PackedWeight>(m, "PackedWeight")
      .def(py::init(&pack_weight), arg("weight"))
      .def_property_readonly("shape",
                             [](const PackedWeight& w) { return py::make_tuple(w.out, w.in); });
  m.def("linear_packed", &forward_packed, arg("input"), arg("weight"), arg("bias"),
        arg("activation"));
  m.def("linear_backward", &backward, arg("grad"), arg("input"), arg("weight"), arg("saved"),
        arg("activation"), arg("need_input"), arg("need_weight"), arg("need_bias"));
}

}  // namespace pyfast
