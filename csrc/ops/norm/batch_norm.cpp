// Training takes two passes over the input, inference one. Three layouts: planes (NCHW), columns
// (N, C), and channels-last images, whose statistics are column statistics and whose output is
// transposed on the way.
#include "ops/norm/batch_norm.h"

#include <cmath>

#include "core/copy.h"
#include "ops/norm/planes.h"

namespace pyfast {

namespace {

// (n, c, s): samples, channels, values of a channel in a sample.
struct Sizes {
  std::int64_t n, c, s = 1;
  explicit Sizes(const Dims& shape) : n(shape[0]), c(shape[1]) {
    for (int i = 2; i < shape.rank(); ++i) s *= shape[i];
  }
  std::int64_t values() const { return n * s; }  // per channel
};

// Matrices of `rows` rows, one per position, whose columns are the channels.
struct ChannelsLast {
  bool valid = false;
  std::int64_t images, image_stride, rows, row_stride;

  // A contiguous (n, c) matrix.
  explicit ChannelsLast(const Sizes& z)
      : valid(true), images(1), image_stride(0), rows(z.n), row_stride(z.c) {}
  // Images; not valid when their channels aren't neighbours.
  ChannelsLast(const TensorView& x, const Sizes& z)
      : images(z.n), image_stride(x.strides[0]), rows(z.s), row_stride(0) {
    if (z.c == 1 || z.s == 1 || x.strides[1] != 1) return;
    std::int64_t step = 0;  // set by the innermost axis that is longer than one
    for (int i = x.rank() - 1; i >= 2; --i) {
      if (x.shape[i] == 1) continue;
      if (row_stride == 0) row_stride = step = x.strides[i];
      if (x.strides[i] != step || step == 0) return;
      step *= x.shape[i];
    }
    valid = true;
  }
  // All positions of all images as one matrix, where the images follow each other like rows.
  ChannelsLast merged() const {
    ChannelsLast all = *this;
    if (image_stride == rows * row_stride) {
      all.rows = images * rows;
      all.images = 1;
    }
    return all;
  }
};

constexpr std::int64_t kRowsAtLeast = 256;

template <class T>
void column_statistics(const T* x, const ChannelsLast& m, std::int64_t channels, double* mean,
                       double* var) {
  const RowBlocks blocks(m.rows, kRowsAtLeast);
  const std::int64_t items = m.images * blocks.count(), width = 2 * channels;
  const Workspace<double> partial(items * width);
  const auto moments = norm_moment_kernels<T>().column_moments;
  const auto rows_of = [&](std::int64_t item) {
    const std::int64_t first = item % blocks.count() * blocks.block();
    return m.rows - first < blocks.block() ? m.rows - first : blocks.block();
  };
  parallel_for(items, grain_for(2 * blocks.block() * channels),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const T* block = x + i / blocks.count() * m.image_stride +
                                    i % blocks.count() * blocks.block() * m.row_stride;
                   double* to = partial.data() + i * width;
                   moments(block, rows_of(i), m.row_stride, channels, to, to + channels);
                 }
               });
  for (std::int64_t c = 0; c < channels; ++c) {
    Moments total{0, 0, 0};
    for (std::int64_t i = 0; i < items; ++i) {
      const double* from = partial.data() + i * width + c;
      total = merge(total, {static_cast<double>(rows_of(i)), from[0], from[channels]});
    }
    mean[c] = total.mean;
    var[c] = total.m2 / total.count;
  }
}

template <class T>
void move_all_running(const BatchNormParams& params, const BatchNormOperands& operands,
                      const Sizes& z, const double* mean, const double* var) {
  if (!operands.running_mean.defined) return;
  const double count = static_cast<double>(z.values());
  for (std::int64_t c = 0; c < z.c; ++c) {
    move_running<T>(operands.running_mean, c, params.momentum, mean[c]);
    move_running<T>(operands.running_var, c, params.momentum, var[c] * (count / (count - 1)));
  }
}

template <class T>
void copy_running(const BatchNormOperands& operands, std::int64_t channels, double* mean,
                  double* var) {
  for (std::int64_t c = 0; c < channels; ++c) {
    mean[c] = channel_value<T>(operands.running_mean, c, 0);
    var[c] = channel_value<T>(operands.running_var, c, 0);
  }
}

template <class T>
Coefficients<T> coefficients_of(const BatchNormParams& params, std::int64_t channels,
                                const double* mean, const TensorView& weight,
                                const TensorView& bias) {
  Coefficients<T> coefficients(channels);
  for (std::int64_t c = 0; c < channels; ++c)
    coefficients.set(c, {mean[c], mean[channels + c], params.eps}, channel_value<T>(weight, c, 1),
                     channel_value<T>(bias, c, 0));
  return coefficients;
}

