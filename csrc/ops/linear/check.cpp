#include "core/shape.h"
#include "ops/linear/linear.h"

namespace pyfast {

namespace {

Dims output_shape(const TensorView& input, const TensorView& weight) {
  Dims shape;
  for (int i = 0; i + 1 < input.rank(); ++i) shape.push_back(input.shape[i]);
  if (weight.rank() == 2) shape.push_back(weight.shape[0]);
  return shape;
}

void check_operands(const char* op, const TensorView& input, const TensorView& weight) {
  require_floating({op, "input"}, input);
  require_same_dtype({op, "weight"}, weight, "input", input);
  require_min_rank({op, "input"}, input, 1);
  if (weight.rank() != 1 && weight.rank() != 2)
    throw ValueError(concat(op, ": weight must have shape (out, in) or (in,), got ", weight.shape));
  if (input.shape.back() != weight.shape.back())
    throw ValueError(concat(op, ": weight of shape ", weight.shape,
                            " does not fit the last axis of input of shape ", input.shape));
}

}  // namespace

Dims check_linear(const TensorView& input, const TensorView& weight, const TensorView& bias) {
  const char* op = "linear";
  check_operands(op, input, weight);
  if (bias.defined) {
    require_same_dtype({op, "bias"}, bias, "input", input);
    require_shape({op, "bias"}, bias, weight.rank() == 2 ? Dims{weight.shape[0]} : Dims{});
  }
  return output_shape(input, weight);
}

void check_packed_weight(const TensorView& weight) {
  require_floating({"PackedWeight", "weight"}, weight);
  require_rank({"PackedWeight", "weight"}, weight, 2);
}

Dims check_linear_packed(const TensorView& input, const PackedWeight& weight,
                         const TensorView& bias) {
  const char* op = "linear_packed";
  const TensorView shaped(nullptr, weight.dtype, Dims{weight.out, weight.in});
  check_operands(op, input, shaped);
  if (bias.defined) {
    require_same_dtype({op, "bias"}, bias, "input", input);
    require_shape({op, "bias"}, bias, Dims{weight.out});
  }
  return output_shape(input, shaped);
}

void check_linear_backward(Activation activation, const TensorView& grad, const TensorView& input,
                           const TensorView& weight, const TensorView& saved) {
  const char* op = "linear_backward";
  check_operands(op, input, weight);
  const Dims shape = output_shape(input, weight);
  require_same_dtype({op, "grad"}, grad, "input", input);
  require_shape({op, "grad"}, grad, shape);
  if (activation == Activation::none) return;
  if (!saved.defined) throw ValueError(concat(op, ": saved must be given with an activation"));
  require_same_dtype({op, "saved"}, saved, "input", input);
  require_shape({op, "saved"}, saved, shape);
}

}  // namespace pyfast
