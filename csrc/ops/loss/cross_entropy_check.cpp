#include "core/shape.h"
#include "ops/loss/cross_entropy.h"

namespace pyfast {

namespace {

Reduction to_reduction(const char* op, std::string_view reduction) {
  if (reduction == "none") return Reduction::none;
  if (reduction == "mean") return Reduction::mean;
  if (reduction == "sum") return Reduction::sum;
  throw ValueError(
      concat(op, ": reduction must be 'none', 'mean' or 'sum', got '", reduction, "'"));
}

Dims without_class_axis(const Dims& shape) {
  Dims rows;
  const int axis = shape.rank() == 1 ? 0 : 1;
  for (int i = 0; i < shape.rank(); ++i)
    if (i != axis) rows.push_back(shape[i]);
  return rows;
}

}  // namespace

CrossEntropyParams check_cross_entropy(bool nll, const TensorView& input, const TensorView& target,
                                       const TensorView& weight, std::string_view reduction,
                                       std::int64_t ignore_index, double label_smoothing) {
  CrossEntropyParams p{nll ? "nll_loss" : "cross_entropy",
                       false,
                       nll,
                       ignore_index,
                       label_smoothing,
                       Reduction::sum,
                       Dims(),
                       0};
  require_floating({p.op, "input"}, input);
  require_min_rank({p.op, "input"}, input, 1);
  p.rows = without_class_axis(input.shape);
  p.classes = input.shape[input.rank() == 1 ? 0 : 1];
  p.soft = is_floating(target.dtype);
  p.reduction = to_reduction(p.op, reduction);
  if (!(label_smoothing >= 0 && label_smoothing <= 1))
    throw ValueError(concat(p.op, ": label_smoothing must be in [0, 1], got ", label_smoothing));
  if (p.soft) {
    if (nll) throw TypeError(concat(p.op, ": target must be integers, got ", name(target.dtype)));
    require_same_dtype({p.op, "target"}, target, "input", input);
    require_shape({p.op, "target"}, target, input.shape);
  } else {
    require_shape({p.op, "target"}, target, p.rows);
  }
  if (weight.defined) {
    require_same_dtype({p.op, "weight"}, weight, "input", input);
    require_shape({p.op, "weight"}, weight, Dims{p.classes});
  }
  return p;
}

void check_cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                                  const TensorView& log_sum_exp, const TensorView& input) {
  require_same_dtype({params.op, "grad"}, grad, "input", input);
  require_shape({params.op, "grad"}, grad,
                params.reduction == Reduction::none ? params.rows : Dims());
  if (params.log_probabilities) return;
  // float32 beside 16-bit scores (on a GPU): rounded to 16 bits it would spoil probabilities
  const bool wide = log_sum_exp.dtype == DType::f32 && item_size(input.dtype) == 2;
  if (!wide) require_same_dtype({params.op, "log_sum_exp"}, log_sum_exp, "input", input);
  require_shape({params.op, "log_sum_exp"}, log_sum_exp, params.rows);
}

TensorView classes_last(const TensorView& x) {
  if (x.rank() <= 2) return x;
  Dims shape{x.shape[0]}, strides{x.strides[0]};
  for (int i = 2; i <= x.rank(); ++i) {
    const int axis = i == x.rank() ? 1 : i;
    shape.push_back(x.shape[axis]);
    strides.push_back(x.strides[axis]);
  }
  return {x.data, x.dtype, shape, strides};
}

double cross_entropy_divisor(const CrossEntropyParams& params, const std::int64_t* target,
                             const double* weight) {
  if (params.reduction != Reduction::mean) return 1;
  const std::int64_t rows = params.rows.numel();
  if (params.soft) return static_cast<double>(rows);
  double total = 0;
  for (std::int64_t i = 0; i < rows; ++i)
    if (target[i] != params.ignore_index) total += weight ? weight[target[i]] : 1.0;
  return total;
}

}  // namespace pyfast
