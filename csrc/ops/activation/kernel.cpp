// y = f(x) and dx = g f'(x), a vector at a time in one pass. Each function is a functor in the
// style of simd/activate.h: the call is its value, backward(grad, x) its derivative times grad.
#include "ops/activation/kernel.h"

#include "simd/activate.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

using activation::constant;
using activation::gate;

struct LeakyRelu {
  double slope;
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return select(x > vec<T>(), x, x * constant<T>(slope));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return select(x > vec<T>(), grad, grad * constant<T>(slope));
  }
};

struct Elu {
  double above, below, inner;
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    const vec<T> curve = constant<T>(below) * expm1(x * constant<T>(inner));
    return select(x > vec<T>(), x * constant<T>(above), curve);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> curve = constant<T>(below * inner) * exp(x * constant<T>(inner));
    return grad * select(x > vec<T>(), constant<T>(above), curve);
  }
};

template <class T>
PYFAST_INLINE vec<T> softplus(vec<T> x) {  // e^-|x| never overflows
  return max(vec<T>(), x) + log1p(exp(-abs(x)));
}

struct Softplus {
  double beta, threshold;
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    const vec<T> scaled = x * constant<T>(beta);
    return select(scaled > constant<T>(threshold), x,
                  pyfast::PYFAST_ISA::softplus(scaled) / constant<T>(beta));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> scaled = x * constant<T>(beta);
    return select(scaled > constant<T>(threshold), grad, grad * sigmoid(scaled));
  }
};

struct Logsigmoid {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return -softplus(-x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return grad * sigmoid(-x);
  }
};

struct Softsign {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return x / (constant<T>(1) + abs(x));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> one = constant<T>(1), a = abs(x), root = one + a;
    // what rounding took from root (Knuth's two-sum) would count twice in its square
    const vec<T> back = root - one, lost = (one - (root - back)) + (a - back);
    const vec<T> square = fma(root, root, (lost + lost) * root);
    return grad / square;
  }
};

struct Hardtanh {
  double low, high;
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return min(constant<T>(high), max(constant<T>(low), x));  // NaN stays
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return gate((x <= constant<T>(low)) | (x >= constant<T>(high)), grad);
  }
};

template <class T>
PYFAST_INLINE mask<T> within(vec<T> x, double bound) {
  return (x >= constant<T>(-bound)) & (x <= constant<T>(bound));
}

struct Hardshrink {
  double bound;
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return gate(within(x, bound), x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return gate(within(x, bound), grad);
  }
};

struct Softshrink {
  double bound;
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return gate(within(x, bound), x - copysign(constant<T>(bound), x));
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return gate(within(x, bound), grad);
  }
};

struct Tanhshrink {
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return x - tanh(x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    const vec<T> t = tanh(x);
    return grad * (t * t);
  }
};

struct Threshold {
  double threshold, value;
  template <class T>
  PYFAST_INLINE vec<T> operator()(vec<T> x) const {
    return select(x <= constant<T>(threshold), constant<T>(value), x);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> grad, vec<T> x) const {
    return gate(x <= constant<T>(threshold), grad);
  }
};

template <class Body>
PYFAST_INLINE void with_function(const UnaryParams& p, Body body) {
  switch (p.function) {
    case Unary::fixed: return with_activation(p.activation, body);
    case Unary::leaky_relu: return body(LeakyRelu{p.a});
    case Unary::elu: return body(Elu{p.a, p.b, p.c});
    case Unary::softplus: return body(Softplus{p.a, p.b});
    case Unary::logsigmoid: return body(Logsigmoid());
    case Unary::softsign: return body(Softsign());
    case Unary::hardtanh: return body(Hardtanh{p.a, p.b});
    case Unary::hardshrink: return body(Hardshrink{p.a});
    case Unary::softshrink: return body(Softshrink{p.a});
    case Unary::tanhshrink: return body(Tanhshrink());
    case Unary::threshold: return body(Threshold{p.a, p.b});
  }
}

template <class T>
void forward(const UnaryParams& params, T* y, const T* x, std::int64_t n) {
  with_function(params, [=](auto f) { map(y, x, n, f); });
}

template <class T>
void backward(const UnaryParams& params, T* dx, const T* g, const T* saved, std::int64_t n) {
  with_function(params, [=](auto f) {
    map(dx, g, saved, n, [&](vec<T> grad, vec<T> x) PYFAST_INLINED { return f.backward(grad, x); });
  });
}

}  // namespace

template <class T>
const UnaryKernels<T>& unary_kernels() {
  static constexpr UnaryKernels<T> table{&forward<T>, &backward<T>};
  return table;
}

template const UnaryKernels<float>& unary_kernels<float>();
template const UnaryKernels<double>& unary_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
