// softmin(x) = softmax(-x).
#pragma once

#include "ops/softmax/softmax.h"

namespace pyfast {

SoftmaxParams check_softmin(const TensorView& input, std::int64_t dim);
void check_softmin_backward(const TensorView& grad, const TensorView& output);

// Writes output.
void softmin_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output);
// Writes grad_input; `output` is what forward returned.
void softmin_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input);

namespace reference {
void softmin_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output);
void softmin_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
