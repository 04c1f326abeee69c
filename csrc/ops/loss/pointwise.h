// Losses that compare two arrays element by element.
#pragma once

#include "core/tensor.h"

namespace pyfast {

enum class Loss : std::uint8_t { mse, l1, smooth_l1, huber, bce, bce_logits, kl, kl_log };
enum class Reduction : std::uint8_t { none, mean, sum };

struct PointwiseParams {
  const char* op;
  Loss loss;
  double scale;  // beta of smooth_l1, delta of huber
  Reduction reduction;
  double divisor;  // of the sum: 1, the number of elements, or the batch ("batchmean")
};

PointwiseParams check_pointwise(std::string_view loss, double scale, std::string_view reduction,
                                const TensorView& input, const TensorView& target,
                                const TensorView& weight, const TensorView& pos_weight);
// binary_cross_entropy is defined on probabilities only. Reads the whole input: run it without the
// GIL, so that it can be interrupted.
void check_probabilities(const PointwiseParams& params, const TensorView& input);
// Backward's grad is a scalar, or has the input's shape when nothing was reduced.
void check_pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                              const TensorView& input);

// All arrays have the input's shape (broadcast beforehand, any strides); weight and pos_weight may
// be undefined. Writes output: a scalar, or the input's shape for Reduction::none.
void pointwise_forward(const PointwiseParams& params, const TensorView& input,
                       const TensorView& target, const TensorView& weight,
                       const TensorView& pos_weight, const TensorView& output);
// Writes grad_input and, where defined, grad_target.
void pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                        const TensorView& input, const TensorView& target, const TensorView& weight,
                        const TensorView& pos_weight, const TensorView& grad_input,
                        const TensorView& grad_target);

namespace reference {
void pointwise_forward(const PointwiseParams& params, const TensorView& input,
                       const TensorView& target, const TensorView& weight,
                       const TensorView& pos_weight, const TensorView& output);
void pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                        const TensorView& input, const TensorView& target, const TensorView& weight,
                        const TensorView& pos_weight, const TensorView& grad_input,
                        const TensorView& grad_target);
}  // namespace reference

}  // namespace pyfast
