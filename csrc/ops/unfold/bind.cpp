#include "core/python.h"
#include "ops/unfold/unfold.h"

namespace pyfast {

namespace {

UnfoldOptions options(const char* op, py::handle kernel_size, py::handle dilation,
                      py::handle padding, py::handle stride) {
  return {op, to_dims(kernel_size, {op, "kernel_size"}, 2), to_dims(dilation, {op, "dilation"}, 2),
          to_dims(padding, {op, "padding"}, 2), to_dims(stride, {op, "stride"}, 2)};
}

py::object unfold(py::handle input, py::handle kernel_size, py::handle dilation, py::handle padding,
                  py::handle stride) {
  const UnfoldOptions o = options("unfold", kernel_size, dilation, padding, stride);
  const Input x(input, {o.op, "input"});
  const UnfoldParams params = check_unfold(o, x);
  const Output y(o.op, x->dtype, params.output_shape);
  run(unfold_forward, reference::unfold_forward, params, x.view(), y.view());
  return y.object();
}

py::object fold(py::handle input, py::handle output_size, py::handle kernel_size,
                py::handle dilation, py::handle padding, py::handle stride) {
  const UnfoldOptions o = options("fold", kernel_size, dilation, padding, stride);
  const Input x(input, {o.op, "input"});
  const UnfoldParams params = check_fold(o, x, to_dims(output_size, {o.op, "output_size"}, 2));
  const Output y(o.op, x->dtype, params.output_shape);
  run(fold_forward, reference::fold_forward, params, x.view(), y.view());
  return y.object();
}

}  // namespace

void register_unfold(py::module_& m) {
  m.def("unfold", &unfold, py::arg("input"), py::arg("kernel_size"), py::arg("dilation"),
        py::arg("padding"), py::arg("stride"));
  m.def("fold", &fold, py::arg("input"), py::arg("output_size"), py::arg("kernel_size"),
        py::arg("dilation"), py::arg("padding"), py::arg("stride"));
}

}  // namespace pyfast
