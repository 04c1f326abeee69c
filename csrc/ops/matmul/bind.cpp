#include "core/python.h"
#include "ops/matmul/matmul.h"

namespace pyfast {

namespace {

py::object forward(py::handle input, py::handle other) {
  const char* op = "matmul";
  const Input a(input, {op, "input"}), b(other, {op, "other"});
  const Output c(op, a->dtype, check_matmul(a, b));
  run(matmul_forward, reference::matmul_forward, a.view(), b.view(), c.view());
  return c.object();
}

py::object backward(py::handle grad, py::handle input, py::handle other, bool need_input,
                    bool need_other) {
  const char* op = "matmul_backward";
  const Input g(grad, {op, "grad"}), a(input, {op, "input"}), b(other, {op, "other"});
  check_matmul_backward(g, a, b);
  const Output da = Output::optional(need_input, op, a->dtype, a->shape);
  const Output db = Output::optional(need_other, op, b->dtype, b->shape);
  run(matmul_backward, reference::matmul_backward, g.view(), a.view(), b.view(), da.view(),
      db.view());
  return py::make_tuple(da.object(), db.object());
}

}  // namespace

void register_matmul(py::module_& m) {
  using py::arg;
  m.def("matmul", &forward, arg("input"), arg("other"));
  m.def("matmul_backward", &backward, arg("grad"), arg("input"), arg("other"), arg("need_input"),
        arg("need_other"));
}

}  // namespace pyfast
