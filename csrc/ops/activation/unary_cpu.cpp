#include "core/copy.h"
#include "core/parallel.h"
#include "ops/activation/kernel.h"
#include "ops/activation/unary.h"

namespace pyfast {

namespace {

// Elements of a chunk: a few microseconds of relu, some twenty of gelu.
constexpr std::int64_t kGrain = 1 << 14;

}  // namespace

void unary_forward(const UnaryParams& params, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    T* y = output.as<T>();
    const auto forward = unary_kernels<T>().forward;
    parallel_for(input.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      forward(params, y + begin, x.data() + begin, end - begin);
    });
  });
}

void unary_backward(const UnaryParams& params, const TensorView& grad, const TensorView& saved,
                    const TensorView& grad_input) {
  visit(saved.dtype, [&]<class T>() {
    const Contiguous<T> g(grad), s(saved);
    T* dx = grad_input.as<T>();
    const auto backward = unary_kernels<T>().backward;
    parallel_for(saved.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      backward(params, dx + begin, g.data() + begin, s.data() + begin, end - begin);
    });
  });
}

}  // namespace pyfast
