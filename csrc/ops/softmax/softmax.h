// softmax and log_softmax along one axis, forward and backward.
#pragma once

#include "core/tensor.h"

namespace pyfast {

struct SoftmaxParams {
  bool log;  // log_softmax
  int axis;  // in [0, rank)
  const char* op() const { return log ? "log_softmax" : "softmax"; }
};

// Validates forward's operands; the output has the input's shape.
SoftmaxParams check_softmax(bool log, const TensorView& input, std::int64_t dim);
// Validates backward's: grad and output agree in shape and dtype.
SoftmaxParams check_softmax_backward(bool log, const TensorView& grad, const TensorView& output,
                                     std::int64_t dim);

// output = exp(x - max) / sum(exp(x - max)), or its logarithm. Writes output.
void softmax_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output);
// softmax:     grad_input = y (g - sum(g y));  log_softmax: grad_input = g - exp(y) sum(g).
// `output` is what forward returned. Writes grad_input.
void softmax_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input);

namespace reference {
void softmax_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output);
void softmax_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
