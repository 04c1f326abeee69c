#include <cmath>

#include "core/copy.h"
#include "core/memory.h"
#include "ops/activation/glu.h"
#include "ops/activation/prelu.h"

namespace pyfast::reference {

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// body(i, a, b): output element i and where its two halves are in the input.
template <class Body>
void for_each_gate(const GluParams& params, Body body) {
  for (std::int64_t i = 0; i < params.outer * params.width; ++i) {
    const std::int64_t a = i / params.width * 2 * params.width + i % params.width;
    body(i, a, a + params.width);
  }
}

}  // namespace

void glu_forward(const GluParams& params, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> packed(input);
    const T* x = packed.data();
    for_each_gate(params, [&](std::int64_t i, std::int64_t a, std::int64_t b) {
      output.as<T>()[i] = static_cast<T>(x[a] * sigmoid(x[b]));
    });
  });
}

void glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input,
                  const TensorView& grad_input) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> packed(input), g(grad);
    const T* x = packed.data();
    T* dx = grad_input.as<T>();
    for_each_gate(params, [&](std::int64_t i, std::int64_t a, std::int64_t b) {
      const double s = sigmoid(x[b]);
      dx[a] = static_cast<T>(g.data()[i] * s);
      dx[b] = static_cast<T>(g.data()[i] * (x[a] * s * (1 - s)));
    });
  });
}

void prelu_forward(const PReluParams& params, const TensorView& input, const TensorView& weight,
                   const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input), w(weight);
    for (std::int64_t i = 0; i < input.numel(); ++i) {
      const T slope = w.data()[i / params.inner % params.channels];
      output.as<T>()[i] = x.data()[i] > 0 ? x.data()[i] : slope * x.data()[i];
    }
  });
}

void prelu_backward(const PReluParams& params, const TensorView& grad, const TensorView& input,
                    const TensorView& weight, const TensorView& grad_input,
                    const TensorView& grad_weight) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> packed(input), g(grad), w(weight);
    const Workspace<double> dw(params.channels);
    for (std::int64_t c = 0; c < params.channels; ++c) dw[c] = 0;
    for (std::int64_t i = 0; i < input.numel(); ++i) {
      const std::int64_t channel = i / params.inner % params.channels;
      const T x = packed.data()[i], gi = g.data()[i];
      grad_input.as<T>()[i] = x > 0 ? gi : w.data()[channel] * gi;
      if (!(x > 0)) dw[channel] += double{gi} * double{x};
    }
    for (std::int64_t c = 0; c < params.channels; ++c)
      grad_weight.as<T>()[c] = static_cast<T>(dw[c]);
  });
}

}  // namespace pyfast::reference
