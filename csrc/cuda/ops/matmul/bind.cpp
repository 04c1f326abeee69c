#include "cuda/core/call.h"
#include "cuda/ops/activation/activation.h"
#include "cuda/ops/matmul/cublaslt.h"
#include "cuda/ops/matmul/matmul.h"
#include "ops/linear/linear.h"
#include "ops/matmul/matmul.h"

namespace pyfast::cuda {

namespace {

Output parts_of(const Call& call, const Product& p) {
  const Contraction& c = p.size;
  return Output::optional(c.splits > 1, call, DType::f32, {c.batch * c.splits, c.rows, c.columns});
}

bool try_cublaslt(const Call& call, const Product& p, const TensorView& a, const TensorView& b,
                  const TensorView& bias, const TensorView& output) {
  if (!has_cublaslt() || !lt_product(p)) return false;
  const Output workspace(call, DType::u8, {kLtWorkspace});
  bool done = false;
  run(call, [&](cudaStream_t stream) {
    done = multiply_with_cublaslt(p, a, b, bias, output, workspace.view(), stream);
  });
  return done;
}

void multiply(const Call& call, const Product& p, const TensorView& a, const TensorView& b,
              const TensorView& output) {
  if (!p.plain)
    throw ValueError(concat(call.op(), ": more than ", Axes::kMost,
                            " batch axes that do not lie as one are too many on a GPU"));
  if (output.numel() == 0) return;
  if (try_cublaslt(call, p, a, b, TensorView(), output)) return;
  const Output parts = parts_of(call, p);
  run(call, multiply_matrices, p, a, b, output, parts.view());
}

py::object matmul(py::handle framework, py::handle input, py::handle other) {
  Call call("matmul", framework);
  const Input a(call, input, "input", Kind::floating, false);
  const Input b(call, other, "other", Kind::floating, false);
  const Output c(call, a->dtype, check_matmul(a, b));
  multiply(call, matmul_product(MatmulLayout(a, b, c)), a, b, c);
  return c.object();
}

py::object matmul_backward(py::handle framework, py::handle grad, py::handle input,
                           py::handle other, bool need_input, bool need_other) {
  Call call("matmul_backward", framework);
  const Input g(call, grad, "grad", Kind::floating, false);
  const Input a(call, input, "input", Kind::floating, false);
  const Input b(call, other, "other", Kind::floating, false);
  check_matmul_backward(g, a, b);
  const MatmulLayout layout(a, b, g), packed = packed_layout(a, b, g);
  const Output da = Output::optional(need_input, call, a->dtype, a->shape);
  const Output db = Output::optional(need_other, call, b->dtype, b->shape);
  if (need_input) multiply(call, matmul_input_gradient(layout, packed), g, b, da);
  if (need_other) multiply(call, matmul_other_gradient(layout, packed), a, g, db);
  return py::make_tuple(da.object(), db.object());
}

struct LinearShape {
  std::int64_t rows = 1, in, out;
  LinearShape(const TensorView& input, const TensorView& weight)
      : in(weight.shape.back()), out(weight.rank() == 2 ? weight.shape[0] : 1) {
    for (int i = 0; i + 1 < input.rank(); ++i) rows *= input.shape[i];
  }
};

// The activation is a pass of its own, over what is saved where backward wants that.
bool linear_with_cublaslt(const Call& call, const Product& p, Activation a, const TensorView& x,
                          const TensorView& w, const TensorView& bias, const TensorView& y,
                          const TensorView& saved) {
  if (y.numel() == 0 || !has_cublaslt()) return false;
  if (a == Activation::none) return try_cublaslt(call, p, x, w, bias, y);
  const Output scratch = Output::optional(!saved.defined, call, y.dtype, y.shape);
  const TensorView& z = saved.defined ? saved : scratch.view();
  if (!try_cublaslt(call, p, x, w, bias, z)) return false;
  UnaryParams activation{};
  activation.function = Unary::fixed;
  activation.activation = a;
  run(call, unary_forward, activation, z, y);
  return true;
}

py::object linear(py::handle framework, py::handle input, py::handle weight, py::handle bias,
                  py::handle activation, bool keep) {
  Call call("linear", framework);
  const Input x(call, input, "input"), w(call, weight, "weight");
  const Input b = Input::optional(call, bias, "bias");
  const Activation a = to_activation(activation, {call.op(), "activation"});
  const Dims shape = check_linear(x, w, b);
  const Output y(call, x->dtype, shape);
  const Output saved = Output::optional(keep && saves_input(a), call, x->dtype, shape);
  const LinearShape s(x, w);
  const Product p = linear_product(s.rows, s.in, s.out);
  if (!linear_with_cublaslt(call, p, a, x, w, b, y, saved)) {
    const Output parts = parts_of(call, p);
    run(call, multiply_linear, p, a, x.view(), w.view(), b.view(), y.view(), saved.view(),
        parts.view());
  }
  if (!keep) return y.object();
  return py::make_tuple(y.object(), saves_input(a) ? saved.object() : y.object());
}

py::object linear_backward(py::handle framework, py::handle grad, py::handle input,
                           py::handle weight, py::handle saved, py::handle activation,
                           bool need_input, bool need_weight, bool need_bias) {
  Call call("linear_backward", framework);
  const Input g(call, grad, "grad"), x(call, input, "input"), w(call, weight, "weight");
  const Input s = Input::optional(call, saved, "saved");
  const Activation a = to_activation(activation, {call.op(), "activation"});
  check_linear_backward(a, g, x, w, s);
  const bool gated = a != Activation::none;
  const Output gate = Output::optional(gated, call, g->dtype, g->shape);
  if (gated) run(call, linear_gate, a, g.view(), s.view(), gate.view());
  const TensorView& dz = gated ? gate.view() : g.view();
  const LinearShape n(x, w);
  const Output dx = Output::optional(need_input, call, x->dtype, x->shape);
  const Output dw = Output::optional(need_weight, call, w->dtype, w->shape);
  const Dims bias_shape = w->rank() == 2 ? Dims{n.out} : Dims{};
  const Output db = Output::optional(need_bias, call, x->dtype, bias_shape);
  if (need_input) multiply(call, linear_input_gradient(n.rows, n.in, n.out), dz, w, dx);
  if (need_weight) multiply(call, linear_weight_gradient(n.rows, n.in, n.out), dz, x, dw);
  if (need_bias) run(call, linear_bias_gradient, dz, db.view());
  return py::make_tuple(dx.object(), dw.object(), db.object());
}

}  // namespace

void register_matmul(py::module_& m) {
  m.def("matmul", &matmul);
  m.def("matmul_backward", &matmul_backward);
  m.def("linear", &linear);
  m.def("linear_backward", &linear_backward);
}

}  // namespace pyfast::cuda
