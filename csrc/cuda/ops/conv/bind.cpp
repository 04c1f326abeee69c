#include "cuda/core/call.h"
#include "cuda/ops/conv/write.h"

namespace pyfast::cuda {

namespace {

constexpr const char* kNames[2][2] = {{"conv1d", "conv2d"},
                                      {"conv_transpose1d", "conv_transpose2d"}};
constexpr const char* kBackwardNames[2][2] = {
    {"conv1d_backward", "conv2d_backward"},
    {"conv_transpose1d_backward", "conv_transpose2d_backward"}};

struct Settings {
  py::handle stride, padding, dilation, groups, activation, output_padding;
};

ConvOptions options(const char* op, int spatial, bool transposed, const Settings& s) {
  ConvOptions o;
  o.op = op;
  o.spatial = spatial;
  o.transposed = transposed;
  o.stride = to_dims(s.stride, {op, "stride"}, spatial);
  o.dilation = to_dims(s.dilation, {op, "dilation"}, spatial);
  o.groups = to_int(s.groups, {op, "groups"});
  if (py::isinstance<py::str>(s.padding) && !transposed)
    o.padding_mode = to_text(s.padding, {op, "padding"});
  else
    o.padding = to_dims(s.padding, {op, "padding"}, spatial);
  if (transposed) o.output_padding = to_dims(s.output_padding, {op, "output_padding"}, spatial);
  o.activation = to_activation(s.activation, {op, "activation"});
  return o;
}

py::object forward(py::handle framework, const ConvOptions& o, py::handle input, py::handle weight,
                   py::handle bias, bool save) {
  Call call(o.op, framework);
  const Input x(call, input, "input", Kind::floating, false);
  const Input w(call, weight, "weight", Kind::floating, false);
  const Input b = Input::optional(call, bias, "bias");
  const ConvParams p = check_convolution(o, x, w, b);
  const bool last = is_last(x), keep = save && saves_input(p.activation);
  const OrderedOutput y(call, x->dtype, p.output_shape, last);
  const OrderedOutput linear =
      keep ? OrderedOutput(call, x->dtype, p.output_shape, last) : OrderedOutput();
  ConvEpilogue epilogue;
  epilogue.bias = b;
  epilogue.activation = p.activation;
  epilogue.linear = linear.view();
  (p.transposed ? write_image : write_maps)(call, p, x, w, epilogue, y.view());
  if (!save) return y.object();
  return py::make_tuple(y.object(), keep ? linear.object() : y.object());
}

// scale and bias: of the output's channels, of the input's dtype or float32.
void check_terms(const ConvOptions& o, const char* name, const TensorView& terms,
                 const TensorView& input, const ConvParams& p) {
  if (!terms.defined) return;
  if (terms.dtype != DType::f32) require_same_dtype({o.op, name}, terms, "input", input);
  require_shape({o.op, name}, terms, Dims{p.output_channels()});
}

// activation(scale conv(input, weight) + bias + residual), without a gradient.
py::object fused(py::handle framework, const ConvOptions& o, py::handle input, py::handle weight,
                 py::handle bias, py::handle scale, py::handle residual) {
  Call call(o.op, framework);
  const Input x(call, input, "input", Kind::floating, false);
  const Input w(call, weight, "weight", Kind::floating, false);
  const Input b = Input::optional(call, bias, "bias"), s = Input::optional(call, scale, "scale");
  const ConvParams p = check_convolution(o, x, w, TensorView());
  check_terms(o, "bias", b, x, p);
  check_terms(o, "scale", s, x, p);
  const OrderedOutput y(call, x->dtype, p.output_shape, is_last(x));
  ConvEpilogue epilogue;
  epilogue.bias = b;
  epilogue.activation = p.activation;
  epilogue.scale = s;
  if (residual.is_none()) {
    write_maps(call, p, x, w, epilogue, y.view());
    return y.object();
  }
  const Input r = Input::like(call, residual, "residual", y.object(), y.view());
  require_same_dtype({o.op, "residual"}, r, "input", x);
  require_shape({o.op, "residual"}, r, p.output_shape);
  epilogue.residual = r;
  write_maps(call, p, x, w, epilogue, y.view());
  return y.object();
}

py::tuple backward(py::handle framework, const ConvOptions& o, py::handle grad, py::handle input,
                   py::handle weight, py::handle saved, const py::tuple& wanted) {
  if (wanted.size() != 3) throw ValueError(concat(o.op, ": wanted must hold 3 booleans"));
  Call call(o.op, framework);
  const bool gated = o.activation != Activation::none;
  // The gate goes through memory as it lies, the same way in all three arrays.
  const auto lies_last = [&](py::handle array, const char* name) {
    return is_last(Input::optional(call, array, name, Kind::floating, false));
  };
  const bool last = gated && lies_last(grad, "grad") && lies_last(saved, "saved");
  const Input g(call, grad, "grad", Kind::floating, gated && !last);
  const Input x(call, input, "input", Kind::floating, false);
  const Input w(call, weight, "weight", Kind::floating, false);
  const Input s = Input::optional(call, saved, "saved", Kind::floating, !last);
  const ConvParams p = check_convolution_backward(o, g, x, w, s);
  const OrderedOutput gate =
      gated ? OrderedOutput(call, g->dtype, g->shape, last) : OrderedOutput();
  if (gated) run(call, conv_gate, p.activation, g.view(), s.view(), gate.view());
  const TensorView& dz = gated ? gate.view() : g.view();
  const auto wants = [&](std::size_t i) { return bool(py::bool_(py::object(wanted[i]))); };
  const OrderedOutput dx =
      wants(0) ? OrderedOutput(call, x->dtype, x->shape, is_last(x)) : OrderedOutput();
  const Output dw = Output::optional(wants(1), call, w->dtype, w->shape);
  const Output db = Output::optional(wants(2), call, x->dtype, {p.output_channels()});
  const TensorView &image = p.transposed ? dz : x.view(), &maps = p.transposed ? x.view() : dz;
  if (wants(0)) (p.transposed ? write_maps : write_image)(call, p, dz, w, {}, dx.view());
  if (wants(1)) write_weight(call, p, maps, image, dw);
  if (wants(2)) {
    const PixelSum sum(ConvIndices(p.geometry, p.spatial, image, w, maps), !p.transposed, dz);
    const Output parts(call, DType::f32, {sum.chunks, sum.channels});
    run(call, conv_bias, sum, dz, db.view(), parts.view());
  }
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

template <int spatial>
void register_convolution(py::module_& m) {
  m.def(
      kNames[0][spatial - 1],
      [](py::handle framework, py::handle input, py::handle weight, py::handle bias,
         py::handle stride, py::handle padding, py::handle dilation, py::handle groups,
         py::handle activation, bool save) {
        const Settings s{stride, padding, dilation, groups, activation, {}};
        return forward(framework, options(kNames[0][spatial - 1], spatial, false, s), input, weight,
                       bias, save);
      },
      py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(),
      py::arg(), py::arg("save") = false);
  m.def(kBackwardNames[0][spatial - 1],
        [](py::handle framework, py::handle grad, py::handle input, py::handle weight,
           py::handle saved, const py::tuple& wanted, py::handle stride, py::handle padding,
           py::handle dilation, py::handle groups, py::handle activation) {
          const Settings s{stride, padding, dilation, groups, activation, {}};
          return backward(framework, options(kBackwardNames[0][spatial - 1], spatial, false, s),
                          grad, input, weight, saved, wanted);
        });
}

constexpr const char* kFusedNames[2] = {"conv1d_fused", "conv2d_fused"};

template <int spatial>
void register_fused(py::module_& m) {
  m.def(kFusedNames[spatial - 1],
        [](py::handle framework, py::handle input, py::handle weight, py::handle bias,
           py::handle scale, py::handle residual, py::handle stride, py::handle padding,
           py::handle dilation, py::handle groups, py::handle activation) {
          const Settings s{stride, padding, dilation, groups, activation, {}};
          return fused(framework, options(kNames[0][spatial - 1], spatial, false, s), input, weight,
                       bias, scale, residual);
        });
}

template <int spatial>
void register_transposed(py::module_& m) {
  m.def(
      kNames[1][spatial - 1],
      [](py::handle framework, py::handle input, py::handle weight, py::handle bias,
         py::handle stride, py::handle padding, py::handle output_padding, py::handle groups,
         py::handle dilation, py::handle activation, bool save) {
        const Settings s{stride, padding, dilation, groups, activation, output_padding};
        return forward(framework, options(kNames[1][spatial - 1], spatial, true, s), input, weight,
                       bias, save);
      },
      py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(),
      py::arg(), py::arg(), py::arg("save") = false);
  m.def(
      kBackwardNames[1][spatial - 1],
      [](py::handle framework, py::handle grad, py::handle input, py::handle weight,
         py::handle saved, const py::tuple& wanted, py::handle stride, py::handle padding,
         py::handle output_padding, py::handle groups, py::handle dilation, py::handle activation) {
        const Settings s{stride, padding, dilation, groups, activation, output_padding};
        return backward(framework, options(kBackwardNames[1][spatial - 1], spatial, true, s), grad,
                        input, weight, saved, wanted);
      });
}

}  // namespace

void register_conv(py::module_& m) {
  register_convolution<1>(m);
  register_convolution<2>(m);
  register_fused<1>(m);
  register_fused<2>(m);
  register_transposed<1>(m);
  register_transposed<2>(m);
}

}  // namespace pyfast::cuda
