// One output element at a time, in double.
#include "core/copy.h"
#include "ops/linear/linear.h"

namespace pyfast::reference {

namespace {

struct Sizes {
  std::int64_t rows, in, out;
};

Sizes sizes_of(const TensorView& input, const TensorView& weight) {
  const std::int64_t in = weight.shape.back(), out = weight.rank() == 2 ? weight.shape[0] : 1;
  std::int64_t rows = 1;
  for (int i = 0; i + 1 < input.rank(); ++i) rows *= input.shape[i];
  return {rows, in, out};
}

// sum over i < n of x[i * x_step] * y[i * y_step]
template <class X, class Y>
double dot(const X* x, std::int64_t x_step, const Y* y, std::int64_t y_step, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double{x[i * x_step]} * double{y[i * y_step]};
  return sum;
}

}  // namespace

void linear_forward(Activation activation, const TensorView& input, const TensorView& weight,
                    const TensorView& bias, const TensorView& output, const TensorView& saved) {
  visit(input.dtype, [&]<class T>() {
    const auto [rows, in, out] = sizes_of(input, weight);
    const Contiguous<T> x(input), w(weight), b(bias);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t o = 0; o < out; ++o) {
        double sum = dot(x.data() + r * in, 1, w.data() + o * in, 1, in);
        if (b.data()) sum += double{b.data()[o]};
        if (saved.defined) saved.as<T>()[r * out + o] = static_cast<T>(sum);
        output.as<T>()[r * out + o] = static_cast<T>(activate(activation, sum));
      }
  });
}

void linear_backward(Activation activation, const TensorView& grad, const TensorView& input,
                     const TensorView& weight, const TensorView& saved,
                     const TensorView& grad_input, const TensorView& grad_weight,
                     const TensorView& grad_bias) {
  visit(input.dtype, [&]<class T>() {
    const auto [rows, in, out] = sizes_of(input, weight);
    const Contiguous<T> g(grad), x(input), w(weight), s(saved);
    Workspace<double> dz(rows * out);
    for (std::int64_t i = 0; i < rows * out; ++i)
      dz[i] =
          activate_backward(activation, double{g.data()[i]}, s.data() ? double{s.data()[i]} : 0.0);
    for (std::int64_t r = 0; grad_input.defined && r < rows; ++r)
      for (std::int64_t i = 0; i < in; ++i)
        grad_input.as<T>()[r * in + i] =
            static_cast<T>(dot(dz.data() + r * out, 1, w.data() + i, in, out));
    for (std::int64_t o = 0; grad_weight.defined && o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i)
        grad_weight.as<T>()[o * in + i] =
            static_cast<T>(dot(dz.data() + o, out, x.data() + i, in, rows));
    const double one = 1;
    for (std::int64_t o = 0; grad_bias.defined && o < out; ++o)
      grad_bias.as<T>()[o] = static_cast<T>(dot(dz.data() + o, out, &one, 0, rows));
  });
}

}  // namespace pyfast::reference
