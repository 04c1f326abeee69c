#include <array>
#include <utility>

#include "core/shape.h"
#include "ops/loss/pointwise.h"

namespace pyfast {

namespace {

struct Named {
  std::string_view name;
  Loss loss;
  const char* op;
};

constexpr std::array<Named, 8> kLosses{{
    {"mse", Loss::mse, "mse_loss"},
    {"l1", Loss::l1, "l1_loss"},
    {"smooth_l1", Loss::smooth_l1, "smooth_l1_loss"},
    {"huber", Loss::huber, "huber_loss"},
    {"bce", Loss::bce, "binary_cross_entropy"},
    {"bce_logits", Loss::bce_logits, "binary_cross_entropy_with_logits"},
    {"kl", Loss::kl, "kl_div"},
    {"kl_log", Loss::kl_log, "kl_div"},
}};

Named find(std::string_view name) {
  for (const Named& loss : kLosses)
    if (loss.name == name) return loss;
  throw ValueError(concat("pointwise_loss: unknown loss ", name));
}

void set_reduction(PointwiseParams& p, std::string_view reduction, const TensorView& input) {
  const bool kl = p.loss == Loss::kl || p.loss == Loss::kl_log;
  p.divisor = 1;
  p.reduction = Reduction::sum;
  if (reduction == "none") {
    p.reduction = Reduction::none;
  } else if (reduction == "mean") {
    p.reduction = Reduction::mean;
    p.divisor = static_cast<double>(input.numel());
  } else if (reduction == "batchmean" && kl) {
    p.divisor = input.rank() == 0 ? 1 : static_cast<double>(input.shape[0]);
  } else if (reduction != "sum") {
    throw ValueError(concat(p.op, ": reduction must be 'none', 'mean'", kl ? ", 'batchmean'" : "",
                            " or 'sum', got '", reduction, "'"));
  }
}

void check_operand(Where where, const TensorView& x, const TensorView& input) {
  if (!x.defined) return;
  require_same_dtype(where, x, "input", input);
  require_shape(where, x, input.shape);
}

}  // namespace

PointwiseParams check_pointwise(std::string_view loss, double scale, std::string_view reduction,
                                const TensorView& input, const TensorView& target,
                                const TensorView& weight, const TensorView& pos_weight) {
  const Named named = find(loss);
  PointwiseParams p{named.op, named.loss, scale, Reduction::sum, 1};
  require_floating({p.op, "input"}, input);
  check_operand({p.op, "target"}, target, input);
  check_operand({p.op, "weight"}, weight, input);
  check_operand({p.op, "pos_weight"}, pos_weight, input);
  if (p.loss == Loss::smooth_l1 && !(scale >= 0))
    throw ValueError(concat(p.op, ": beta must not be negative, got ", scale));
  if (p.loss == Loss::huber && !(scale > 0))
    throw ValueError(concat(p.op, ": delta must be positive, got ", scale));
  if (p.loss == Loss::smooth_l1 && scale == 0) p.loss = Loss::l1;
  set_reduction(p, reduction, input);
  return p;
}

void check_pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                              const TensorView& input) {
  const Where where{params.op, "grad"};
  require_same_dtype(where, grad, "input", input);
  require_shape(where, grad, params.reduction == Reduction::none ? input.shape : Dims());
}

}  // namespace pyfast
