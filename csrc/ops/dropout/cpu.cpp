#include <algorithm>

#include "core/copy.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/dropout/dropout.h"
#include "ops/dropout/kernel.h"

namespace pyfast {

namespace {

constexpr std::int64_t kBlock = 1 << 14;  // elements a chunk takes: divisible by Philox's four

// output = mask(scale * input + shift, else fill), both in C order.
template <class T>
void apply(const DropoutParams& d, const T* x, T* y, std::int64_t n, T shift, T fill) {
  const auto& kernels = dropout_kernels<T>();
  const std::uint64_t threshold = drop_threshold(d.p);
  const T scale = static_cast<T>(d.scale);
  if (d.span == 1) {
    parallel_for(n, kBlock, [&](std::int64_t begin, std::int64_t end) {
      kernels.elements(y + begin, x + begin, end - begin, d.seed, d.offset,
                       static_cast<std::uint64_t>(begin), threshold, scale, shift, fill);
    });
    return;
  }
  parallel_for(n / d.span, grain_for(d.span), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      T* to = y + unit * d.span;
      if (philox_word(d.seed, d.offset, static_cast<std::uint64_t>(unit)) >= threshold)
        kernels.affine(to, x + unit * d.span, d.span, scale, shift);
      else
        std::fill_n(to, d.span, fill);
    }
  });
}

}  // namespace

void dropout_forward(const DropoutParams& params, const TensorView& input,
                     const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    apply(params, x.data(), output.as<T>(), input.numel(), static_cast<T>(params.shift),
          static_cast<T>(params.fill));
  });
}

void dropout_backward(const DropoutParams& params, const TensorView& grad,
                      const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    apply(params, g.data(), grad_input.as<T>(), grad.numel(), T{0}, T{0});
  });
}

}  // namespace pyfast
