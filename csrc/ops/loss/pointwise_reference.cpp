// One element at a time, in double.
#include <algorithm>
#include <cmath>

#include "core/copy.h"
#include "ops/loss/pointwise.h"

namespace pyfast::reference {

namespace {

struct Element {
  double value, dx, dt;
};

double sign(double d) { return d > 0 ? 1 : d < 0 ? -1 : d; }

double softplus(double x) { return std::log1p(std::exp(-std::abs(x))) + std::max(x, 0.0); }

Element quadratic_then_linear(double d, double value, double slope) {
  return {value, slope * sign(d), -slope * sign(d)};
}

Element smooth(double d, double knee, double height) {
  // height = 1 for smooth_l1 (slope 1 outside), knee for huber (slope delta outside)
  const double a = std::abs(d);
  return a < knee ? quadratic_then_linear(d, 0.5 * height * a * a / knee, height * a / knee)
                  : quadratic_then_linear(d, height * (a - 0.5 * knee), height);
}

Element bce(double x, double t) {
  const double one = std::max(std::log(x), -100.0), zero = std::max(std::log1p(-x), -100.0);
  return {-(t * one + (1 - t) * zero), (x - t) / std::max(x * (1 - x), 1e-12), zero - one};
}

Element bce_logits(double x, double t, double pos) {
  const double weight = 1 + (pos - 1) * t;
  return {(1 - t) * x + weight * softplus(-x), (1 - t) - weight / (1 + std::exp(x)),
          -x + (pos - 1) * softplus(-x)};
}

Element element(const PointwiseParams& p, double x, double t, double pos) {
  const double d = x - t;
  switch (p.loss) {
    case Loss::mse: return {d * d, 2 * d, -2 * d};
    case Loss::l1: return {std::abs(d), sign(d), -sign(d)};
    case Loss::smooth_l1: return smooth(d, p.scale, 1);
    case Loss::huber: return smooth(d, p.scale, p.scale);
    case Loss::bce: return bce(x, t);
    case Loss::bce_logits: return bce_logits(x, t, pos);
    case Loss::kl: return {(t == 0 ? 0.0 : t * std::log(t)) - t * x, -t, std::log(t) + 1 - x};
    case Loss::kl_log: return {std::exp(t) * -d, -std::exp(t), std::exp(t) * (1 - d)};
  }
  return {};
}

// Every operand of one call in C order; absent weights count as one.
template <class T>
class Operands {
 public:
  Operands(const TensorView& input, const TensorView& target, const TensorView& weight,
           const TensorView& pos_weight)
      : x_(input), t_(target), w_(weight), p_(pos_weight) {}
  Element at(const PointwiseParams& params, std::int64_t i) const {
    Element e = element(params, x_.data()[i], t_.data()[i], p_.data() ? p_.data()[i] : 1.0);
    const double w = w_.data() ? w_.data()[i] : 1.0;
    return {w * e.value, w * e.dx, w * e.dt};
  }

 private:
  Contiguous<T> x_, t_, w_, p_;
};

}  // namespace

void pointwise_forward(const PointwiseParams& params, const TensorView& input,
                       const TensorView& target, const TensorView& weight,
                       const TensorView& pos_weight, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Operands<T> operands(input, target, weight, pos_weight);
    double sum = 0;
    for (std::int64_t i = 0; i < input.numel(); ++i) {
      const double value = operands.at(params, i).value;
      sum += value;
      if (params.reduction == Reduction::none) output.as<T>()[i] = static_cast<T>(value);
    }
    if (params.reduction != Reduction::none)
      output.as<T>()[0] = static_cast<T>(sum / params.divisor);
  });
}

void pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                        const TensorView& input, const TensorView& target, const TensorView& weight,
                        const TensorView& pos_weight, const TensorView& grad_input,
                        const TensorView& grad_target) {
  visit(input.dtype, [&]<class T>() {
    const Operands<T> operands(input, target, weight, pos_weight);
    const Contiguous<T> g(grad);
    for (std::int64_t i = 0; i < input.numel(); ++i) {
      const Element e = operands.at(params, i);
      const double scale =
          params.reduction == Reduction::none ? double{g.data()[i]} : g.data()[0] / params.divisor;
      grad_input.as<T>()[i] = static_cast<T>(scale * e.dx);
      if (grad_target.defined) grad_target.as<T>()[i] = static_cast<T>(scale * e.dt);
    }
  });
}

}  // namespace pyfast::reference
