#include "core/activation.h"

#include <cmath>
#include <numbers>

#include "core/copy.h"
#include "core/kernel_activation.h"
#include "core/parallel.h"

namespace pyfast {

void activation_backward(Activation a, const TensorView& grad, const TensorView& saved,
                         const TensorView& grad_input) {
  constexpr std::int64_t kGrain = 16384;
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad), s(saved);
    T* dx = grad_input.as<T>();
    const auto backward = activation_kernels<T>().backward;
    parallel_for(grad.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      backward(a, dx + begin, g.data() + begin, s.data() + begin, end - begin);
    });
  });
}

namespace reference {

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double gelu_tanh_argument(double x) {
  return std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
}

double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }

double gelu_tanh_derivative(double x) {
  const double t = std::tanh(gelu_tanh_argument(x));
  const double slope = std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope;
}

double mish_derivative(double x) {
  const double t = std::tanh(softplus(x));
  return t + x * sigmoid(x) * (1 - t * t);
}

double derivative(Activation a, double s) {
  switch (a) {
    case Activation::none: return 1;
    case Activation::relu: return s <= 0 ? 0 : 1;
    case Activation::relu6: return s <= 0 || s >= 6 ? 0 : 1;
    case Activation::leaky_relu: return s > 0 ? 1 : 0.01;
    case Activation::elu: return s > 0 ? 1 : s + 1;
    case Activation::sigmoid: return s * (1 - s);
    case Activation::tanh: return 1 - s * s;
    case Activation::gelu:
      return normal_cdf(s) + s * std::exp(-0.5 * s * s) / std::sqrt(2 * std::numbers::pi);
    case Activation::gelu_tanh: return gelu_tanh_derivative(s);
    case Activation::silu: return sigmoid(s) * (1 + s * (1 - sigmoid(s)));
    case Activation::softplus: return s > 20 ? 1 : sigmoid(s);
    case Activation::mish: return mish_derivative(s);
    case Activation::hardswish: return s <= -3 ? 0 : s >= 3 ? 1 : s / 3 + 0.5;
    case Activation::hardsigmoid: return s <= -3 || s >= 3 ? 0 : 1.0 / 6;
  }
  return 0;
}

}  // namespace

double activate(Activation a, double x) {
  switch (a) {
    case Activation::none: return x;
    case Activation::relu: return x <= 0 ? 0 : x;
    case Activation::relu6: return x <= 0 ? 0 : x >= 6 ? 6 : x;
    case Activation::leaky_relu: return x > 0 ? x : 0.01 * x;
    case Activation::elu: return x > 0 ? x : std::expm1(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return std::tanh(x);
    case Activation::gelu: return x * normal_cdf(x);
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(gelu_tanh_argument(x)));
    case Activation::silu: return x * sigmoid(x);
    case Activation::softplus: return softplus(x);
    case Activation::mish: return x * std::tanh(softplus(x));
    case Activation::hardswish: return x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6;
    case Activation::hardsigmoid: return x <= -3 ? 0 : x >= 3 ? 1 : (x + 3) / 6;
  }
  return x;
}

double activate_backward(Activation a, double grad, double saved) {
  const double slope = derivative(a, saved);
  return slope == 0 ? 0 : grad * slope;  // an infinite gradient ends at a closed gate
}

void activation_backward(Activation a, const TensorView& grad, const TensorView& saved,
                         const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad), s(saved);
    for (std::int64_t i = 0; i < grad.numel(); ++i)
      grad_input.as<T>()[i] =
          static_cast<T>(activate_backward(a, double{g.data()[i]}, double{s.data()[i]}));
  });
}

}  // namespace reference

}  // namespace pyfast
