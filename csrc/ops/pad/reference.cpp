// One output element at a time, its input found axis by axis.
#include <vector>

#include "core/copy.h"
#include "ops/pad/pad.h"

namespace pyfast::reference {

namespace {

// The input position along one axis, or -1 outside; found by walking instead of by formula.
std::int64_t walk(const PadAxis& axis, PadMode mode, std::int64_t o) {
  const std::int64_t low = mode == PadMode::circular ? axis.kept_begin() : 0;
  const std::int64_t high = mode == PadMode::circular ? low + axis.kept() : axis.in;
  std::int64_t i = o - axis.before;
  while (i < low || i >= high) {
    const bool left = i < low;
    if (mode == PadMode::constant) return -1;
    if (mode == PadMode::reflect) i = left ? -i : 2 * (high - 1) - i;
    if (mode == PadMode::replicate) i += left ? 1 : -1;
    if (mode == PadMode::circular) i += left ? high - low : low - high;
  }
  return i;
}

// body(input position, output position) for every output; -1 where the constant is.
template <class Body>
void for_each_element(const PadParams& params, Body body) {
  const Dims& shape = params.output_shape;
  for (std::int64_t o = 0; o < shape.numel(); ++o) {
    std::int64_t rest = o, step = 1, at = 0;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      const std::int64_t position = walk(params.axis(i), params.mode, rest % shape[i]);
      if (position < 0 || at < 0)
        at = -1;
      else
        at += position * step;
      step *= params.input_shape[i];
      rest /= shape[i];
    }
    body(at, o);
  }
}

}  // namespace

void pad_forward(const PadParams& params, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    for_each_element(params, [&](std::int64_t i, std::int64_t o) {
      output.as<T>()[o] = i < 0 ? static_cast<T>(params.value) : x.data()[i];
    });
  });
}

void pad_backward(const PadParams& params, const TensorView& grad, const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    std::vector<double> sums(static_cast<std::size_t>(grad_input.numel()));
    for_each_element(params, [&](std::int64_t i, std::int64_t o) {
      if (i >= 0) sums[static_cast<std::size_t>(i)] += double{g.data()[o]};
    });
    for (std::size_t i = 0; i < sums.size(); ++i) grad_input.as<T>()[i] = static_cast<T>(sums[i]);
  });
}

}  // namespace pyfast::reference
