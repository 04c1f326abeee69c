#include "core/python.h"
#include "ops/softmax/softmax.h"

namespace pyfast {

namespace {

template <bool log>
py::object forward(py::handle input, py::handle dim) {
  const char* op = SoftmaxParams{log, 0}.op();
  const Input x(input, {op, "input"});
  const SoftmaxParams params = check_softmax(log, x, to_int(dim, {op, "dim"}));
  const Output y(op, x->dtype, x->shape);
  run(softmax_forward, reference::softmax_forward, params, x.view(), y.view());
  return y.object();
}

template <bool log>
py::object backward(py::handle grad, py::handle output, py::handle dim) {
  const char* op = log ? "log_softmax_backward" : "softmax_backward";
  const Input g(grad, {op, "grad"}), y(output, {op, "output"});
  const SoftmaxParams params = check_softmax_backward(log, g, y, to_int(dim, {op, "dim"}));
  const Output dx(op, y->dtype, y->shape);
  run(softmax_backward, reference::softmax_backward, params, g.view(), y.view(), dx.view());
  return dx.object();
}

}  // namespace

void register_softmax(py::module_& m) {
  m.def("softmax", &forward<false>, py::arg("input"), py::arg("dim"));
  m.def("softmax_backward", &backward<false>, py::arg("grad"), py::arg("output"), py::arg("dim"));
  m.def("log_softmax", &forward<true>, py::arg("input"), py::arg("dim"));
  m.def("log_softmax_backward", &backward<true>, py::arg("grad"), py::arg("output"),
        py::arg("dim"));
}

}  // namespace pyfast
