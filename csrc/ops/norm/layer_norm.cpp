// The last axes as rows: see rows.cpp.
#include "ops/norm/layer_norm.h"

#include "core/copy.h"
#include "ops/norm/operands.h"
#include "ops/norm/rows.h"

namespace pyfast {

namespace {

Rows rows_of(const LayerNormParams& params, const TensorView& input) {
  const std::int64_t length = params.normalized_shape.numel();
  return {input.numel() / length, 1, length, params.rms};
}

}  // namespace

void layer_norm_forward(const LayerNormParams& params, const TensorView& input,
                        const TensorView& weight, const TensorView& bias,
                        const TensorView& statistics, const TensorView& output) {
  if (input.numel() == 0) return write_zeros(statistics);
  visit(input.dtype, [&]<class T>() {
    const Rows rows = rows_of(params, input);
    const Contiguous<T> x(input), w(weight), b(bias);
    double* mean = statistics.as<double>();
    rows_forward(rows, params.eps, output.as<T>(), x.data(), w.data(), b.data(), mean,
                 mean ? mean + rows.count() : nullptr);
  });
}

void layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias) {
  if (input.numel() == 0) {
    write_zeros(grad_weight);
    return write_zeros(grad_bias);
  }
  visit(input.dtype, [&]<class T>() {
    const Rows rows = rows_of(params, input);
    const Contiguous<T> g(grad), x(input), w(weight);
    const Contiguous<double> mean(statistics);
    rows_backward(rows, params.eps, grad_input.as<T>(), g.data(), x.data(), w.data(), mean.data(),
                  mean.data() + rows.count(), grad_weight.as<T>(), grad_bias.as<T>());
  });
}

}  // namespace pyfast