// Training on planes that fit the cache: each channel's statistics and its output at once.
template <class T>
void resident_forward(const BatchNormParams& params, T* y, const T* x, const Sizes& z,
                      const BatchNormOperands& operands, double* mean, double* var) {
  Coefficients<T> coefficients(z.c);
  const auto moments = norm_moment_kernels<T>().moments;
  const auto forward = norm_plane_kernels<T>().forward_runs;
  for_each_set(z.c, z.values(), 4, [&](std::int64_t c) {
    const Moments m = moments(x + c * z.s, z.n, z.c * z.s, z.s);
    mean[c] = m.mean;
    var[c] = m.m2 / m.count;
    coefficients.set(c, {mean[c], var[c], params.eps}, channel_value<T>(operands.weight, c, 1),
                     channel_value<T>(operands.bias, c, 0));
    forward(y + c * z.s, x + c * z.s, z.n, z.c * z.s, z.s, coefficients.affine(c),
            params.activation);
  });
}

template <class T>
void columns_forward(T* y, const T* x, const Sizes& z, const Coefficients<T>& coefficients,
                     Activation activation) {
  const auto forward = norm_column_kernels<T>().forward;
  parallel_for(z.n, grain_for(2 * z.c), [&](std::int64_t begin, std::int64_t end) {
    forward(y + begin * z.c, x + begin * z.c, end - begin, z.c, coefficients.affine(), activation);
  });
}

template <class T>
void transposed_forward(T* y, const T* x, const ChannelsLast& m, const Sizes& z,
                        const Coefficients<T>& coefficients, Activation activation) {
  constexpr std::int64_t kRows = 64;
  const auto forward = norm_column_kernels<T>().forward_transposed;
  const std::int64_t blocks = ceil_div(z.s, kRows);
  parallel_for(z.n * blocks, grain_for(4 * kRows * z.c), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / blocks, row = i % blocks * kRows;
      forward(y + image * z.c * z.s + row, z.s, x + image * m.image_stride + row * m.row_stride,
              m.row_stride, z.s - row < kRows ? z.s - row : kRows, z.c, coefficients.affine(),
              activation);
    }
  });
}

// Writes statistics (2, channels) and moves the running ones, or copies them.
template <class T>
void statistics_for(const BatchNormParams& params, const T* x, const Sizes& z,
                    const ChannelsLast& last, const BatchNormOperands& operands,
                    const TensorView& statistics) {
  double *mean = statistics.as<double>(), *var = mean + z.c;
  if (!params.training) return copy_running<T>(operands, z.c, mean, var);
  if (last.valid)
    column_statistics(x, last.merged(), z.c, mean, var);
  else
    plane_statistics(norm_moment_kernels<T>().moments, x, z.n, z.c, z.s, mean, var);
  move_all_running<T>(params, operands, z, mean, var);
}

template <class T>
void columns_sums(const T* g, const T* x, const Sizes& z, const Coefficients<T>& coefficients,
                  Activation activation, double* sum, double* weighted) {
  const RowBlocks blocks(z.n, kRowsAtLeast);
  const Workspace<double> partial(blocks.count() * 2 * z.c);
  const auto sums = norm_column_kernels<T>().sums;
  blocks.for_each(2 * z.c, [&](std::int64_t item, std::int64_t row, std::int64_t rows) {
    double* to = partial.data() + item * 2 * z.c;
    sums(g + row * z.c, x + row * z.c, rows, z.c, coefficients.affine(), activation, to, to + z.c);
  });
  for (std::int64_t c = 0; c < z.c; ++c) {
    sum[c] = weighted[c] = 0;
    for (std::int64_t i = 0; i < blocks.count(); ++i) {
      sum[c] += partial[i * 2 * z.c + c];
      weighted[c] += partial[i * 2 * z.c + z.c + c];
    }
  }
}

template <class T>
void columns_backward(T* dx, const T* g, const T* x, const Sizes& z,
                      const Coefficients<T>& coefficients, Activation activation) {
  const auto backward = norm_column_kernels<T>().backward;
  parallel_for(z.n, grain_for(3 * z.c), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t at = begin * z.c;
    backward(dx + at, g + at, x + at, end - begin, z.c, coefficients.affine(),
             coefficients.gradient(), activation);
  });
}

// Each channel's sums and its gradient at once; use(c, sum, weighted) sets the coefficients.
template <class T, class Use>
void resident_backward(T* dx, const T* g, const T* x, const Sizes& z,
                       const Coefficients<T>& coefficients, Activation activation, Use use) {
  const auto& kernels = norm_plane_kernels<T>();
  const std::int64_t stride = z.c * z.s;
  for_each_set(z.c, z.values(), 5, [&](std::int64_t c) {
    const std::int64_t at = c * z.s;
    double sums[2];
    kernels.sums(g + at, x + at, z.n, stride, z.s, coefficients.affine(c), activation, sums);
    use(c, sums[0], sums[1]);
    kernels.backward_runs(dx + at, g + at, x + at, z.n, stride, z.s, coefficients.affine(c),
                          coefficients.gradient(c), activation);
  });
}

