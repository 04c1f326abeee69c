#include "core/python.h"
#include "ops/activation/glu.h"
#include "ops/activation/prelu.h"
#include "ops/activation/softmin.h"
#include "ops/activation/unary.h"

namespace pyfast {

namespace {

// One op of the table; Values are as many py::handle as it has arguments.
template <class... Values>
UnaryParams params_of(const UnaryOp& op, Values... values) {
  std::array<double, 2> numbers{};
  std::size_t i = 0;
  ((numbers[i] = to_double(values, {op.name, op.arguments[i]}), ++i), ...);
  return op.params(numbers[0], numbers[1]);
}

template <class... Values>
py::object forward(const UnaryOp& op, py::handle input, Values... values) {
  const Input x(input, {op.name, "input"});
  const UnaryParams params = params_of(op, values...);
  check_unary(op.name, x);
  const Output y(op.name, x->dtype, x->shape);
  run(unary_forward, reference::unary_forward, params, x.view(), y.view());
  return y.object();
}

template <class... Values>
py::object backward(const UnaryOp& op, py::handle grad, py::handle saved, Values... values) {
  const Input g(grad, {op.name, "grad"}), s(saved, {op.name, "saved"});
  const UnaryParams params = params_of(op, values...);
  check_unary_backward(op.name, g, s);
  const Output dx(op.name, s->dtype, s->shape);
  run(unary_backward, reference::unary_backward, params, g.view(), s.view(), dx.view());
  return dx.object();
}

// Defines relu(input) and relu_backward(grad, saved); names are those of the arguments.
template <class... Names>
void define(py::module_& m, const UnaryOp& op, Names... names) {
  const std::string name_backward = concat(op.name, "_backward");
  m.def(
      op.name,
      [&op](py::handle input, std::conditional_t<true, py::handle, Names>... values) {
        return forward(op, input, values...);
      },
      py::arg("input"), py::arg(names)...);
  m.def(
      name_backward.c_str(),
      [&op](py::handle grad, py::handle saved,
            std::conditional_t<true, py::handle, Names>... values) {
        return backward(op, grad, saved, values...);
      },
      py::arg("grad"), py::arg("saved"), py::arg(names)...);
}

void define_unary(py::module_& m) {
  for (const UnaryOp& op : unary_ops()) {
    const auto& names = op.arguments;
    if (names[1])
      define(m, op, names[0], names[1]);
    else if (names[0])
      define(m, op, names[0]);
    else
      define(m, op);
  }
}

py::object glu(py::handle input, py::handle dim) {
  const Input x(input, {"glu", "input"});
  const GluParams params = check_glu(x, to_int(dim, {"glu", "dim"}));
  const Output y("glu", x->dtype, params.output_shape);
  run(glu_forward, reference::glu_forward, params, x.view(), y.view());
  return y.object();
}

py::object glu_grad(py::handle grad, py::handle input, py::handle dim) {
  const Input g(grad, {"glu", "grad"}), x(input, {"glu", "input"});
  const GluParams params = check_glu(x, to_int(dim, {"glu", "dim"}));
  check_glu_backward(params, g, x);
  const Output dx("glu", x->dtype, x->shape);
  run(glu_backward, reference::glu_backward, params, g.view(), x.view(), dx.view());
  return dx.object();
}

py::object prelu(py::handle input, py::handle weight) {
  const Input x(input, {"prelu", "input"}), w(weight, {"prelu", "weight"});
  const PReluParams params = check_prelu(x, w);
  const Output y("prelu", x->dtype, x->shape);
  run(prelu_forward, reference::prelu_forward, params, x.view(), w.view(), y.view());
  return y.object();
}

py::tuple prelu_grad(py::handle grad, py::handle input, py::handle weight) {
  const Input g(grad, {"prelu", "grad"}), x(input, {"prelu", "input"}),
      w(weight, {"prelu", "weight"});
  const PReluParams params = check_prelu(x, w);
  check_prelu_backward(g, x);
  const Output dx("prelu", x->dtype, x->shape), dw("prelu", w->dtype, w->shape);
  run(prelu_backward, reference::prelu_backward, params, g.view(), x.view(), w.view(), dx.view(),
      dw.view());
  return py::make_tuple(dx.object(), dw.object());
}

py::object softmin(py::handle input, py::handle dim) {
  const Input x(input, {"softmin", "input"});
  const SoftmaxParams params = check_softmin(x, to_int(dim, {"softmin", "dim"}));
  const Output y("softmin", x->dtype, x->shape);
  run(softmin_forward, reference::softmin_forward, params, x.view(), y.view());
  return y.object();
}

py::object softmin_grad(py::handle grad, py::handle output, py::handle dim) {
  const Input g(grad, {"softmin", "grad"}), y(output, {"softmin", "output"});
  const SoftmaxParams params = check_softmin(y, to_int(dim, {"softmin", "dim"}));
  check_softmin_backward(g, y);
  const Output dx("softmin", y->dtype, y->shape);
  run(softmin_backward, reference::softmin_backward, params, g.view(), y.view(), dx.view());
  return dx.object();
}

}  // namespace

void register_activation(py::module_& m) {
  define_unary(m);
  m.def("glu", &glu, py::arg("input"), py::arg("dim"));
  m.def("glu_backward", &glu_grad, py::arg("grad"), py::arg("input"), py::arg("dim"));
  m.def("prelu", &prelu, py::arg("input"), py::arg("weight"));
  m.def("prelu_backward", &prelu_grad, py::arg("grad"), py::arg("input"), py::arg("weight"));
  m.def("softmin", &softmin, py::arg("input"), py::arg("dim"));
  m.def("softmin_backward", &softmin_grad, py::arg("grad"), py::arg("output"), py::arg("dim"));
}

}  // namespace pyfast
