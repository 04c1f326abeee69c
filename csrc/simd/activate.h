// Activation on vec<T>: f(x) forward, f.backward(grad, saved) = grad * f'(...), where `saved` is
// the input x for those that saves_input(), else the output.
//
//   with_activation(a, [&](auto f) { for (...) f(vec<T>::load(x + i)).store(y + i); });
//
// chooses once, outside the loop.
#pragma once

#include "core/activation.h"
#include "simd/math.h"

namespace pyfast::PYFAST_ISA {

namespace activation {

template <class T>
PYFAST_INLINE vec<T> constant(double x) {
  return vec<T>(static_cast<T>(x));
}

// A closed gate gives 0 whatever the gradient, infinity included.
template <class T>
PYFAST_INLINE vec<T> gate(mask<T> closed, vec<T> open) {
  return select(closed, vec<T>(), open);
}

struct None {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return x;
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T>) const {
    return grad;
  }
};

struct Relu {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return max(vec<T>(), x);  // NaN stays: the second operand wins
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> y) const {
    return gate(y <= vec<T>(), grad);
  }
};

struct Relu6 {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return min(constant<T>(6), max(vec<T>(), x));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> y) const {
    return gate((y <= vec<T>()) | (y >= constant<T>(6)), grad);
  }
};

struct LeakyRelu {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return select(x > vec<T>(), x, x * constant<T>(0.01));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> y) const {
    return select(y > vec<T>(), grad, grad * constant<T>(0.01));
  }
};

struct Elu {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return select(x > vec<T>(), x, expm1(x));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> y) const {
    return select(y > vec<T>(), grad, grad * (y + constant<T>(1)));
  }
};

struct Sigmoid {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return sigmoid(x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> y) const {
    return grad * (y * (constant<T>(1) - y));
  }
};

struct Tanh {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return tanh(x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> y) const {
    return grad * fma(-y, y, constant<T>(1));
  }
};

struct Gelu {  // x Phi(x), Phi the normal distribution function
  template <class T>
  static PYFAST_INLINE vec<T> phi(vec<T> x) {
    const vec<T> half = constant<T>(0.5);
    return fma(erf(x * constant<T>(0.70710678118654752440)), half, half);
  }
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return x * phi(x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> density = constant<T>(0.39894228040143267794) * exp(x * x * constant<T>(-0.5));
    return grad * fma(x, density, phi(x));
  }
};

struct GeluTanh {  // x (1 + tanh(c (x + 0.044715 x^3))) / 2, c = sqrt(2 / pi)
  static constexpr double c = 0.79788456080286535588, cubic = 0.044715;
  template <class T>
  static PYFAST_INLINE vec<T> inner_tanh(vec<T> x) {
    return tanh(x * fma(x * x, constant<T>(c * cubic), constant<T>(c)));
  }
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    const vec<T> half = constant<T>(0.5);
    return x * fma(inner_tanh(x), half, half);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> half = constant<T>(0.5), t = inner_tanh(x);
    const vec<T> slope = fma(x * x, constant<T>(3 * c * cubic), constant<T>(c));
    return grad * fma(half * x * fma(-t, t, constant<T>(1)), slope, fma(t, half, half));
  }
};

struct Silu {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return silu(x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> s = sigmoid(x);
    return grad * (s * fma(x, constant<T>(1) - s, constant<T>(1)));
  }
};

struct Softplus {  // log(1 + e^x), the identity beyond 20 as in PyTorch
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return select(x > constant<T>(20), x, log1p(exp(x)));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return select(x > constant<T>(20), grad, grad * sigmoid(x));
  }
};

struct Mish {  // x tanh(log(1 + e^x)); with n = e^x (e^x + 2) the tanh is n / (n + 2)
  template <class T>
  static PYFAST_INLINE vec<T> bounded(vec<T> x) {  // beyond 40 the tanh is 1
    return min(constant<T>(40), x);
  }
  template <class T>
  static PYFAST_INLINE vec<T> ratio(vec<T> x) {
    const vec<T> e = exp(bounded(x));
    return fma(e, e, e + e);
  }
  template <class T>
  static PYFAST_INLINE vec<T> gating(vec<T> x) {
    const vec<T> n = ratio(x);
    return n / (n + constant<T>(2));
  }
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {  // above 0 as x - 2 x / (n + 2)
    const vec<T> n = ratio(x), two = constant<T>(2);
    const mask<T> above = x > vec<T>();
    const vec<T> part = (select(above, -two, n) * bounded(x)) / (n + two);
    return select(above, x + part, part);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> t = gating(x);
    return grad * fma(x * sigmoid(x), fma(-t, t, constant<T>(1)), t);
  }
};

struct Hardswish {  // x min(max(x + 3, 0), 6) / 6
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return x * Relu6()(x + constant<T>(3)) / constant<T>(6);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> inside = grad * (x / constant<T>(3) + constant<T>(0.5));
    return gate(x <= constant<T>(-3), select(x >= constant<T>(3), grad, inside));
  }
};

struct Hardsigmoid {  // min(max(x + 3, 0), 6) / 6
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return Relu6()(x + constant<T>(3)) / constant<T>(6);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return gate((x <= constant<T>(-3)) | (x >= constant<T>(3)), grad / constant<T>(6));
  }
};

}  // namespace activation

template <class Body>
PYFAST_INLINE void with_activation(Activation a, Body body) {
  switch (a) {
    case Activation::none: return body(activation::None());
    case Activation::relu: return body(activation::Relu());
    case Activation::relu6: return body(activation::Relu6());
    case Activation::leaky_relu: return body(activation::LeakyRelu());
    case Activation::elu: return body(activation::Elu());
    case Activation::sigmoid: return body(activation::Sigmoid());
    case Activation::tanh: return body(activation::Tanh());
    case Activation::gelu: return body(activation::Gelu());
    case Activation::gelu_tanh: return body(activation::GeluTanh());
    case Activation::silu: return body(activation::Silu());
    case Activation::softplus: return body(activation::Softplus());
    case Activation::mish: return body(activation::Mish());
    case Activation::hardswish: return body(activation::Hardswish());
    case Activation::hardsigmoid: return body(activation::Hardsigmoid());
  }
}

}  // namespace pyfast::PYFAST_ISA
