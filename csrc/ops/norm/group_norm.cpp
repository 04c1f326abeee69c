// A group's values are contiguous: its statistics are those of one long plane. The affine map is
// one per channel of a sample, a plane. Positions = 1 makes a group a row (ops/norm/rows.h).
#include "ops/norm/group_norm.h"

#include <cmath>

#include "core/copy.h"
#include "ops/norm/planes.h"
#include "ops/norm/rows.h"

namespace pyfast {

namespace {

// (n, c, s): samples, channels, positions; `groups` of `per_group` channels.
struct Sizes {
  std::int64_t n, c, s = 1, groups, per_group;
  Sizes(const GroupNormParams& params, const Dims& shape)
      : n(shape[0]), c(shape[1]), groups(params.groups), per_group(c / groups) {
    for (int i = 2; i < shape.rank(); ++i) s *= shape[i];
  }
  std::int64_t sets() const { return n * groups; }
  std::int64_t set_values() const { return per_group * s; }
  Rows rows() const { return {n, groups, per_group, false}; }
};

template <class T>
void set_coefficients(const GroupNormParams& params, const Sizes& z, std::int64_t set,
                      const double* mean, const TensorView& weight, const TensorView& bias,
                      Coefficients<T>& coefficients) {
  const SetStatistics statistics(mean[set], mean[z.sets() + set], params.eps);
  for (std::int64_t k = 0; k < z.per_group; ++k) {
    const std::int64_t c = set % z.groups * z.per_group + k;
    coefficients.set(set * z.per_group + k, statistics, channel_value<T>(weight, c, 1),
                     channel_value<T>(bias, c, 0));
  }
}

// Sets that fit the cache: statistics and output of each at once.
template <class T>
void resident_forward(const GroupNormParams& params, const Sizes& z, T* y, const T* x,
                      const GroupNormOperands& operands, double* mean) {
  Coefficients<T> coefficients(z.n * z.c);
  const auto moments = norm_moment_kernels<T>().moments;
  const auto forward = norm_plane_kernels<T>().forward;
  for_each_set(z.sets(), z.set_values(), 4, [&](std::int64_t set) {
    const std::int64_t at = set * z.set_values();
    const Moments m = moments(x + at, 1, 0, z.set_values());
    mean[set] = m.mean;
    mean[z.sets() + set] = m.m2 / m.count;
    set_coefficients(params, z, set, mean, operands.weight, operands.bias, coefficients);
    forward(y + at, x + at, z.per_group, z.s, coefficients.affine(set * z.per_group),
            Activation::none);
  });
}

// Instance norm: every running value moves once, towards the average over the samples.
template <class T>
void move_all_running(const GroupNormParams& params, const Sizes& z, const double* statistics,
                      const GroupNormOperands& operands) {
  if (!operands.running_mean.defined) return;
  const double count = static_cast<double>(z.s), samples = static_cast<double>(z.n);
  for (std::int64_t c = 0; c < z.c; ++c) {
    double mean = 0, var = 0;
    for (std::int64_t i = 0; i < z.n; ++i) {
      mean += statistics[i * z.c + c];
      var += statistics[z.sets() + i * z.c + c];
    }
    move_running<T>(operands.running_mean, c, params.momentum, mean / samples);
    move_running<T>(operands.running_var, c, params.momentum,
                    var / samples * (count / (count - 1)));
  }
}

// Sums per plane -> coefficients of grad_input of one set (Wu and He 2018, equation 7
// differentiated). weighted becomes the sum of g xhat.
template <class T>
void use_sums(const GroupNormParams& params, const Sizes& z, std::int64_t set, const double* mean,
              const TensorView& weight, const double* sum, double* weighted,
              Coefficients<T>& coefficients) {
  const double count = static_cast<double>(z.set_values());
  const double invstd = 1 / std::sqrt(mean[z.sets() + set] + params.eps);
  const std::int64_t plane = set * z.per_group, channel = set % z.groups * z.per_group;
  double total = 0, dot = 0;
  for (std::int64_t k = 0; k < z.per_group; ++k) {
    const std::int64_t p = plane + k;
    weighted[p] = (weighted[p] - coefficients.rest(p, mean[set]) * sum[p]) * invstd;
    total += channel_value<T>(weight, channel + k, 1) * sum[p];
    dot += channel_value<T>(weight, channel + k, 1) * weighted[p];
  }
  for (std::int64_t k = 0; k < z.per_group; ++k)
    coefficients.set_gradient(plane + k, count, mean[set], invstd,
                              channel_value<T>(weight, channel + k, 1), -invstd * dot / count,
                              -total / count);
}

// Sets that fit the cache: sums and gradient of each at once; use(set) sets the coefficients.
template <class T, class Use>
void resident_backward(const Sizes& z, T* dx, const T* g, const T* x,
                       const Coefficients<T>& coefficients, double* sum, double* weighted,
                       Use use) {
  const auto& kernels = norm_plane_kernels<T>();
  for_each_set(z.sets(), z.set_values(), 5, [&](std::int64_t set) {
    const std::int64_t first = set * z.per_group, at = first * z.s;
    for (std::int64_t p = first; p < first + z.per_group; ++p) {
      double sums[2];
      kernels.sums(g + p * z.s, x + p * z.s, 1, 0, z.s, coefficients.affine(p), Activation::none,
                   sums);
      sum[p] = sums[0];
      weighted[p] = sums[1];
    }
    use(set);
    kernels.backward(dx + at, g + at, x + at, z.per_group, z.s, coefficients.affine(first),
                     coefficients.gradient(first), Activation::none);
  });
}

// to[c] = sum over the samples
template <class T>
void sum_samples(const TensorView& to, const Sizes& z, const double* from) {
  if (!to.defined) return;
  for (std::int64_t c = 0; c < z.c; ++c) {
    double total = 0;
    for (std::int64_t i = 0; i < z.n; ++i) total += from[i * z.c + c];
    to.as<T>()[c] = static_cast<T>(total);
  }
}

}  // namespace

void group_norm_forward(const GroupNormParams& params, const TensorView& input,
                        const GroupNormOperands& operands, const TensorView& statistics,
                        const TensorView& output) {
  if (input.numel() == 0) return write_zeros(statistics);
  visit(input.dtype, [&]<class T>() {
    const Sizes z(params, input.shape);
    const Contiguous<T> x(input), w(operands.weight), b(operands.bias);
    T* y = output.as<T>();
    double *mean = statistics.as<double>(), *var = mean + z.sets();
    if (z.s == 1)
      return rows_forward(z.rows(), params.eps, y, x.data(), w.data(), b.data(), mean, var);
    if (resident(z.sets(), z.set_values())) {
      resident_forward(params, z, y, x.data(), operands, mean);
      return move_all_running<T>(params, z, mean, operands);
    }
    plane_statistics(norm_moment_kernels<T>().moments, x.data(), 1, z.sets(), z.set_values(), mean,
                     var);
    move_all_running<T>(params, z, mean, operands);
    Coefficients<T> coefficients(z.n * z.c);
    for (std::int64_t set = 0; set < z.sets(); ++set)
      set_coefficients(params, z, set, mean, operands.weight, operands.bias, coefficients);
    planes_forward(y, x.data(), z.n * z.c, z.s, coefficients, z.n * z.c, Activation::none);
  });
}

void group_norm_backward(const GroupNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias) {
  if (input.numel() == 0) {
    write_zeros(grad_weight);
    return write_zeros(grad_bias);
  }
  visit(input.dtype, [&]<class T>() {
    const Sizes z(params, input.shape);
    const std::int64_t planes = z.n * z.c;
    const Contiguous<T> g(grad), x(input), w(weight);
    const Contiguous<double> mean(statistics);
    T* dx = grad_input.as<T>();
    if (z.s == 1)
      return rows_backward(z.rows(), params.eps, dx, g.data(), x.data(), w.data(), mean.data(),
                           mean.data() + z.sets(), grad_weight.as<T>(), grad_bias.as<T>());
    Coefficients<T> coefficients(planes);
    for (std::int64_t set = 0; set < z.sets(); ++set)
      set_coefficients(params, z, set, mean.data(), weight, TensorView(), coefficients);
    const Workspace<double> sums(2 * planes);
    double *sum = sums.data(), *weighted = sum + planes;
    const auto use = [&](std::int64_t set) {
      use_sums(params, z, set, mean.data(), weight, sum, weighted, coefficients);
    };
    const bool at_once = resident(z.sets(), 2 * z.set_values());
    if (at_once) {
      resident_backward(z, dx, g.data(), x.data(), coefficients, sum, weighted, use);
    } else {
      plane_sums(g.data(), x.data(), 1, planes, z.s, coefficients.affine(), Activation::none, sum,
                 weighted);
      for (std::int64_t set = 0; set < z.sets(); ++set) use(set);
    }
    sum_samples<T>(grad_weight, z, weighted);
    sum_samples<T>(grad_bias, z, sum);
    if (!at_once)
      planes_backward(dx, g.data(), x.data(), planes, z.s, coefficients, planes, Activation::none);
  });
}

}  // namespace pyfast
