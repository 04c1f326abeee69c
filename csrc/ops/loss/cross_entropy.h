// Cross-entropy of class scores, and negative log-likelihood of log-probabilities.
#pragma once

#include "core/tensor.h"
#include "ops/loss/pointwise.h"

namespace pyfast {

// Input (N, C, d...) or (C); targets are class indices of shape (N, d...) or (), or probabilities
// of the input's shape.
struct CrossEntropyParams {
  const char* op;
  bool soft;               // targets are probabilities
  bool log_probabilities;  // nll_loss: the input is log-probabilities already
  std::int64_t ignore_index;
  double label_smoothing;
  Reduction reduction;
  Dims rows;  // shape without the class axis
  std::int64_t classes;
};

CrossEntropyParams check_cross_entropy(bool nll, const TensorView& input, const TensorView& target,
                                       const TensorView& weight, std::string_view reduction,
                                       std::int64_t ignore_index, double label_smoothing);
// IndexError for a label that is neither a class nor ignore_index. Apart from check_cross_entropy,
// because a GPU's labels cannot be read here.
void check_labels(const CrossEntropyParams& params, const TensorView& target);
void check_cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                                  const TensorView& log_sum_exp, const TensorView& input);

// l_i = -sum_c w_c q_ic log softmax(x_i)_c, with q the (smoothed) target distribution; "mean"
// divides by the sum of the targets' weights (indices) or by the number of rows (probabilities).
// Writes output and, for backward, log_sum_exp (one value per row, of scores less the row's
// largest; nll_loss leaves it alone).
void cross_entropy_forward(const CrossEntropyParams& params, const TensorView& input,
                           const TensorView& target, const TensorView& weight,
                           const TensorView& output, const TensorView& log_sum_exp);
// Writes grad_input and, where defined (probabilities only), grad_target.
void cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                            const TensorView& input, const TensorView& target,
                            const TensorView& weight, const TensorView& log_sum_exp,
                            const TensorView& grad_input, const TensorView& grad_target);

namespace reference {
void cross_entropy_forward(const CrossEntropyParams& params, const TensorView& input,
                           const TensorView& target, const TensorView& weight,
                           const TensorView& output, const TensorView& log_sum_exp);
void cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                            const TensorView& input, const TensorView& target,
                            const TensorView& weight, const TensorView& log_sum_exp,
                            const TensorView& grad_input, const TensorView& grad_target);
}  // namespace reference

// The view with its class axis moved to the end, so that a row of scores is contiguous once packed.
TensorView classes_last(const TensorView& x);

// What "mean" divides by, and so the factor of every row's gradient.
double cross_entropy_divisor(const CrossEntropyParams& params, const std::int64_t* target,
                             const double* weight);

}  // namespace pyfast
