#include <cmath>

#include "core/shape.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/batch_norm_add.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/layer_norm.h"

namespace pyfast {

namespace {

void require_finite(Where where, double value) {
  if (!std::isfinite(value)) throw ValueError(concat(where, " must be finite, got ", value));
}

void require_eps(const char* op, double eps) {
  if (!(eps >= 0) || std::isinf(eps))
    throw ValueError(concat(op, ": eps must be finite and not negative, got ", eps));
}

// An optional operand with one value per channel (or whatever `shape` says).
void require_operand(Where where, const TensorView& x, const Dims& shape, const TensorView& input) {
  if (!x.defined) return;
  // float32 parameters beside 16-bit inputs, as mixed precision has them (on a GPU)
  const bool mixed = x.dtype == DType::f32 && item_size(input.dtype) == 2;
  if (!mixed) require_same_dtype(where, x, "input", input);
  require_shape(where, x, shape);
}

void require_channels(const char* op, const TensorView& input) {
  require_floating({op, "input"}, input);
  require_min_rank({op, "input"}, input, 2);
}

void require_running(const char* op, const TensorView& mean, const TensorView& var,
                     const TensorView& input) {
  if (mean.defined != var.defined)
    throw ValueError(concat(op, ": running_mean and running_var must be given both or neither"));
  const Dims channels{input.shape[1]};
  require_operand({op, "running_mean"}, mean, channels, input);
  require_operand({op, "running_var"}, var, channels, input);
}

void require_grad(const char* op, const TensorView& grad, const TensorView& input) {
  require_same_dtype({op, "grad"}, grad, "input", input);
  require_shape({op, "grad"}, grad, input.shape);
}

void require_statistics(const char* op, const TensorView& statistics, const Dims& shape) {
  if (statistics.dtype != DType::f64)
    throw TypeError(concat(op, ": statistics must be float64, got ", name(statistics.dtype)));
  require_shape({op, "statistics"}, statistics, shape);
}

std::int64_t spatial_size(const TensorView& input) {
  std::int64_t n = 1;
  for (int i = 2; i < input.rank(); ++i) n *= input.shape[i];
  return n;
}

// One value has no spread to learn from: PyTorch refuses it too.
void require_several_values(const char* op, const char* per, std::int64_t values,
                            const TensorView& input) {
  if (values == 1)
    throw ValueError(
        concat(op, ": input must have more than one value per ", per, ", got shape ", input.shape));
}

void require_groups(const char* op, std::int64_t groups, const TensorView& input) {
  if (groups <= 0) throw ValueError(concat(op, ": num_groups must be positive, got ", groups));
  if (input.shape[1] % groups != 0)
    throw ValueError(concat(op, ": num_groups must divide the ", input.shape[1],
                            " channels of input, got ", groups));
}

void require_normalized_shape(const char* op, const Dims& shape, const TensorView& input) {
  const int lead = input.rank() - shape.rank();
  bool ok = shape.rank() > 0 && lead >= 0;
  for (int i = 0; ok && i < shape.rank(); ++i) ok = input.shape[lead + i] == shape[i];
  if (!ok)
    throw ValueError(concat(op, ": normalized_shape must be the last sizes of input ", input.shape,
                            ", got ", shape));
}

}  // namespace

void check_batch_norm(const BatchNormParams& params, const TensorView& input,
                      const BatchNormOperands& operands) {
  const char* op = params.op;
  require_channels(op, input);
  require_eps(op, params.eps);
  require_finite({op, "momentum"}, params.momentum);
  require_running(op, operands.running_mean, operands.running_var, input);
  require_operand({op, "weight"}, operands.weight, {input.shape[1]}, input);
  require_operand({op, "bias"}, operands.bias, {input.shape[1]}, input);
  if (!params.training && !operands.running_mean.defined)
    throw ValueError(concat(
        op, ": running_mean and running_var must be given unless batch statistics are used"));
  if (params.training)
    require_several_values(op, "channel when training", input.shape[0] * spatial_size(input),
                           input);
}

void check_batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                               const TensorView& input, const TensorView& statistics,
                               const TensorView& weight, const TensorView& bias) {
  const char* op = "batch_norm_backward";
  require_channels(op, input);
  require_eps(op, params.eps);
  require_grad(op, grad, input);
  require_statistics(op, statistics, {2, input.shape[1]});
  require_operand({op, "weight"}, weight, {input.shape[1]}, input);
  require_operand({op, "bias"}, bias, {input.shape[1]}, input);
}

void check_batch_norm_add(const BatchNormParams& params, const TensorView& input,
                          const TensorView& residual) {
  require_same_dtype({params.op, "residual"}, residual, "input", input);
  require_shape({params.op, "residual"}, residual, input.shape);
  if (params.activation != Activation::none && params.activation != Activation::relu)
    throw ValueError(concat(params.op,
                            ": activation must be None or 'relu' beside a residual, got '",
                            name_of(params.activation), "'"));
}

GroupNormParams instance_norm_params(const TensorView& input, double momentum, double eps) {
  require_channels("instance_norm", input);
  return {true, input.shape[1] == 0 ? 1 : input.shape[1], eps, momentum};
}

void check_group_norm(const GroupNormParams& params, const TensorView& input,
                      const GroupNormOperands& operands) {
  const char* op = params.op();
  require_channels(op, input);
  require_eps(op, params.eps);
  require_finite({op, "momentum"}, params.momentum);
  require_groups(op, params.groups, input);
  require_running(op, operands.running_mean, operands.running_var, input);
  require_operand({op, "weight"}, operands.weight, {input.shape[1]}, input);
  require_operand({op, "bias"}, operands.bias, {input.shape[1]}, input);
  const std::int64_t spatial = spatial_size(input);
  if (params.instance)
    require_several_values(op, "channel of a sample", spatial, input);
  else
    require_several_values(op, "group when there is one sample",
                           input.shape[0] * (input.shape[1] / params.groups) * spatial, input);
}

void check_group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                               const TensorView& input, const TensorView& statistics,
                               const TensorView& weight) {
  const char* op = "group_norm_backward";
  require_channels(op, input);
  require_eps(op, params.eps);
  require_groups(op, params.groups, input);
  require_grad(op, grad, input);
  require_statistics(op, statistics, {2, input.shape[0], params.groups});
  require_operand({op, "weight"}, weight, {input.shape[1]}, input);
}

void check_layer_norm(const LayerNormParams& params, const TensorView& input,
                      const TensorView& weight, const TensorView& bias) {
  const char* op = params.op();
  require_floating({op, "input"}, input);
  require_eps(op, params.eps);
  require_normalized_shape(op, params.normalized_shape, input);
  require_operand({op, "weight"}, weight, params.normalized_shape, input);
  require_operand({op, "bias"}, bias, params.normalized_shape, input);
}

void check_layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                               const TensorView& input, const TensorView& statistics,
                               const TensorView& weight) {
  const char* op = params.rms ? "rms_norm_backward" : "layer_norm_backward";
  require_floating({op, "input"}, input);
  require_eps(op, params.eps);
  require_normalized_shape(op, params.normalized_shape, input);
  require_grad(op, grad, input);
  require_statistics(op, statistics, layer_norm_statistics_shape(params, input));
  require_operand({op, "weight"}, weight, params.normalized_shape, input);
}

Dims layer_norm_statistics_shape(const LayerNormParams& params, const TensorView& input) {
  std::int64_t rows = 1;
  for (int i = 0; i < input.rank() - params.normalized_shape.rank(); ++i) rows *= input.shape[i];
  return {2, rows};
}

}  // namespace pyfast
