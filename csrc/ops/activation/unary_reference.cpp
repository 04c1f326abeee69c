// One element at a time, in double: the value and the slope of every function.
#include <algorithm>
#include <cmath>

#include "core/copy.h"
#include "ops/activation/unary.h"

namespace pyfast::reference {

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double value(const UnaryParams& p, double x) {
  switch (p.function) {
    case Unary::fixed: return activate(p.activation, x);
    case Unary::leaky_relu: return x > 0 ? x : p.a * x;
    case Unary::elu: return x > 0 ? p.a * x : p.b * std::expm1(p.c * x);
    case Unary::softplus: return p.a * x > p.b ? x : softplus(p.a * x) / p.a;
    case Unary::logsigmoid: return -softplus(-x);
    case Unary::softsign: return x / (1 + std::abs(x));
    case Unary::hardtanh: return x < p.a ? p.a : x > p.b ? p.b : x;
    case Unary::hardshrink: return x >= -p.a && x <= p.a ? 0 : x;
    case Unary::softshrink: return x >= -p.a && x <= p.a ? 0 : x - std::copysign(p.a, x);
    case Unary::tanhshrink: return x - std::tanh(x);
    case Unary::threshold: return x <= p.a ? p.b : x;
  }
  return x;
}

double slope(const UnaryParams& p, double x) {
  switch (p.function) {
    case Unary::leaky_relu: return x > 0 ? 1 : p.a;
    case Unary::elu: return x > 0 ? p.a : p.b * p.c * std::exp(p.c * x);
    case Unary::softplus: return p.a * x > p.b ? 1 : sigmoid(p.a * x);
    case Unary::logsigmoid: return sigmoid(-x);
    case Unary::softsign: return 1 / ((1 + std::abs(x)) * (1 + std::abs(x)));
    case Unary::hardtanh: return x <= p.a || x >= p.b ? 0 : 1;
    case Unary::hardshrink:
    case Unary::softshrink: return x >= -p.a && x <= p.a ? 0 : 1;
    case Unary::tanhshrink: return std::tanh(x) * std::tanh(x);
    case Unary::threshold: return x <= p.a ? 0 : 1;
    case Unary::fixed: break;  // unary_backward asks core/activation.h
  }
  return 1;
}

// True where the slope is 0 by definition, and not because it is small: even an infinite gradient
// ends there.
bool closes(Unary f) {
  return f == Unary::hardtanh || f == Unary::hardshrink || f == Unary::softshrink ||
         f == Unary::threshold;
}

double backward(const UnaryParams& p, double grad, double saved) {
  if (p.function == Unary::fixed) return activate_backward(p.activation, grad, saved);
  const double s = slope(p, saved);
  return s == 0 && closes(p.function) ? 0 : grad * s;
}

}  // namespace

void unary_forward(const UnaryParams& params, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    for (std::int64_t i = 0; i < input.numel(); ++i)
      output.as<T>()[i] = static_cast<T>(value(params, x.data()[i]));
  });
}

void unary_backward(const UnaryParams& params, const TensorView& grad, const TensorView& saved,
                    const TensorView& grad_input) {
  visit(saved.dtype, [&]<class T>() {
    const Contiguous<T> g(grad), s(saved);
    for (std::int64_t i = 0; i < saved.numel(); ++i)
      grad_input.as<T>()[i] = static_cast<T>(backward(params, g.data()[i], s.data()[i]));
  });
}

}  // namespace pyfast::reference
