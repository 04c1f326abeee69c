// Layer normalisation over the last axes, and RMS normalisation: the same about zero.
//
// Statistics are a float64 array of shape (2, rows): mean, then biased variance; for rms_norm zero,
// then the mean square.
#pragma once

#include "core/tensor.h"

namespace pyfast {

struct LayerNormParams {
  bool rms;
  Dims normalized_shape;
  double eps;
  const char* op() const { return rms ? "rms_norm" : "layer_norm"; }
};

void check_layer_norm(const LayerNormParams& params, const TensorView& input,
                      const TensorView& weight, const TensorView& bias);
void check_layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                               const TensorView& input, const TensorView& statistics,
                               const TensorView& weight);
// (2, rows)
Dims layer_norm_statistics_shape(const LayerNormParams& params, const TensorView& input);

// output = (input - mean) / sqrt(var + eps) * weight + bias. Writes output, and statistics where
// defined.
void layer_norm_forward(const LayerNormParams& params, const TensorView& input,
                        const TensorView& weight, const TensorView& bias,
                        const TensorView& statistics, const TensorView& output);
// Writes grad_input, and grad_weight and grad_bias where they are defined.
void layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias);

namespace reference {
void layer_norm_forward(const LayerNormParams& params, const TensorView& input,
                        const TensorView& weight, const TensorView& bias,
                        const TensorView& statistics, const TensorView& output);
void layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias);
}  // namespace reference

}  // namespace pyfast
