#include "ops/activation/softmin.h"

#include "core/copy.h"
#include "core/parallel.h"

namespace pyfast {

namespace {

void negate(const TensorView& input, const TensorView& output) {  // output may be input
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    T* y = output.as<T>();
    parallel_for(input.numel(), grain_for(2), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) y[i] = -x.data()[i];
    });
  });
}

}  // namespace

// Softmax reads a row before it writes it, so it may run in place.
void softmin_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output) {
  negate(input, output);
  softmax_forward(params, output, output);
}

void softmin_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input) {
  softmax_backward(params, grad, output, grad_input);
  negate(grad_input, grad_input);
}

namespace reference {

void softmin_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output) {
  negate(input, output);
  reference::softmax_forward(params, output, output);
}

void softmin_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input) {
  reference::softmax_backward(params, grad, output, grad_input);
  negate(grad_input, grad_input);
}

}  // namespace reference

}  // namespace pyfast
