#include <pybind11/pybind11.h>

#include "core/python.h"
#include "ops/conv/conv.h"

namespace pyfast {

namespace {

constexpr const char* kPack = "PackedConvWeight";
constexpr const char* kNames[2][2] = {{"conv1d", "conv2d"},
                                      {"conv_transpose1d", "conv_transpose2d"}};
constexpr const char* kBackwardNames[2][2] = {
    {"conv1d_backward", "conv2d_backward"},
    {"conv_transpose1d_backward", "conv_transpose2d_backward"}};

// The settings both kinds share; padding may be a word.
ConvOptions options(const char* op, int spatial, bool transposed, py::handle stride,
                    py::handle padding, py::handle dilation, py::handle groups,
                    py::handle activation) {
  ConvOptions o;
  o.op = op;
  o.spatial = spatial;
  o.transposed = transposed;
  o.stride = to_dims(stride, {op, "stride"}, spatial);
  o.dilation = to_dims(dilation, {op, "dilation"}, spatial);
  o.groups = to_int(groups, {op, "groups"});
  if (py::isinstance<py::str>(padding) && !transposed)
    o.padding_mode = to_text(padding, {op, "padding"});
  else
    o.padding = to_dims(padding, {op, "padding"}, spatial);
  o.activation = to_activation(activation, {op, "activation"});
  return o;
}

// The output; with `save` also what backward needs of it: the values before the activation where
// its derivative asks for them, else the output once more.
py::object forward(const ConvOptions& o, py::handle input, py::handle weight, py::handle bias,
                   bool save) {
  const Input x(input, {o.op, "input"}), w(weight, {o.op, "weight"});
  const Input b = Input::optional(bias, {o.op, "bias"});
  const ConvParams params = check_convolution(o, x, w, b);
  const Output y(o.op, x->dtype, params.output_shape);
  const bool keep = save && saves_input(params.activation);
  const Output linear = Output::optional(keep, o.op, x->dtype, params.output_shape);
  run(convolution_forward, reference::convolution_forward, params, x.view(), w.view(), b.view(),
      y.view(), linear.view());
  if (!save) return y.object();
  return py::make_tuple(y.object(), keep ? linear.object() : y.object());
}

// A weight packed for inference, and the array whose elements it needs. Whoever makes it sees to it
// that these stay what they are.
struct ConstantWeight {
  Input array;
  PackedConvWeight weight;

