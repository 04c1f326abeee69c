// Batch normalisation and the sum and activation behind it, as residual blocks have them:
// output = act(batch_norm(input) + residual), act being none or relu.
#pragma once

#include "ops/norm/batch_norm.h"

namespace pyfast {

// Beside check_batch_norm's: residual has input's shape and dtype.
void check_batch_norm_add(const BatchNormParams& params, const TensorView& input,
                          const TensorView& residual);

// As batch_norm_forward.
void batch_norm_add_forward(const BatchNormParams& params, const TensorView& input,
                            const TensorView& residual, const BatchNormOperands& operands,
                            const TensorView& statistics, const TensorView& output);
// As batch_norm_backward; also writes grad_residual, which without an activation is grad. `output`
// is what forward returned.
void batch_norm_add_backward(const BatchNormParams& params, const TensorView& grad,
                             const TensorView& input, const TensorView& statistics,
                             const TensorView& output, const TensorView& weight,
                             const TensorView& grad_input, const TensorView& grad_residual,
                             const TensorView& grad_weight, const TensorView& grad_bias);

namespace reference {
void batch_norm_add_forward(const BatchNormParams& params, const TensorView& input,
                            const TensorView& residual, const BatchNormOperands& operands,
                            const TensorView& statistics, const TensorView& output);
void batch_norm_add_backward(const BatchNormParams& params, const TensorView& grad,
                             const TensorView& input, const TensorView& statistics,
                             const TensorView& output, const TensorView& weight,
                             const TensorView& grad_input, const TensorView& grad_residual,
                             const TensorView& grad_weight, const TensorView& grad_bias);
}  // namespace reference

}  // namespace pyfast
