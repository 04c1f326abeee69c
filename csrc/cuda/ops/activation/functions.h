// Values and slopes of the activations in float32, for GPU and host: ops/activation/unary.h's
// table, whose fixed functions batch_norm and convolution fuse, too.
#pragma once

#include "cuda/core/host_device.h"
#include "ops/activation/unary.h"

namespace pyfast::cuda {

// What a kernel needs to know of UnaryParams.
struct UnaryFunction {
  Unary function;
  Activation activation;
  float a, b, c;
};

inline UnaryFunction device_function(const UnaryParams& p) {
  return {p.function, p.activation, static_cast<float>(p.a), static_cast<float>(p.b),
          static_cast<float>(p.c)};
}

PYFAST_HOST_DEVICE float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// log(1 + exp(x)) without overflow
PYFAST_HOST_DEVICE float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

PYFAST_HOST_DEVICE float normal_cdf(float x) { return 0.5f * erfcf(-0.70710678f * x); }

PYFAST_HOST_DEVICE float gelu_tanh_argument(float x) {
  return 0.79788456f * (x + 0.044715f * x * x * x);
}

PYFAST_HOST_DEVICE float activate(Activation a, float x) {
  switch (a) {
    case Activation::none: return x;
    case Activation::relu: return x <= 0 ? 0.0f : x;
    case Activation::relu6: return x <= 0 ? 0.0f : x >= 6 ? 6.0f : x;
    case Activation::leaky_relu: return x > 0 ? x : 0.01f * x;
    case Activation::elu: return x > 0 ? x : expm1f(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return tanhf(x);
    case Activation::gelu: return x * normal_cdf(x);
    case Activation::gelu_tanh: return 0.5f * x * (1 + tanhf(gelu_tanh_argument(x)));
    case Activation::silu: return x * sigmoid(x);
    case Activation::softplus: return x > 20 ? x : log1pf(expf(x));
    case Activation::mish: return x * tanhf(x > 20 ? x : log1pf(expf(x)));
    case Activation::hardswish: return x <= -3 ? 0.0f : x >= 3 ? x : x * (x + 3) / 6;
    case Activation::hardsigmoid: return x <= -3 ? 0.0f : x >= 3 ? 1.0f : (x + 3) / 6;
  }
  return x;
}

PYFAST_HOST_DEVICE float gelu_tanh_slope(float x) {
  const float t = tanhf(gelu_tanh_argument(x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456f * (1 + 0.134145f * x * x);
}

PYFAST_HOST_DEVICE float mish_slope(float x) {
  const float t = tanhf(x > 20 ? x : log1pf(expf(x)));
  return t + x * sigmoid(x) * (1 - t * t);
}

// Of the input where saves_input(a), else of the output.
PYFAST_HOST_DEVICE float activation_slope(Activation a, float s) {
  switch (a) {
    case Activation::none: return 1;
    case Activation::relu: return s <= 0 ? 0.0f : 1.0f;
    case Activation::relu6: return s <= 0 || s >= 6 ? 0.0f : 1.0f;
    case Activation::leaky_relu: return s > 0 ? 1.0f : 0.01f;
    case Activation::elu: return s > 0 ? 1.0f : s + 1;
    case Activation::sigmoid: return s * (1 - s);
    case Activation::tanh: return 1 - s * s;
    case Activation::gelu: return normal_cdf(s) + s * expf(-0.5f * s * s) * 0.39894228f;
    case Activation::gelu_tanh: return gelu_tanh_slope(s);
    case Activation::silu: return sigmoid(s) * (1 + s * (1 - sigmoid(s)));
    case Activation::softplus: return s > 20 ? 1.0f : sigmoid(s);
    case Activation::mish: return mish_slope(s);
    case Activation::hardswish: return s <= -3 ? 0.0f : s >= 3 ? 1.0f : s / 3 + 0.5f;
    case Activation::hardsigmoid: return s <= -3 || s >= 3 ? 0.0f : 1.0f / 6;
  }
  return 0;
}

PYFAST_HOST_DEVICE float activate_backward(Activation a, float grad, float saved) {
  const float slope = activation_slope(a, saved);
  return slope == 0 ? 0.0f : grad * slope;  // an infinite gradient ends at a closed gate
}

PYFAST_HOST_DEVICE float unary_value(const UnaryFunction& p, float x) {
  switch (p.function) {
    case Unary::fixed: return activate(p.activation, x);
    case Unary::leaky_relu: return x > 0 ? x : p.a * x;
    case Unary::elu: return x > 0 ? p.a * x : p.b * expm1f(p.c * x);
    case Unary::softplus: return p.a * x > p.b ? x : softplus(p.a * x) / p.a;
    case Unary::logsigmoid: return -softplus(-x);
    case Unary::softsign: return x / (1 + fabsf(x));
    case Unary::hardtanh: return x < p.a ? p.a : x > p.b ? p.b : x;
    case Unary::hardshrink: return x >= -p.a && x <= p.a ? 0.0f : x;
    case Unary::softshrink: return x >= -p.a && x <= p.a ? 0.0f : x - copysignf(p.a, x);
    case Unary::tanhshrink: return x - tanhf(x);
    case Unary::threshold: return x <= p.a ? p.b : x;
  }
  return x;
}

PYFAST_HOST_DEVICE float unary_slope(const UnaryFunction& p, float x) {
  switch (p.function) {
    case Unary::leaky_relu: return x > 0 ? 1.0f : p.a;
    case Unary::elu: return x > 0 ? p.a : p.b * p.c * expf(p.c * x);
    case Unary::softplus: return p.a * x > p.b ? 1.0f : sigmoid(p.a * x);
    case Unary::logsigmoid: return sigmoid(-x);
    case Unary::softsign: return 1 / ((1 + fabsf(x)) * (1 + fabsf(x)));
    case Unary::hardtanh: return x <= p.a || x >= p.b ? 0.0f : 1.0f;
    case Unary::hardshrink:
    case Unary::softshrink: return x >= -p.a && x <= p.a ? 0.0f : 1.0f;
    case Unary::tanhshrink: return tanhf(x) * tanhf(x);
    case Unary::threshold: return x <= p.a ? 0.0f : 1.0f;
    case Unary::fixed: break;
  }
  return 1;
}

PYFAST_HOST_DEVICE float unary_gradient(const UnaryFunction& p, float grad, float saved) {
  if (p.function == Unary::fixed) return activate_backward(p.activation, grad, saved);
  const float slope = unary_slope(p, saved);
  // Slopes that are 0 by definition end even an infinite gradient; those that underflow don't.
  const bool closes = p.function == Unary::hardtanh || p.function == Unary::hardshrink ||
                      p.function == Unary::softshrink || p.function == Unary::threshold;
  return slope == 0 && closes ? 0.0f : grad * slope;
}

}  // namespace pyfast::cuda
