#include "core/shape.h"
#include "ops/activation/glu.h"
#include "ops/activation/prelu.h"
#include "ops/activation/softmin.h"

namespace pyfast {

GluParams check_glu(const TensorView& input, std::int64_t dim) {
  require_floating({"glu", "input"}, input);
  require_min_rank({"glu", "input"}, input, 1);
  const int axis = checked_axis({"glu", "dim"}, dim, input.rank());
  if (input.shape[axis] % 2 != 0)
    throw ValueError(
        concat("glu: input must have an even size along dim ", axis, ", got shape ", input.shape));
  GluParams params{1, 1, input.shape};
  params.output_shape[axis] /= 2;
  for (int i = 0; i < input.rank(); ++i)
    (i < axis ? params.outer : params.width) *= params.output_shape[i];
  return params;
}

void check_glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input) {
  require_same_dtype({"glu", "grad"}, grad, "input", input);
  require_shape({"glu", "grad"}, grad, params.output_shape);
}

PReluParams check_prelu(const TensorView& input, const TensorView& weight) {
  require_floating({"prelu", "input"}, input);
  require_same_dtype({"prelu", "weight"}, weight, "input", input);
  require_min_rank({"prelu", "input"}, input, 1);
  if (weight.rank() > 1)
    throw ValueError(
        concat("prelu: weight must have at most 1 dimension, got shape ", weight.shape));
  PReluParams params;
  if (weight.numel() == 1) {
    params.inner = input.numel();
    return params;
  }
  params.channels = input.rank() > 1 ? input.shape[1] : 1;
  if (weight.numel() != params.channels)
    throw ValueError(concat("prelu: weight must hold 1 or ", params.channels,
                            " values, one a channel of the input, got ", weight.numel()));
  params.outer = input.shape[0];
  for (int i = 2; i < input.rank(); ++i) params.inner *= input.shape[i];
  return params;
}

void check_prelu_backward(const TensorView& grad, const TensorView& input) {
  require_same_dtype({"prelu", "grad"}, grad, "input", input);
  require_shape({"prelu", "grad"}, grad, input.shape);
}

SoftmaxParams check_softmin(const TensorView& input, std::int64_t dim) {
  require_floating({"softmin", "input"}, input);
  return {false, checked_axis({"softmin", "dim"}, dim, input.rank())};
}

void check_softmin_backward(const TensorView& grad, const TensorView& output) {
  require_same_dtype({"softmin", "grad"}, grad, "output", output);
  require_shape({"softmin", "grad"}, grad, output.shape);
}

}  // namespace pyfast
