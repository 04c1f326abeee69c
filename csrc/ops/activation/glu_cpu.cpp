#include "core/copy.h"
#include "core/parallel.h"
#include "ops/activation/glu.h"
#include "ops/activation/kernel_gated.h"

namespace pyfast {

namespace {

constexpr std::int64_t kGrain = 1 << 13;  // outputs of a chunk

// body(i, a, n) for runs of n outputs from i on, whose first half begins at a in the input.
template <class Body>
void for_each_run(const GluParams& params, Body body) {
  const std::int64_t width = params.width;
  parallel_for(params.outer * width, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t at = i % width, rest = width - at;
      const std::int64_t n = rest < end - i ? rest : end - i;
      body(i, (i - at) * 2 + at, n);
      i += n;
    }
  });
}

}  // namespace

void glu_forward(const GluParams& params, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    T* y = output.as<T>();
    const auto glu = gated_kernels<T>().glu;
    for_each_run(params, [&](std::int64_t i, std::int64_t a, std::int64_t n) {
      glu(y + i, x.data() + a, x.data() + a + params.width, n);
    });
  });
}

void glu_backward(const GluParams& params, const TensorView& grad, const TensorView& input,
                  const TensorView& grad_input) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> g(grad), x(input);
    T* dx = grad_input.as<T>();
    const auto backward = gated_kernels<T>().glu_backward;
    for_each_run(params, [&](std::int64_t i, std::int64_t a, std::int64_t n) {
      const std::int64_t b = a + params.width;
      backward(dx + a, dx + b, g.data() + i, x.data() + a, x.data() + b, n);
    });
  });
}

}  // namespace pyfast
