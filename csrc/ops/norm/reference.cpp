// Every normalisation is one thing: elements fall into sets that share statistics and into channels
// that share weights. Two passes in double.
#include <cmath>
#include <vector>

#include "core/copy.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/layer_norm.h"
#include "ops/norm/operands.h"

namespace pyfast::reference {

namespace {

// Element i belongs to channel (i / inner) % channels, and to set i / run; a run of 0 makes every
// channel one set.
struct Sets {
  std::int64_t numel, channels, inner, run;
  std::int64_t channel(std::int64_t i) const { return i / inner % channels; }
  std::int64_t set(std::int64_t i) const { return run == 0 ? channel(i) : i / run; }
  std::int64_t count() const { return run == 0 ? channels : numel / run; }
  double size() const { return static_cast<double>(numel) / static_cast<double>(count()); }
};

Sets by_channel(const TensorView& input) {
  std::int64_t inner = 1;
  for (int i = 2; i < input.rank(); ++i) inner *= input.shape[i];
  return {input.numel(), input.shape[1], inner, 0};
}

Sets by_group(const TensorView& input, std::int64_t groups) {
  Sets sets = by_channel(input);
  sets.run = sets.inner * (sets.channels / groups);
  return sets;
}

Sets by_row(const TensorView& input, const Dims& row) {
  return {input.numel(), row.numel(), 1, row.numel()};
}

template <class T>
void measure(const Sets& sets, const T* x, bool about_zero, double* mean, double* var) {
  for (std::int64_t s = 0; s < sets.count(); ++s) mean[s] = var[s] = 0;
  if (!about_zero)
    for (std::int64_t i = 0; i < sets.numel; ++i) mean[sets.set(i)] += double{x[i]} / sets.size();
  for (std::int64_t i = 0; i < sets.numel; ++i) {
    const double d = double{x[i]} - mean[sets.set(i)];
    var[sets.set(i)] += d * d / sets.size();
  }
}

// An optional operand, packed; absent ones read as a constant.
template <class T>
class Weights {
 public:
  Weights(const TensorView& view, double otherwise) : data_(view), otherwise_(otherwise) {}
  double operator[](std::int64_t c) const {
    return data_.data() ? double{data_.data()[c]} : otherwise_;
  }

 private:
  Contiguous<T> data_;
  double otherwise_;
};

template <class T>
void normalize(const Sets& sets, double eps, Activation activation, const T* x, const double* mean,
               const double* var, const TensorView& weight, const TensorView& bias, T* y) {
  const Weights<T> w(weight, 1), b(bias, 0);
  for (std::int64_t i = 0; i < sets.numel; ++i) {
    const std::int64_t s = sets.set(i), c = sets.channel(i);
    const double xhat = (double{x[i]} - mean[s]) / std::sqrt(var[s] + eps);
    y[i] = static_cast<T>(activate(activation, xhat * w[c] + b[c]));
  }
}

struct Rule {
  double eps;
  Activation activation = Activation::none;
  bool constant_statistics = false;  // inference: they don't depend on the input
  bool about_zero = false;
};

template <class T>
void write(const TensorView& to, const std::vector<double>& from) {
  if (!to.defined) return;
  for (std::size_t i = 0; i < from.size(); ++i) to.as<T>()[i] = static_cast<T>(from[i]);
}

template <class T>
void backward(const Sets& sets, const Rule& rule, const TensorView& grad, const TensorView& input,
              const TensorView& statistics, const TensorView& weight, const TensorView& bias,
              const TensorView& grad_input, const TensorView& grad_weight,
              const TensorView& grad_bias) {
  const Contiguous<T> g(grad), x(input);
  const Contiguous<double> mean(statistics);
  const double* var = mean.data() + sets.count();
  const Weights<T> w(weight, 1), b(bias, 0);
  std::vector<double> dz(static_cast<std::size_t>(sets.numel)), xhat(dz);
  std::vector<double> total(static_cast<std::size_t>(sets.count())), dot(total);
  std::vector<double> dw(static_cast<std::size_t>(sets.channels)), db(dw);
  for (std::int64_t i = 0; i < sets.numel; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t s = sets.set(i), c = sets.channel(i);
    const auto set = static_cast<std::size_t>(s), channel = static_cast<std::size_t>(c);
    xhat[at] = (double{x.data()[i]} - mean.data()[s]) / std::sqrt(var[s] + rule.eps);
    const double z = xhat[at] * w[c] + b[c];
    const double saved = saves_input(rule.activation) ? z : activate(rule.activation, z);
    dz[at] = activate_backward(rule.activation, double{g.data()[i]}, saved);
    dw[channel] += dz[at] * xhat[at];
    db[channel] += dz[at];
    if (!rule.about_zero) total[set] += dz[at] * w[c] / sets.size();
    dot[set] += dz[at] * w[c] * xhat[at] / sets.size();
  }
  for (std::int64_t i = 0; i < sets.numel; ++i) {
    const auto at = static_cast<std::size_t>(i), set = static_cast<std::size_t>(sets.set(i));
    const double direct = dz[at] * w[sets.channel(i)];
    const double through = rule.constant_statistics ? 0 : total[set] + xhat[at] * dot[set];
    grad_input.as<T>()[i] =
        static_cast<T>((direct - through) / std::sqrt(var[sets.set(i)] + rule.eps));
  }
  write<T>(grad_weight, dw);
  write<T>(grad_bias, db);
}

// An empty input has no statistics and no gradients.
bool nothing(const TensorView& input, std::initializer_list<TensorView> outputs) {
  if (input.numel() != 0) return false;
  for (const TensorView& output : outputs) write_zeros(output);
  return true;
}

}  // namespace

void batch_norm_forward(const BatchNormParams& params, const TensorView& input,
                        const BatchNormOperands& operands, const TensorView& statistics,
                        const TensorView& output) {
  if (nothing(input, {statistics})) return;
  visit(input.dtype, [&]<class T>() {
    const Sets sets = by_channel(input);
    const Contiguous<T> x(input);
    double *mean = statistics.as<double>(), *var = mean + sets.channels;
    if (params.training) measure(sets, x.data(), false, mean, var);
    for (std::int64_t c = 0; c < sets.channels; ++c) {
      if (!params.training) {
        mean[c] = channel_value<T>(operands.running_mean, c, 0);
        var[c] = channel_value<T>(operands.running_var, c, 0);
      } else if (operands.running_mean.defined) {
        const double unbiased = var[c] * sets.size() / (sets.size() - 1);
        move_running<T>(operands.running_mean, c, params.momentum, mean[c]);
        move_running<T>(operands.running_var, c, params.momentum, unbiased);
      }
    }
    normalize(sets, params.eps, params.activation, x.data(), mean, var, operands.weight,
              operands.bias, output.as<T>());
  });
}

void batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& bias,
                         const TensorView& grad_input, const TensorView& grad_weight,
                         const TensorView& grad_bias) {
  if (nothing(input, {grad_weight, grad_bias})) return;
  visit(input.dtype, [&]<class T>() {
    backward<T>(by_channel(input), {params.eps, params.activation, !params.training}, grad, input,
                statistics, weight, bias, grad_input, grad_weight, grad_bias);
  });
}