  ConstantWeight(py::handle object, py::handle groups)
      : array(object, {kPack, "weight"}), weight(array, to_int(groups, {kPack, "groups"})) {}
};

py::object forward_packed(py::handle input, const ConstantWeight& weight, py::handle bias,
                          py::handle stride, py::handle padding, py::handle dilation,
                          py::handle activation, py::handle residual) {
  const TensorView& w = weight.weight.weight();
  const int spatial = w.rank() - 2;
  const char* op = kNames[0][spatial - 1];
  const ConvOptions o = options(op, spatial, false, stride, padding, dilation,
                                py::int_(weight.weight.groups()), activation);
  const Input x(input, {op, "input"});
  const Input b = Input::optional(bias, {op, "bias"});
  const Input r = Input::optional(residual, {op, "residual"});
  const ConvParams params = check_convolution_packed(o, x, weight.weight, b, r);
  const Output y(op, x->dtype, params.output_shape);
  run(convolution_packed, reference::convolution_packed, params, x.view(), weight.weight, b.view(),
      r.view(), y.view());
  return y.object();
}

py::tuple backward(const ConvOptions& o, py::handle grad, py::handle input, py::handle weight,
                   py::handle saved, const py::tuple& wanted) {
  if (wanted.size() != 3) throw ValueError(concat(o.op, ": wanted must hold 3 booleans"));
  const Input g(grad, {o.op, "grad"}), x(input, {o.op, "input"}), w(weight, {o.op, "weight"});
  const Input s = Input::optional(saved, {o.op, "saved"});
  const ConvParams params = check_convolution_backward(o, g, x, w, s);
  const auto output = [&](std::size_t i, const Dims& shape) {
    return Output::optional(py::bool_(py::object(wanted[i])), o.op, x->dtype, shape);
  };
  const Output dx = output(0, x->shape), dw = output(1, w->shape);
  const Output db = output(2, Dims{params.output_channels()});
  run(convolution_backward, reference::convolution_backward, params, g.view(), x.view(), w.view(),
      s.view(), dx.view(), dw.view(), db.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

template <int spatial>
void register_convolution(py::module_& m) {
  m.def(
      kNames[0][spatial - 1],
      [](py::handle input, py::handle weight, py::handle bias, py::handle stride,
         py::handle padding, py::handle dilation, py::handle groups, py::handle activation,
         bool save) {
        const char* op = kNames[0][spatial - 1];
        return forward(options(op, spatial, false, stride, padding, dilation, groups, activation),
                       input, weight, bias, save);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"), py::arg("activation"), py::arg("save") = false);
  m.def(
      kBackwardNames[0][spatial - 1],
      [](py::handle grad, py::handle input, py::handle weight, py::handle saved,
         const py::tuple& wanted, py::handle stride, py::handle padding, py::handle dilation,
         py::handle groups, py::handle activation) {
        const char* op = kBackwardNames[0][spatial - 1];
        return backward(options(op, spatial, false, stride, padding, dilation, groups, activation),
                        grad, input, weight, saved, wanted);
      },
      py::arg("grad"), py::arg("input"), py::arg("weight"), py::arg("saved"), py::arg("wanted"),
      py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
      py::arg("activation"));
}

template <int spatial>
void register_transposed(py::module_& m) {
  m.def(
      kNames[1][spatial - 1],
      [](py::handle input, py::handle weight, py::handle bias, py::handle stride,
         py::handle padding, py::handle output_padding, py::handle groups, py::handle dilation,
         py::handle activation, bool save) {
        const char* op = kNames[1][spatial - 1];
        ConvOptions o = options(op, spatial, true, stride, padding, dilation, groups, activation);
        o.output_padding = to_dims(output_padding, {op, "output_padding"}, spatial);
        return forward(o, input, weight, bias, save);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
      py::arg("output_padding"), py::arg("groups"), py::arg("dilation"), py::arg("activation"),
      py::arg("save") = false);
  m.def(
      kBackwardNames[1][spatial - 1],
      [](py::handle grad, py::handle input, py::handle weight, py::handle saved,
         const py::tuple& wanted, py::handle stride, py::handle padding, py::handle output_padding,
         py::handle groups, py::handle dilation, py::handle activation) {
        const char* op = kBackwardNames[1][spatial - 1];
        ConvOptions o = options(op, spatial, true, stride, padding, dilation, groups, activation);
        o.output_padding = to_dims(output_padding, {op, "output_padding"}, spatial);
        return backward(o, grad, input, weight, saved, wanted);
      },
      py::arg("grad"), py::arg("input"), py::arg("weight"), py::arg("saved"), py::arg("wanted"),
      py::arg("stride"), py::arg("padding"), py::arg("output_padding"), py::arg("groups"),
      py::arg("dilation"), py::arg("activation"));
}

}  // namespace

void register_packed(py::module_& m) {
  using py::arg;
  py::class_<ConstantWeight>(m, kPack).def(py::init<py::handle, py::handle>(), arg("weight"),
                                           arg("groups") = 1);
  m.def("conv_packed", &forward_packed, arg("input"), arg("weight"), arg("bias"), arg("stride"),
        arg("padding"), arg("dilation"), arg("activation"), arg("residual") = py::none());
}

void register_conv(py::module_& m) {
  register_packed(m);
  register_convolution<1>(m);
  register_convolution<2>(m);
  register_transposed<1>(m);
  register_transposed<2>(m);
}

}  // namespace pyfast
