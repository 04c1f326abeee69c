#include "core/copy.h"
#include "core/philox.h"
#include "ops/dropout/dropout.h"

namespace pyfast::reference {

namespace {

bool kept(const DropoutParams& params, std::int64_t i) {
  const auto unit = static_cast<std::uint64_t>(i / params.span);
  return philox_word(params.seed, params.offset, unit) >= drop_threshold(params.p);
}

}  // namespace

void dropout_forward(const DropoutParams& params, const TensorView& input,
                     const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    for (std::int64_t i = 0; i < input.numel(); ++i)
      output.as<T>()[i] =
          static_cast<T>(kept(params, i) ? params.scale * x.data()[i] + params.shift : params.fill);
  });
}

void dropout_backward(const DropoutParams& params, const TensorView& grad,
                      const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    for (std::int64_t i = 0; i < grad.numel(); ++i)
      grad_input.as<T>()[i] = static_cast<T>(kept(params, i) ? params.scale * g.data()[i] : 0.0);
  });
}

}  // namespace pyfast::reference
