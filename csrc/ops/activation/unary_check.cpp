#include "core/shape.h"
#include "ops/activation/unary.h"

namespace pyfast {

namespace {

template <Activation activation>
UnaryParams fixed(double, double) {
  return {Unary::fixed, activation};
}

template <Unary function>
UnaryParams plain(double a, double b) {
  return {function, Activation::none, a, b};
}

UnaryParams elu(double alpha, double) { return {Unary::elu, Activation::none, 1, alpha, 1}; }

// Klambauer et al., 2017: the fixed point of mean 0, variance 1.
UnaryParams selu(double, double) {
  constexpr double alpha = 1.6732632423543772848170429916717;
  constexpr double scale = 1.0507009873554804934193349852946;
  return {Unary::elu, Activation::none, scale, scale * alpha, 1};
}

UnaryParams celu(double alpha, double) {
  if (alpha == 0) throw ValueError("celu: alpha must not be 0, got 0");
  return {Unary::elu, Activation::none, 1, alpha, 1 / alpha};
}

UnaryParams softplus(double beta, double threshold) {
  if (beta == 0) throw ValueError("softplus: beta must not be 0, got 0");
  return {Unary::softplus, Activation::none, beta, threshold};
}

UnaryParams hardtanh(double low, double high) {
  if (!(low <= high))
    throw ValueError(concat("hardtanh: min_val must not exceed max_val, got ", low, " and ", high));
  return {Unary::hardtanh, Activation::none, low, high};
}

UnaryParams softshrink(double lambd, double) {
  if (!(lambd >= 0))
    throw ValueError(concat("softshrink: lambd must not be negative, got ", lambd));
  return {Unary::softshrink, Activation::none, lambd};
}

constexpr UnaryOp kOps[] = {
    {"relu", {}, fixed<Activation::relu>},
    {"relu6", {}, fixed<Activation::relu6>},
    {"sigmoid", {}, fixed<Activation::sigmoid>},
    {"tanh", {}, fixed<Activation::tanh>},
    {"gelu", {}, fixed<Activation::gelu>},
    {"gelu_tanh", {}, fixed<Activation::gelu_tanh>},
    {"silu", {}, fixed<Activation::silu>},
    {"mish", {}, fixed<Activation::mish>},
    {"hardswish", {}, fixed<Activation::hardswish>},
    {"hardsigmoid", {}, fixed<Activation::hardsigmoid>},
    {"leaky_relu", {"negative_slope"}, plain<Unary::leaky_relu>},
    {"elu", {"alpha"}, elu},
    {"selu", {}, selu},
    {"celu", {"alpha"}, celu},
    {"softplus", {"beta", "threshold"}, softplus},
    {"logsigmoid", {}, plain<Unary::logsigmoid>},
    {"softsign", {}, plain<Unary::softsign>},
    {"hardtanh", {"min_val", "max_val"}, hardtanh},
    {"hardshrink", {"lambd"}, plain<Unary::hardshrink>},
    {"softshrink", {"lambd"}, softshrink},
    {"tanhshrink", {}, plain<Unary::tanhshrink>},
    {"threshold", {"threshold", "value"}, plain<Unary::threshold>},
};

}  // namespace

std::span<const UnaryOp> unary_ops() { return kOps; }

void check_unary(const char* op, const TensorView& input) {
  require_floating({op, "input"}, input);
}

void check_unary_backward(const char* op, const TensorView& grad, const TensorView& saved) {
  require_floating({op, "saved"}, saved);
  require_same_dtype({op, "grad"}, grad, "input", saved);
  require_shape({op, "grad"}, grad, saved.shape);
}

}  // namespace pyfast
