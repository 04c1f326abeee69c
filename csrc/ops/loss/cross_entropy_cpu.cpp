#include <algorithm>
#include <numeric>
#include <optional>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/loss/cross_entropy.h"
#include "ops/loss/kernel.h"

namespace pyfast {

namespace {

constexpr std::int64_t kCost = 6;  // of one score in grain_for's unit: an exp and a few passes
// Rows whose log sum exp is computed together, if none has more classes than kFewClasses.
constexpr std::int64_t kRows = 64, kFewClasses = 128;

// The operands of one call with classes last and contiguous.
template <class T>
struct Rows {
  const CrossEntropyParams& p;
  Contiguous<T> x, soft, weight;
  Contiguous<std::int64_t> label;
  double total_weight, divisor;
  T keep, smooth;  // a hard target c becomes keep [c = target] + smooth

  Rows(const CrossEntropyParams& params, const TensorView& input, const TensorView& target,
       const TensorView& weights)
      : p(params),
        x(classes_last(input)),
        soft(params.soft ? classes_last(target) : TensorView()),
        weight(weights),
        label(params.soft ? TensorView() : target),
        keep(static_cast<T>(1 - params.label_smoothing)),
        smooth(static_cast<T>(params.label_smoothing / static_cast<double>(params.classes))) {
    std::optional<Workspace<double>> wide;
    if (weight.data()) {
      wide.emplace(p.classes);
      for (std::int64_t c = 0; c < p.classes; ++c) (*wide)[c] = weight.data()[c];
    }
    const double* w = wide ? wide->data() : nullptr;
    total_weight = w ? std::accumulate(w, w + p.classes, 0.0) : static_cast<double>(p.classes);
    divisor = cross_entropy_divisor(p, label.data(), w);
  }
  const T* row(std::int64_t i) const { return x.data() + i * p.classes; }
  bool ignored(std::int64_t i) const { return !p.soft && label.data()[i] == p.ignore_index; }
  T weight_of(std::int64_t c) const { return weight.data() ? weight.data()[c] : T{1}; }
  std::int64_t grain() const { return grain_for(p.classes * kCost); }
};

template <class T>
T row_loss(const Rows<T>& rows, const LossKernels<T>& kernels, std::int64_t i, T top,
           double exact_log) {
  const CrossEntropyParams& p = rows.p;
  if (rows.ignored(i)) return T{0};
  const T* x = rows.row(i);
  const T log = static_cast<T>(exact_log);
  if (p.soft)
    return kernels.soft_target(x, rows.soft.data() + i * p.classes, rows.weight.data(), top, log,
                               rows.keep, rows.smooth, p.classes);
  const std::int64_t c = rows.label.data()[i];
  const T hard = rows.weight_of(c) * static_cast<T>(double{top} - double{x[c]} + exact_log);
  if (p.label_smoothing == 0) return hard;
  return rows.keep * hard +
         rows.smooth * kernels.smoothing(x, rows.weight.data(), top, log, p.classes);
}

// Gradient of one row of scores (and of its soft target, where dt is not null).
template <class T>
void row_gradient(const Rows<T>& rows, const LossKernels<T>& kernels, std::int64_t i, T g, T log,
                  T* dx, T* dt) {
  const CrossEntropyParams& p = rows.p;
  const T* x = rows.row(i);
  if (rows.ignored(i)) {
    std::fill_n(dx, p.classes, T{0});
    return;
  }
  if (p.soft) {
    kernels.soft_backward(dx, dt, x, rows.soft.data() + i * p.classes, rows.weight.data(), log, g,
                          rows.keep, rows.smooth, p.classes);
    return;
  }
  const std::int64_t c = rows.label.data()[i];
  const T hard = g * rows.keep * rows.weight_of(c);
  if (p.log_probabilities) {
    std::fill_n(dx, p.classes, T{0});
  } else {
    const T total = hard + g * rows.smooth * static_cast<T>(rows.total_weight);
    kernels.backward(dx, x, rows.weight.data(), log, total, g * rows.smooth, p.classes);
  }
  dx[c] -= hard;
}

// Rows of gradients where the caller wants them: in place, or packed and moved when the class axis
// is not the last.
template <class T>
class GradientRows {
 public:
  explicit GradientRows(const TensorView& output) : output_(output) {
    if (output.defined && output.rank() > 2) packed_.emplace(output.numel());
  }
  T* data() const { return packed_ ? packed_->data() : output_.as<T>(); }
  void finish() const {
    if (!packed_) return;
    // rows (N, d..., C) seen as (N, C, d...)
    const TensorView shape_last = classes_last(output_);
    const Dims step = contiguous_strides(shape_last.shape);
    Dims strides{step[0], step.back()};
    for (int i = 1; i + 1 < step.rank(); ++i) strides.push_back(step[i]);
    copy_contiguous(output_.data, {packed_->data(), output_.dtype, output_.shape, strides});
  }

 private:
  TensorView output_;
  std::optional<Workspace<T>> packed_;
};

}  // namespace

void cross_entropy_forward(const CrossEntropyParams& params, const TensorView& input,
                           const TensorView& target, const TensorView& weight,
                           const TensorView& output, const TensorView& log_sum_exp) {
  visit(input.dtype, [&]<class T>() {
    const Rows<T> rows(params, input, target, weight);
    const auto& kernels = loss_kernels<T>();
    const std::int64_t n = params.rows.numel(), grain = rows.grain();
    const std::int64_t together = params.classes <= kFewClasses ? kRows : 1;
    const Workspace<double> partial((n + grain - 1) / grain);
    parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
      double sum = 0, logs[kRows] = {};
      T tops[kRows] = {};
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t own = (i - begin) % together;
        if (!params.log_probabilities) {
          if (own == 0)
            kernels.log_sum_exp(rows.row(i), std::min(together, end - i), params.classes, tops,
                                logs);
          log_sum_exp.as<T>()[i] = static_cast<T>(logs[own]);
        }
        const T loss = row_loss(rows, kernels, i, tops[own], logs[own]);
        sum += static_cast<double>(loss);
        if (params.reduction == Reduction::none) output.as<T>()[i] = loss;
      }
      partial[begin / grain] = sum;
    });
    if (params.reduction == Reduction::none) return;
    double total = 0;
    for (std::int64_t i = 0; i < partial.size(); ++i) total += partial[i];
    output.as<T>()[0] = static_cast<T>(total / rows.divisor);
  });
}

void cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                            const TensorView& input, const TensorView& target,
                            const TensorView& weight, const TensorView& log_sum_exp,
                            const TensorView& grad_input, const TensorView& grad_target) {
  visit(input.dtype, [&]<class T>() {
    const Rows<T> rows(params, input, target, weight);
    const Contiguous<T> g(grad), logs(log_sum_exp);
    const GradientRows<T> dx(grad_input), dt(grad_target);
    const auto& kernels = loss_kernels<T>();
    parallel_for(params.rows.numel(), rows.grain(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T scale = params.reduction == Reduction::none
                            ? g.data()[i]
                            : static_cast<T>(g.data()[0] / rows.divisor);
        T* to = dt.data() ? dt.data() + i * params.classes : nullptr;
        row_gradient(rows, kernels, i, scale, params.log_probabilities ? T{0} : logs.data()[i],
                     dx.data() + i * params.classes, to);
      }
    });
    dx.finish();
    dt.finish();
  });
}

}  // namespace pyfast
