#include "core/python.h"
#include "ops/pad/pad.h"

namespace pyfast {

namespace {

py::object forward(py::handle input, py::handle pad, py::handle mode, py::handle value) {
  const char* op = "pad";
  const Input x(input, {op, "input"});
  const double number = value.is_none() ? 0.0 : to_double(value, {op, "value"});
  const PadParams params =
      check_pad(op, x->shape, to_shape(pad, {op, "pad"}), to_text(mode, {op, "mode"}), number);
  const Output y(op, x->dtype, params.output_shape);
  run(pad_forward, reference::pad_forward, params, x.view(), y.view());
  return y.object();
}

py::object backward(py::handle grad, py::handle input_shape, py::handle pad, py::handle mode) {
  const char* op = "pad_backward";
  const Input g(grad, {op, "grad"});
  const Dims shape = to_shape(input_shape, {op, "input_shape"});
  const PadParams params =
      check_pad(op, shape, to_shape(pad, {op, "pad"}), to_text(mode, {op, "mode"}), 0.0);
  check_pad_backward(op, params, g);
  const Output dx(op, g->dtype, shape);
  run(pad_backward, reference::pad_backward, params, g.view(), dx.view());
  return dx.object();
}

}  // namespace

void register_pad(py::module_& m) {
  m.def("pad", &forward, py::arg("input"), py::arg("pad"), py::arg("mode"), py::arg("value"));
  m.def("pad_backward", &backward, py::arg("grad"), py::arg("input_shape"), py::arg("pad"),
        py::arg("mode"));
}

}  // namespace pyfast
