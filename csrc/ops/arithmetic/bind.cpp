#include "core/python.h"
#include "ops/arithmetic/arithmetic.h"

namespace pyfast {

namespace {

py::object binary_(py::handle operation, py::handle a, py::handle b) {
  const std::string op = to_text(operation, {"binary", "operation"});
  const Input x(a, {"binary", "a"}), y(b, {"binary", "b"});
  const BinaryParams params = check_binary(op, x, y);
  const Output out(op.c_str(), x->dtype, params.shape);
  run(binary, reference::binary, params, x.view(), y.view(), out.view());
  return out.object();
}

py::object elementary_(py::handle function, py::handle input) {
  const std::string op = to_text(function, {"elementary", "function"});
  const Elementary chosen = elementary_from(op);
  const Input x(input, {"elementary", "input"});
  const Output out(op.c_str(), x->dtype, x->shape);
  run(elementary, reference::elementary, chosen, x.view(), out.view());
  return out.object();
}

}  // namespace

void register_arithmetic(py::module_& m) {
  using py::arg;
  m.def("binary", &binary_, arg("operation"), arg("a"), arg("b"));
  m.def("elementary", &elementary_, arg("function"), arg("input"));
}

}  // namespace pyfast
