#include "core/copy.h"
#include "core/parallel.h"
#include "ops/softmax/kernel.h"
#include "ops/softmax/layout.h"
#include "ops/softmax/softmax.h"

namespace pyfast {

namespace {

// Neighbouring columns handled together when the axis is not the last: a few cache lines wide.
constexpr std::int64_t kColumns = 64;
// Rough cost of one element in grain_for's unit: an exp and three passes.
constexpr std::int64_t kCost = 8;

// rows(start, count) for contiguous rows that follow each other, or columns(start, count) for every
// bundle of neighbouring columns.
template <class Rows, class Columns>
void for_each_bundle(const SoftmaxLayout& s, Rows rows, Columns columns) {
  const std::int64_t width = s.inner < kColumns ? s.inner : kColumns;
  if (s.n == 0 || width == 0) return;
  if (s.inner == 1)
    return parallel_for(s.outer, grain_for(s.n * kCost), [&](std::int64_t begin, std::int64_t end) {
      rows(begin * s.n, end - begin);
    });
  const std::int64_t bundles = (s.inner + width - 1) / width;
  parallel_for(s.outer * bundles, grain_for(s.n * width * kCost),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t column = i % bundles * width;
                   const std::int64_t rest = s.inner - column;
                   columns(i / bundles * s.n * s.inner + column, rest < width ? rest : width);
                 }
               });
}

}  // namespace

void softmax_forward(const SoftmaxParams& params, const TensorView& input,
                     const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const SoftmaxLayout s(params, input.shape);
    const Contiguous<T> x(input);
    T* y = output.as<T>();
    const auto& kernels = softmax_kernels<T>();
    for_each_bundle(
        s,
        [&](std::int64_t at, std::int64_t rows) {
          kernels.forward_rows(y + at, x.data() + at, rows, s.n, params.log);
        },
        [&](std::int64_t at, std::int64_t columns) {
          kernels.forward_columns(y + at, x.data() + at, s.n, columns, s.inner, params.log);
        });
  });
}

void softmax_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input) {
  visit(output.dtype, [&]<class T>() {
    const SoftmaxLayout s(params, output.shape);
    const Contiguous<T> g(grad), y(output);
    T* dx = grad_input.as<T>();
    const auto& kernels = softmax_kernels<T>();
    for_each_bundle(
        s,
        [&](std::int64_t at, std::int64_t rows) {
          kernels.backward_rows(dx + at, g.data() + at, y.data() + at, rows, s.n, params.log);
        },
        [&](std::int64_t at, std::int64_t columns) {
          kernels.backward_columns(dx + at, g.data() + at, y.data() + at, s.n, columns, s.inner,
                                   params.log);
        });
  });
}

}  // namespace pyfast
