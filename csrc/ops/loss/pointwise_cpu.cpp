#include "core/copy.h"
#include "core/parallel.h"
#include "ops/loss/kernel.h"
#include "ops/loss/pointwise.h"

namespace pyfast {

namespace {

constexpr std::int64_t kBlock = 1 << 14;  // elements a chunk takes; its sum is one partial sum

template <class T>
struct Packed {
  Contiguous<T> x, t, weight, pos;
  PointwiseOperands<T> at(std::int64_t i) const {
    const auto shifted = [i](const Contiguous<T>& c) { return c.data() ? c.data() + i : nullptr; };
    return {shifted(x), shifted(t), shifted(weight), shifted(pos)};
  }
};

}  // namespace

void pointwise_forward(const PointwiseParams& params, const TensorView& input,
                       const TensorView& target, const TensorView& weight,
                       const TensorView& pos_weight, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Packed<T> in{Contiguous<T>(input), Contiguous<T>(target), Contiguous<T>(weight),
                       Contiguous<T>(pos_weight)};
    const std::int64_t n = input.numel();
    const bool reduced = params.reduction != Reduction::none;
    T* out = reduced ? nullptr : output.as<T>();
    const Workspace<double> partial((n + kBlock - 1) / kBlock);
    const auto& kernels = loss_kernels<T>();
    parallel_for(n, kBlock, [&](std::int64_t begin, std::int64_t end) {
      partial[begin / kBlock] = kernels.pointwise(params.loss, params.scale, in.at(begin),
                                                  out ? out + begin : nullptr, end - begin);
    });
    if (!reduced) return;
    double sum = 0;
    for (std::int64_t i = 0; i < partial.size(); ++i) sum += partial[i];
    output.as<T>()[0] = static_cast<T>(sum / params.divisor);
  });
}

void pointwise_backward(const PointwiseParams& params, const TensorView& grad,
                        const TensorView& input, const TensorView& target, const TensorView& weight,
                        const TensorView& pos_weight, const TensorView& grad_input,
                        const TensorView& grad_target) {
  visit(input.dtype, [&]<class T>() {
    const Packed<T> in{Contiguous<T>(input), Contiguous<T>(target), Contiguous<T>(weight),
                       Contiguous<T>(pos_weight)};
    const Contiguous<T> g(grad);
    const bool one = params.reduction != Reduction::none;
    const T mean = one ? static_cast<T>(g.data()[0] / params.divisor) : T{0};
    T* dx = grad_input.as<T>();
    T* dt = grad_target.as<T>();
    const auto& kernels = loss_kernels<T>();
    parallel_for(input.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
      kernels.pointwise_backward(params.loss, params.scale, in.at(begin),
                                 one ? &mean : g.data() + begin, one, dx + begin,
                                 dt ? dt + begin : nullptr, end - begin);
    });
  });
}

}  // namespace pyfast
