#include "cuda/core/call.h"
#include "cuda/ops/unfold/unfold.h"

namespace pyfast::cuda {

namespace {

UnfoldOptions options(const char* op, py::handle kernel_size, py::handle dilation,
                      py::handle padding, py::handle stride) {
  return {op, to_dims(kernel_size, {op, "kernel_size"}, 2), to_dims(dilation, {op, "dilation"}, 2),
          to_dims(padding, {op, "padding"}, 2), to_dims(stride, {op, "stride"}, 2)};
}

py::object unfold(py::handle framework, py::handle input, py::handle kernel_size,
                  py::handle dilation, py::handle padding, py::handle stride) {
  Call call("unfold", framework);
  const UnfoldOptions o = options(call.op(), kernel_size, dilation, padding, stride);
  const Input x(call, input, "input");
  const UnfoldParams params = check_unfold(o, x);
  const Output y(call, x->dtype, params.output_shape);
  run(call, unfold_forward, params, x.view(), y.view());
  return y.object();
}

py::object fold(py::handle framework, py::handle input, py::handle output_size,
                py::handle kernel_size, py::handle dilation, py::handle padding,
                py::handle stride) {
  Call call("fold", framework);
  const UnfoldOptions o = options(call.op(), kernel_size, dilation, padding, stride);
  const Input x(call, input, "input");
  const UnfoldParams params = check_fold(o, x, to_dims(output_size, {call.op(), "output_size"}, 2));
  const Output y(call, x->dtype, params.output_shape);
  run(call, fold_forward, params, x.view(), y.view());
  return y.object();
}

}  // namespace

void register_unfold(py::module_& m) {
  m.def("unfold", &unfold);
  m.def("fold", &fold);
}

}  // namespace pyfast::cuda
