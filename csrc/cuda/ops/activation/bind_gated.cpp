#include "cuda/core/call.h"
#include "cuda/ops/activation/gated.h"

namespace pyfast::cuda {

namespace {

py::object glu(py::handle framework, py::handle input, py::handle dim) {
  Call call("glu", framework);
  const Input x(call, input, "input");
  const GluParams params = check_glu(x, to_int(dim, {call.op(), "dim"}));
  const Output y(call, x->dtype, params.output_shape);
  run(call, glu_forward, params, x.view(), y.view());
  return y.object();
}

py::object glu_gradient(py::handle framework, py::handle grad, py::handle input, py::handle dim) {
  Call call("glu", framework);
  const Input g(call, grad, "grad"), x(call, input, "input");
  const GluParams params = check_glu(x, to_int(dim, {call.op(), "dim"}));
  check_glu_backward(params, g, x);
  const Output dx(call, x->dtype, x->shape);
  run(call, glu_backward, params, g.view(), x.view(), dx.view());
  return dx.object();
}

py::object prelu(py::handle framework, py::handle input, py::handle weight) {
  Call call("prelu", framework);
  const Input x(call, input, "input"), w(call, weight, "weight");
  const PReluParams params = check_prelu(x, w);
  const Output y(call, x->dtype, x->shape);
  run(call, prelu_forward, params, x.view(), w.view(), y.view());
  return y.object();
}

py::tuple prelu_gradient(py::handle framework, py::handle grad, py::handle input,
                         py::handle weight) {
  Call call("prelu", framework);
  const Input g(call, grad, "grad"), x(call, input, "input"), w(call, weight, "weight");
  const PReluParams params = check_prelu(x, w);
  check_prelu_backward(g, x);
  const Output dx(call, x->dtype, x->shape), dw(call, w->dtype, w->shape);
  const Output workspace(call, DType::f32, {prelu_workspace(params)});
  run(call, prelu_backward, params, g.view(), x.view(), w.view(), dx.view(), dw.view(),
      workspace.view());
  return py::make_tuple(dx.object(), dw.object());
}

py::object softmin(py::handle framework, py::handle input, py::handle dim) {
  Call call("softmin", framework);
  const Input x(call, input, "input");
  const SoftmaxParams params = check_softmin(x, to_int(dim, {call.op(), "dim"}));
  const Output y(call, x->dtype, x->shape);
  run(call, softmin_forward, params, x.view(), y.view());
  return y.object();
}

py::object softmin_gradient(py::handle framework, py::handle grad, py::handle output,
                            py::handle dim) {
  Call call("softmin", framework);
  const Input g(call, grad, "grad"), y(call, output, "output");
  const SoftmaxParams params = check_softmin(y, to_int(dim, {call.op(), "dim"}));
  check_softmin_backward(g, y);
  const Output dx(call, y->dtype, y->shape);
  run(call, softmin_backward, params, g.view(), y.view(), dx.view());
  return dx.object();
}

}  // namespace

void register_gated(py::module_& m) {
  m.def("glu", &glu);
  m.def("glu_backward", &glu_gradient);
  m.def("prelu", &prelu);
  m.def("prelu_backward", &prelu_gradient);
  m.def("softmin", &softmin);
  m.def("softmin_backward", &softmin_gradient);
}

}  // namespace pyfast::cuda
