// Gated linear unit: one half of an axis, times the sigmoid of the other (Dauphin et al., 2017).
#pragma once

#include "core/tensor.h"

namespace pyfast {

// A C-ordered input is [outer, 2, width]; the output is [outer, width].
struct GluParams {
  std::int64_t outer = 1, width = 1;
  Dims output_shape;
};

// Also validates for backward, whose grad has the output's shape.
GluParams check_glu(const TensorView& input, std::int64_t dim);
void check_glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input);

// output = a sigmoid(b), a and b being the halves. Writes output.
void glu_forward(const GluParams& params, const TensorView& input, const TensorView& output);
// grad_a = grad sigmoid(b), grad_b = grad a sigmoid'(b). Writes grad_input, both halves.
void glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input,
                  const TensorView& grad_input);

namespace reference {
void glu_forward(const GluParams& params, const TensorView& input, const TensorView& output);
void glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input,
                  const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