void group_norm_forward(const GroupNormParams& params, const TensorView& input,
                        const GroupNormOperands& operands, const TensorView& statistics,
                        const TensorView& output) {
  if (nothing(input, {statistics})) return;
  visit(input.dtype, [&]<class T>() {
    const Sets sets = by_group(input, params.groups);
    const Contiguous<T> x(input);
    double *mean = statistics.as<double>(), *var = mean + sets.count();
    measure(sets, x.data(), false, mean, var);
    for (std::int64_t c = 0; operands.running_mean.defined && c < sets.channels; ++c) {
      double mean_sum = 0, var_sum = 0;
      for (std::int64_t s = c; s < sets.count(); s += sets.channels) {
        mean_sum += mean[s];
        var_sum += var[s] * sets.size() / (sets.size() - 1);
      }
      const double samples = static_cast<double>(input.shape[0]);
      move_running<T>(operands.running_mean, c, params.momentum, mean_sum / samples);
      move_running<T>(operands.running_var, c, params.momentum, var_sum / samples);
    }
    normalize(sets, params.eps, Activation::none, x.data(), mean, var, operands.weight,
              operands.bias, output.as<T>());
  });
}

void group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias) {
  if (nothing(input, {grad_weight, grad_bias})) return;
  visit(input.dtype, [&]<class T>() {
    backward<T>(by_group(input, params.groups), {params.eps}, grad, input, statistics, weight,
                TensorView(), grad_input, grad_weight, grad_bias);
  });
}

void layer_norm_forward(const LayerNormParams& params, const TensorView& input,
                        const TensorView& weight, const TensorView& bias,
                        const TensorView& statistics, const TensorView& output) {
  if (nothing(input, {statistics})) return;
  visit(input.dtype, [&]<class T>() {
    const Sets sets = by_row(input, params.normalized_shape);
    const Contiguous<T> x(input);
    const Workspace<double> own(2 * sets.count());
    double* mean = statistics.defined ? statistics.as<double>() : own.data();
    measure(sets, x.data(), params.rms, mean, mean + sets.count());
    normalize(sets, params.eps, Activation::none, x.data(), mean, mean + sets.count(), weight, bias,
              output.as<T>());
  });
}

void layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias) {
  if (nothing(input, {grad_weight, grad_bias})) return;
  visit(input.dtype, [&]<class T>() {
    backward<T>(by_row(input, params.normalized_shape),
                {params.eps, Activation::none, false, params.rms}, grad, input, statistics, weight,
                TensorView(), grad_input, grad_weight, grad_bias);
  });
}

}  // namespace pyfast::reference
