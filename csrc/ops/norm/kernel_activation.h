// The fused activation of the norm kernels: none and relu are compiled into the loops, all others
// are a call per vector (their own cost hides it).
#pragma once

#include "core/activation.h"
#include "simd/activate.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

struct Plain {
  template <class T>
  PYFAST_INLINE vec<T> forward(vec<T> z) const {
    return z;
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> g, vec<T>) const {
    return g;
  }
};

struct Relu {
  template <class T>
  PYFAST_INLINE vec<T> forward(vec<T> z) const {
    return max(vec<T>(T{0}), z);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> g, vec<T> z) const {
    return select(z <= vec<T>(T{0}), vec<T>(T{0}), g);
  }
};

template <class T>
__attribute__((noinline)) vec<T> forward_any(Activation activation, vec<T> z) {
  vec<T> y;
  with_activation(activation, [&](auto f) { y = f(z); });
  return y;
}

template <class T>
__attribute__((noinline)) vec<T> backward_any(Activation activation, bool from_input, vec<T> g,
                                              vec<T> z) {
  vec<T> dz;
  with_activation(activation, [&](auto f) { dz = f.backward(g, from_input ? z : f(z)); });
  return dz;
}

struct Other {
  Activation activation;
  bool from_input;
  template <class T>
  PYFAST_INLINE vec<T> forward(vec<T> z) const {
    return forward_any(activation, z);
  }
  template <class T>
  PYFAST_INLINE vec<T> backward(vec<T> g, vec<T> z) const {
    return backward_any(activation, from_input, g, z);
  }
};

// body(act) with act.forward(z) and act.backward(g, z) = g act'(z).
template <class Body>
PYFAST_INLINE void with_fused(Activation activation, Body body) {
  if (activation == Activation::none) return body(Plain{});
  if (activation == Activation::relu) return body(Relu{});
  body(Other{activation, saves_input(activation)});
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
