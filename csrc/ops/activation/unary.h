// Activations y = f(x), element by element: one table of ops, one pair of loops.
//
// To add one: a name and its arguments in unary_check.cpp, a value and a slope in
// unary_reference.cpp, and a functor of both on vec<T> in kernel.cpp. Those that conv, linear and
// batch_norm can fuse are in core/activation.h and simd/activate.h, and used from there.
#pragma once

#include <array>
#include <span>

#include "core/activation.h"
#include "core/tensor.h"

namespace pyfast {

enum class Unary : std::uint8_t {
  fixed,       // one of core/activation.h, which have no parameters
  leaky_relu,  // a: slope below 0
  elu,         // a x above 0, b expm1(c x) elsewhere: elu, selu and celu
  softplus,    // a: beta, b: threshold
  logsigmoid,
  softsign,
  hardtanh,    // a: lower bound, b: upper bound
  hardshrink,  // a: lambd
  softshrink,  // a: lambd
  tanhshrink,
  threshold,  // a: threshold, b: value
};

struct UnaryParams {
  Unary function;
  Activation activation = Activation::none;  // of Unary::fixed
  double a = 0, b = 0, c = 0;
};

struct UnaryOp {
  const char* name;
  std::array<const char*, 2> arguments;  // null where there are fewer
  // Of the arguments' values; ValueError where they define no function.
  UnaryParams (*params)(double, double);
};

std::span<const UnaryOp> unary_ops();

// The output has the input's shape.
void check_unary(const char* op, const TensorView& input);
// `saved` is what saves_input() says of fixed functions, and the input of all others; grad agrees
// with it in shape and dtype.
void check_unary_backward(const char* op, const TensorView& grad, const TensorView& saved);

// Writes output.
void unary_forward(const UnaryParams& params, const TensorView& input, const TensorView& output);
// grad_input = grad f'; 0 where f' is, however large grad may be. Writes grad_input.
void unary_backward(const UnaryParams& params, const TensorView& grad, const TensorView& saved,
                    const TensorView& grad_input);

namespace reference {
void unary_forward(const UnaryParams& params, const TensorView& input, const TensorView& output);
void unary_backward(const UnaryParams& params, const TensorView& grad, const TensorView& saved,
                    const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
