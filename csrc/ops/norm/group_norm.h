// Group normalisation: statistics of each sample's groups of channels. Instance normalisation is
// the same with one channel a group, and may keep running statistics.
//
// Statistics are a float64 array of shape (2, samples, groups): mean, then biased variance.
#pragma once

#include "core/tensor.h"

namespace pyfast {

struct GroupNormParams {
  bool instance;  // instance_norm: one channel a group
  std::int64_t groups;
  double eps;
  double momentum;  // of instance_norm's running statistics
  const char* op() const { return instance ? "instance_norm" : "group_norm"; }
};

// The optional operands of forward; those not given are undefined views.
struct GroupNormOperands {
  TensorView running_mean, running_var;  // (channels), instance_norm only; updated in place
  TensorView weight, bias;               // (channels)
};

// The parameters that make instance_norm of it: as many groups as channels.
GroupNormParams instance_norm_params(const TensorView& input, double momentum, double eps);
void check_group_norm(const GroupNormParams& params, const TensorView& input,
                      const GroupNormOperands& operands);
void check_group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                               const TensorView& input, const TensorView& statistics,
                               const TensorView& weight);

// output = (input - mean) / sqrt(var + eps) * weight + bias. Writes output and statistics, and
// moves the running statistics towards the samples' average (unbiased variance).
void group_norm_forward(const GroupNormParams& params, const TensorView& input,
                        const GroupNormOperands& operands, const TensorView& statistics,
                        const TensorView& output);
// Writes grad_input, and grad_weight and grad_bias where they are defined.
void group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias);

namespace reference {
void group_norm_forward(const GroupNormParams& params, const TensorView& input,
                        const GroupNormOperands& operands, const TensorView& statistics,
                        const TensorView& output);
void group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias);
}  // namespace reference

}  // namespace pyfast
