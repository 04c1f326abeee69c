// The activations that conv, linear and batch_norm take as activation="relu": fused behind their
// sums, and the matching step of their backward passes.
//
// The vector code is in simd/activate.h; here are the names and what baseline code needs.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/tensor.h"

namespace pyfast {

enum class Activation : std::uint8_t {
  none,
  relu,
  relu6,
  leaky_relu,  // slope 0.01
  elu,         // alpha 1
  sigmoid,
  tanh,  // from here on the derivative needs the input
  gelu,
  gelu_tanh,
  silu,
  softplus,
  mish,
  hardswish,
  hardsigmoid,
};

// "" is none; ValueError listing the names for a stranger.
Activation activation_from(const char* op, std::string_view name);
std::string_view name_of(Activation a);

// True where backward needs the activation's input (what `Epilogue::linear` stores), false where
// its output is enough.
bool saves_input(Activation a);

// grad_input = grad * a'(saved): `saved` is the activation's input where saves_input(a), else its
// output. All of one shape and dtype; grad_input is C-contiguous and may be grad itself.
void activation_backward(Activation a, const TensorView& grad, const TensorView& saved,
                         const TensorView& grad_input);

namespace reference {
double activate(Activation a, double x);
double activate_backward(Activation a, double grad, double saved);
void activation_backward(Activation a, const TensorView& grad, const TensorView& saved,
                         const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
