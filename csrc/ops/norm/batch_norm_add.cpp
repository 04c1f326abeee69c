// Three passes of kernels that are there; on a GPU it is fused (csrc/cuda/ops/norm).
#include "ops/norm/batch_norm_add.h"

#include "ops/activation/unary.h"
#include "ops/arithmetic/arithmetic.h"

namespace pyfast {

namespace {

BatchNormParams without_activation(BatchNormParams params) {
  params.activation = Activation::none;
  return params;
}

UnaryParams gate(const BatchNormParams& params) { return {Unary::fixed, params.activation}; }

}  // namespace

// The sum and the activation are in place: every element is read before it is written.
void batch_norm_add_forward(const BatchNormParams& params, const TensorView& input,
                            const TensorView& residual, const BatchNormOperands& operands,
                            const TensorView& statistics, const TensorView& output) {
  batch_norm_forward(without_activation(params), input, operands, statistics, output);
  binary({Binary::add, output.shape}, output, residual, output);
  if (params.activation != Activation::none) unary_forward(gate(params), output, output);
}

void batch_norm_add_backward(const BatchNormParams& params, const TensorView& grad,
                             const TensorView& input, const TensorView& statistics,
                             const TensorView& output, const TensorView& weight,
                             const TensorView& grad_input, const TensorView& grad_residual,
                             const TensorView& grad_weight, const TensorView& grad_bias) {
  unary_backward(gate(params), grad, output, grad_residual);
  batch_norm_backward(without_activation(params), grad_residual, input, statistics, weight,
                      TensorView(), grad_input, grad_weight, grad_bias);
}

namespace reference {

void batch_norm_add_forward(const BatchNormParams& params, const TensorView& input,
                            const TensorView& residual, const BatchNormOperands& operands,
                            const TensorView& statistics, const TensorView& output) {
  reference::batch_norm_forward(without_activation(params), input, operands, statistics, output);
  reference::binary({Binary::add, output.shape}, output, residual, output);
  if (params.activation != Activation::none) reference::unary_forward(gate(params), output, output);
}

void batch_norm_add_backward(const BatchNormParams& params, const TensorView& grad,
                             const TensorView& input, const TensorView& statistics,
                             const TensorView& output, const TensorView& weight,
                             const TensorView& grad_input, const TensorView& grad_residual,
                             const TensorView& grad_weight, const TensorView& grad_bias) {
  reference::unary_backward(gate(params), grad, output, grad_residual);
  reference::batch_norm_backward(without_activation(params), grad_residual, input, statistics,
                                 weight, TensorView(), grad_input, grad_weight, grad_bias);
}

}  // namespace reference

}  // namespace pyfast
