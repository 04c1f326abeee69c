// One row at a time, in double, the target distribution written out.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/copy.h"
#include "ops/loss/cross_entropy.h"

namespace pyfast::reference {

namespace {

template <class T>
std::vector<double> to_double(const TensorView& x) {
  const Contiguous<T> packed(x);
  return x.defined ? std::vector<double>(packed.data(), packed.data() + x.numel())
                   : std::vector<double>();
}

// Everything about the rows of one call.
template <class T>
struct Rows {
  const CrossEntropyParams& p;
  std::vector<double> x, soft, weight;
  std::vector<std::int64_t> label;
  double divisor;

  Rows(const CrossEntropyParams& params, const TensorView& input, const TensorView& target,
       const TensorView& weights)
      : p(params), x(to_double<T>(classes_last(input))), weight(to_double<T>(weights)) {
    if (p.soft) {
      soft = to_double<T>(classes_last(target));
    } else {
      const Contiguous<std::int64_t> labels(target);
      label.assign(labels.data(), labels.data() + target.numel());
    }
    divisor = cross_entropy_divisor(p, label.data(), weight.empty() ? nullptr : weight.data());
  }
  bool ignored(std::int64_t row) const {
    return !p.soft && label[static_cast<std::size_t>(row)] == p.ignore_index;
  }
  double weight_of(std::int64_t c) const {
    return weight.empty() ? 1.0 : weight[static_cast<std::size_t>(c)];
  }
  // The weighted, smoothed probability of class c.
  double q(std::int64_t row, std::int64_t c) const {
    const double hard = p.soft ? soft[static_cast<std::size_t>(row * p.classes + c)]
                               : label[static_cast<std::size_t>(row)] == c;
    return weight_of(c) *
           (hard * (1 - p.label_smoothing) + p.label_smoothing / static_cast<double>(p.classes));
  }
  double at(std::int64_t row, std::int64_t c) const {
    return x[static_cast<std::size_t>(row * p.classes + c)];
  }
  double largest(std::int64_t row) const {
    double top = -std::numeric_limits<double>::infinity();
    for (std::int64_t c = 0; c < p.classes; ++c) {
      if (std::isnan(at(row, c))) return at(row, c);
      top = std::max(top, at(row, c));
    }
    return top;
  }
  double log_sum_exp(std::int64_t row) const {
    if (p.log_probabilities) return 0;
    const double top = largest(row);
    double sum = 0;
    for (std::int64_t c = 0; c < p.classes; ++c) sum += std::exp(at(row, c) - top);
    return top + std::log(sum);
  }
  double loss(std::int64_t row, double lse) const {
    double sum = 0;
    for (std::int64_t c = 0; c < p.classes; ++c)
      if (p.soft || q(row, c) != 0) sum += q(row, c) * (lse - at(row, c));
    return sum;
  }
};

}  // namespace

void cross_entropy_forward(const CrossEntropyParams& params, const TensorView& input,
                           const TensorView& target, const TensorView& weight,
                           const TensorView& output, const TensorView& log_sum_exp) {
  visit(input.dtype, [&]<class T>() {
    const Rows<T> rows(params, input, target, weight);
    double total = 0;
    for (std::int64_t i = 0; i < params.rows.numel(); ++i) {
      const double lse = rows.log_sum_exp(i);
      if (!params.log_probabilities) log_sum_exp.as<T>()[i] = static_cast<T>(lse - rows.largest(i));
      const double loss = rows.ignored(i) ? 0 : rows.loss(i, lse);
      total += loss;
      if (params.reduction == Reduction::none) output.as<T>()[i] = static_cast<T>(loss);
    }
    if (params.reduction != Reduction::none)
      output.as<T>()[0] = static_cast<T>(total / rows.divisor);
  });
}

void cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                            const TensorView& input, const TensorView& target,
                            const TensorView& weight, const TensorView&,
                            const TensorView& grad_input, const TensorView& grad_target) {
  visit(input.dtype, [&]<class T>() {
    const Rows<T> rows(params, input, target, weight);
    const Contiguous<T> g(grad);
    const std::int64_t inner = params.rows.rank() > 1
                                   ? params.rows.numel() / std::max<std::int64_t>(1, params.rows[0])
                                   : 1;
    for (std::int64_t i = 0; i < params.rows.numel(); ++i) {
      const double scale =
          params.reduction == Reduction::none ? double{g.data()[i]} : g.data()[0] / rows.divisor;
      const double lse = rows.log_sum_exp(i);
      double sum = 0;
      for (std::int64_t c = 0; c < params.classes; ++c) sum += rows.q(i, c);
      for (std::int64_t c = 0; c < params.classes; ++c) {
        const std::int64_t to = i / inner * inner * params.classes + c * inner + i % inner;
        const double p = params.log_probabilities ? 0 : std::exp(rows.at(i, c) - lse);
        const double d = rows.ignored(i) ? 0 : scale * (sum * p - rows.q(i, c));
        grad_input.as<T>()[to] = static_cast<T>(d);
        if (grad_target.defined)
          grad_target.as<T>()[to] = static_cast<T>(scale * (1 - params.label_smoothing) *
                                                   rows.weight_of(c) * (lse - rows.at(i, c)));
      }
    }
  });
}

}  // namespace pyfast::reference
