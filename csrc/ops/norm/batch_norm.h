// Batch normalisation over every axis but the channel axis (1), with a fused activation.
//
// Statistics are a float64 array of shape (2, channels): mean, then biased variance. Forward writes
// what it used (the batch's in training, a copy of the running ones otherwise), backward reads it.
#pragma once

#include "core/activation.h"
#include "core/tensor.h"

namespace pyfast {

struct BatchNormParams {
  const char* op;  // "batch_norm", or "instance_norm" with running statistics
  bool training;
  double momentum;
  double eps;
  Activation activation;
};

// The optional operands of forward; those not given are undefined views.
struct BatchNormOperands {
  TensorView running_mean, running_var;  // (channels); updated in place when training
  TensorView weight, bias;               // (channels)
};

void check_batch_norm(const BatchNormParams& params, const TensorView& input,
                      const BatchNormOperands& operands);
void check_batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                               const TensorView& input, const TensorView& statistics,
                               const TensorView& weight, const TensorView& bias);

// output = act((input - mean) / sqrt(var + eps) * weight + bias). Writes output and statistics;
// training: running = (1 - momentum) running + momentum batch, with the unbiased variance.
void batch_norm_forward(const BatchNormParams& params, const TensorView& input,
                        const BatchNormOperands& operands, const TensorView& statistics,
                        const TensorView& output);
// Writes grad_input, and grad_weight and grad_bias where they are defined.
void batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& bias,
                         const TensorView& grad_input, const TensorView& grad_weight,
                         const TensorView& grad_bias);

namespace reference {
void batch_norm_forward(const BatchNormParams& params, const TensorView& input,
                        const BatchNormOperands& operands, const TensorView& statistics,
                        const TensorView& output);
void batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& bias,
                         const TensorView& grad_input, const TensorView& grad_weight,
                         const TensorView& grad_bias);
}  // namespace reference

}  // namespace pyfast
