#include "cuda/core/call.h"
#include "cuda/ops/pad/pad.h"

namespace pyfast::cuda {

namespace {

py::object forward(py::handle framework, py::handle input, py::handle pad, py::handle mode,
                   py::handle value) {
  Call call("pad", framework);
  const Input x(call, input, "input");
  const double number = value.is_none() ? 0.0 : to_double(value, {call.op(), "value"});
  const PadParams params = check_pad(call.op(), x->shape, to_shape(pad, {call.op(), "pad"}),
                                     to_text(mode, {call.op(), "mode"}), number);
  const Output y(call, x->dtype, params.output_shape);
  run(call, pad_forward, params, x.view(), y.view());
  return y.object();
}

py::object backward(py::handle framework, py::handle grad, py::handle input_shape, py::handle pad,
                    py::handle mode) {
  Call call("pad_backward", framework);
  const Input g(call, grad, "grad");
  const Dims shape = to_shape(input_shape, {call.op(), "input_shape"});
  const PadParams params = check_pad(call.op(), shape, to_shape(pad, {call.op(), "pad"}),
                                     to_text(mode, {call.op(), "mode"}), 0.0);
  check_pad_backward(call.op(), params, g);
  const Output dx(call, g->dtype, shape);
  run(call, pad_backward, params, g.view(), dx.view());
  return dx.object();
}

}  // namespace

void register_pad(py::module_& m) {
  m.def("pad", &forward);
  m.def("pad_backward", &backward);
}

}  // namespace pyfast::cuda
