// Leaky ReLU whose slope is learnt, one for all or one a channel (He et al., 2015).
#pragma once

#include "core/tensor.h"

namespace pyfast {

// A C-ordered input is [outer, channels, inner]; a single slope makes it [1, 1, n].
struct PReluParams {
  std::int64_t outer = 1, channels = 1, inner = 1;
};

PReluParams check_prelu(const TensorView& input, const TensorView& weight);
void check_prelu_backward(const TensorView& grad, const TensorView& input);

// output = x where x > 0, weight[channel] x elsewhere. Writes output.
void prelu_forward(const PReluParams& params, const TensorView& input, const TensorView& weight,
                   const TensorView& output);
// Writes grad_input and grad_weight = sum of grad x where x is not positive: in double, over fixed
// blocks that are added in order.
void prelu_backward(const PReluParams& params, const TensorView& grad, const TensorView& input,
                    const TensorView& weight, const TensorView& grad_input,
                    const TensorView& grad_weight);

namespace reference {
void prelu_forward(const PReluParams& params, const TensorView& input, const TensorView& weight,
                   const TensorView& output);
void prelu_backward(const PReluParams& params, const TensorView& grad, const TensorView& input,
                    const TensorView& weight, const TensorView& grad_input,
                    const TensorView& grad_weight);
}  // namespace reference

}  // namespace pyfast
