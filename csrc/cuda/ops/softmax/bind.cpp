#include "cuda/core/call.h"
#include "cuda/ops/softmax/softmax.h"

namespace pyfast::cuda {

namespace {

template <bool log>
py::object forward(py::handle framework, py::handle input, py::handle dim) {
  Call call(SoftmaxParams{log, 0}.op(), framework);
  const Input x(call, input, "input");
  const SoftmaxParams params = check_softmax(log, x, to_int(dim, {call.op(), "dim"}));
  const Output y(call, x->dtype, x->shape);
  run(call, softmax_forward, params, x.view(), y.view());
  return y.object();
}

template <bool log>
py::object backward(py::handle framework, py::handle grad, py::handle output, py::handle dim) {
  Call call(log ? "log_softmax_backward" : "softmax_backward", framework);
  const Input g(call, grad, "grad"), y(call, output, "output");
  const SoftmaxParams params = check_softmax_backward(log, g, y, to_int(dim, {call.op(), "dim"}));
  const Output dx(call, y->dtype, y->shape);
  run(call, softmax_backward, params, g.view(), y.view(), dx.view());
  return dx.object();
}

}  // namespace

void register_softmax(py::module_& m) {
  m.def("softmax", &forward<false>);
  m.def("softmax_backward", &backward<false>);
  m.def("log_softmax", &forward<true>);
  m.def("log_softmax_backward", &backward<true>);
}

}  // namespace pyfast::cuda
