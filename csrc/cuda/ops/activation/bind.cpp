#include "cuda/core/call.h"
#include "cuda/ops/activation/activation.h"

namespace pyfast::cuda {

namespace {

UnaryParams params_of(const UnaryOp& op, const py::args& values) {
  std::array<double, 2> numbers{};
  for (std::size_t i = 0; i < 2 && op.arguments[i]; ++i) {
    if (i >= values.size()) throw TypeError(concat(op.name, ": ", op.arguments[i], " is missing"));
    numbers[i] = to_double(values[i], {op.name, op.arguments[i]});
  }
  return op.params(numbers[0], numbers[1]);
}

py::object forward(const UnaryOp& op, py::handle framework, py::handle input,
                   const py::args& values) {
  Call call(op.name, framework);
  const Input x(call, input, "input");
  const UnaryParams params = params_of(op, values);
  check_unary(op.name, x);
  const Output y(call, x->dtype, x->shape);
  run(call, unary_forward, params, x.view(), y.view());
  return y.object();
}

py::object backward(const UnaryOp& op, py::handle framework, py::handle grad, py::handle saved,
                    const py::args& values) {
  Call call(op.name, framework);
  const Input g(call, grad, "grad"), s(call, saved, "saved");
  const UnaryParams params = params_of(op, values);
  check_unary_backward(op.name, g, s);
  const Output dx(call, s->dtype, s->shape);
  run(call, unary_backward, params, g.view(), s.view(), dx.view());
  return dx.object();
}

}  // namespace

void register_activation(py::module_& m) {
  for (const UnaryOp& op : unary_ops()) {
    m.def(op.name, [&op](py::handle framework, py::handle input, const py::args& values) {
      return forward(op, framework, input, values);
    });
    m.def(concat(op.name, "_backward").c_str(),
          [&op](py::handle framework, py::handle grad, py::handle saved, const py::args& values) {
            return backward(op, framework, grad, saved, values);
          });
  }
}

}  // namespace pyfast::cuda
