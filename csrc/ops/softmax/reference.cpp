// One row at a time, in double.
#include <cmath>
#include <limits>

#include "core/copy.h"
#include "ops/softmax/layout.h"
#include "ops/softmax/softmax.h"

namespace pyfast::reference {

void softmax_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const SoftmaxLayout s(params, input.shape);
    const Contiguous<T> packed(input);
    for (std::int64_t row = 0; row < s.outer * s.inner; ++row) {
      const T* x = packed.data() + s.start(row);
      T* y = output.as<T>() + s.start(row);
      double top = -std::numeric_limits<double>::infinity(), sum = 0;
      for (std::int64_t i = 0; i < s.n; ++i) {
        const double v = x[i * s.inner];
        if (v > top || std::isnan(v)) top = v;
        if (std::isnan(top)) break;
      }
      for (std::int64_t i = 0; i < s.n; ++i) sum += std::exp(double{x[i * s.inner]} - top);
      for (std::int64_t i = 0; i < s.n; ++i) {
        const double shifted = double{x[i * s.inner]} - top;
        y[i * s.inner] =
            static_cast<T>(params.log ? shifted - std::log(sum) : std::exp(shifted) / sum);
      }
    }
  });
}

void softmax_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input) {
  visit(output.dtype, [&]<class T>() {
    const SoftmaxLayout s(params, output.shape);
    const Contiguous<T> packed_grad(grad), packed_output(output);
    for (std::int64_t row = 0; row < s.outer * s.inner; ++row) {
      const T* g = packed_grad.data() + s.start(row);
      const T* y = packed_output.data() + s.start(row);
      T* dx = grad_input.as<T>() + s.start(row);
      double sum = 0;
      for (std::int64_t i = 0; i < s.n; ++i)
        sum += double{g[i * s.inner]} * (params.log ? 1.0 : double{y[i * s.inner]});
      for (std::int64_t i = 0; i < s.n; ++i) {
        const double gi = g[i * s.inner], yi = y[i * s.inner];
        dx[i * s.inner] = static_cast<T>(params.log ? gi - std::exp(yi) * sum : yi * (gi - sum));
      }
    }
  });
}

}  // namespace pyfast::reference