template <class T>
void sums_for(const BatchNormParams& params, const T* g, const T* x, const Sizes& z,
              const Coefficients<T>& coefficients, double* sum, double* weighted) {
  if (z.s == 1)
    columns_sums(g, x, z, coefficients, params.activation, sum, weighted);
  else
    plane_sums(g, x, z.n, z.c, z.s, coefficients.affine(), params.activation, sum, weighted);
}

// From the sums of dz and dz (x - centre) of channel c: grad_weight, grad_bias, and
// grad_input's coefficients (Ioffe and Szegedy 2015, section 3).
template <class T>
void use_sums(const BatchNormParams& params, const Sizes& z, std::int64_t c,
              const double* statistics, const TensorView& weight, double sum, double weighted,
              Coefficients<T>& coefficients, const TensorView& grad_weight,
              const TensorView& grad_bias) {
  const double count = static_cast<double>(z.values());
  const double mean = statistics[c], invstd = 1 / std::sqrt(statistics[z.c + c] + params.eps);
  const double scale = invstd * channel_value<T>(weight, c, 1);
  const double dot = (weighted - coefficients.rest(c, mean) * sum) * invstd;
  if (grad_weight.defined) grad_weight.as<T>()[c] = static_cast<T>(dot);
  if (grad_bias.defined) grad_bias.as<T>()[c] = static_cast<T>(sum);
  if (params.training)
    coefficients.set_gradient(c, count, mean, scale, 1, -invstd * dot / count, -sum / count);
  else
    coefficients.set_gradient(c, count, mean, scale, 1, 0, 0);
}

}  // namespace

void batch_norm_forward(const BatchNormParams& params, const TensorView& input,
                        const BatchNormOperands& operands, const TensorView& statistics,
                        const TensorView& output) {
  if (input.numel() == 0) return write_zeros(statistics);
  visit(input.dtype, [&]<class T>() {
    const Sizes z(input.shape);
    const bool columns = z.s == 1;
    const ChannelsLast last = columns ? ChannelsLast(z) : ChannelsLast(input, z);
    const bool transposed = last.valid && !columns;
    const Contiguous<T> packed(transposed ? TensorView() : input);
    const T* x = transposed ? input.as<T>() : packed.data();
    if (params.training && !last.valid && resident(z.c, z.values())) {
      double* mean = statistics.as<double>();
      resident_forward(params, output.as<T>(), x, z, operands, mean, mean + z.c);
      return move_all_running<T>(params, operands, z, mean, mean + z.c);
    }
    statistics_for(params, x, z, last, operands, statistics);
    const auto coefficients =
        coefficients_of<T>(params, z.c, statistics.as<double>(), operands.weight, operands.bias);
    T* y = output.as<T>();
    if (columns)
      columns_forward(y, x, z, coefficients, params.activation);
    else if (transposed)
      transposed_forward(y, x, last, z, coefficients, params.activation);
    else
      planes_forward(y, x, z.n * z.c, z.s, coefficients, z.c, params.activation);
  });
}

void batch_norm_backward(const BatchNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& bias,
                         const TensorView& grad_input, const TensorView& grad_weight,
                         const TensorView& grad_bias) {
  if (input.numel() == 0) {
    write_zeros(grad_weight);
    return write_zeros(grad_bias);
  }
  visit(input.dtype, [&]<class T>() {
    const Sizes z(input.shape);
    const Contiguous<T> g(grad), x(input);
    const Contiguous<double> saved(statistics);
    auto coefficients = coefficients_of<T>(params, z.c, saved.data(), weight, bias);
    T* dx = grad_input.as<T>();
    const auto use = [&](std::int64_t c, double sum, double weighted) {
      use_sums(params, z, c, saved.data(), weight, sum, weighted, coefficients, grad_weight,
               grad_bias);
    };
    if (z.s > 1 && resident(z.c, 2 * z.values()))
      return resident_backward(dx, g.data(), x.data(), z, coefficients, params.activation, use);
    const Workspace<double> sums(2 * z.c);
    double *sum = sums.data(), *weighted = sum + z.c;
    sums_for(params, g.data(), x.data(), z, coefficients, sum, weighted);
    for (std::int64_t c = 0; c < z.c; ++c) use(c, sum[c], weighted[c]);
    if (z.s == 1)
      columns_backward(dx, g.data(), x.data(), z, coefficients, params.activation);
    else
      planes_backward(dx, g.data(), x.data(), z.n * z.c, z.s, coefficients, z.c, params.activation);
  });
}

}  // namespace pyfast
