// With inner == 1, rows of channels side by side; else one channel's row at a time, long ones in
// blocks. Either way a chunk is about kBlock elements, and sums of its own for the slopes.
#include "core/copy.h"
#include "core/parallel.h"
#include "ops/activation/kernel_gated.h"
#include "ops/activation/prelu.h"

namespace pyfast {

namespace {

constexpr std::int64_t kBlock = 1 << 14;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Rows [outer, channels] of `inner` elements, each in `per_row` blocks.
struct Blocks {
  const PReluParams& p;
  std::int64_t length, per_row, count;

  explicit Blocks(const PReluParams& params)
      : p(params),
        length(p.inner < kBlock ? p.inner : kBlock),
        per_row(length == 0 ? 0 : ceil_div(p.inner, length)),
        count(p.outer * p.channels * per_row) {}

  // body(block, channel, start, n)
  template <class Body>
  void for_each(Body body) const {
    if (count == 0) return;
    parallel_for(count, ceil_div(kBlock, length), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = i / per_row, at = i % per_row * length, rest = p.inner - at;
        body(i, row % p.channels, row * p.inner + at, rest < length ? rest : length);
      }
    });
  }
};

// How many rows of `channels` values a chunk takes.
std::int64_t rows_per_chunk(const PReluParams& p) {
  return ceil_div(kBlock, p.channels > 0 ? p.channels : 1);
}

template <class T>
void backward_rows(const PReluParams& p, const T* g, const T* x, const T* w, T* dx, T* dw) {
  const Blocks blocks(p);
  const Workspace<double> partial(blocks.count);
  const auto backward = gated_kernels<T>().prelu_backward;
  blocks.for_each([&](std::int64_t i, std::int64_t channel, std::int64_t start, std::int64_t n) {
    partial[i] = backward(dx + start, g + start, x + start, w[channel], n);
  });
  for (std::int64_t c = 0; c < p.channels; ++c) {
    double sum = 0;
    for (std::int64_t o = 0; o < p.outer; ++o)
      for (std::int64_t k = 0; k < blocks.per_row; ++k)
        sum += partial[(o * p.channels + c) * blocks.per_row + k];
    dw[c] = static_cast<T>(sum);
  }
}

template <class T>
void backward_columns(const PReluParams& p, const T* g, const T* x, const T* w, T* dx, T* dw) {
  const std::int64_t rows = rows_per_chunk(p), n = p.channels, chunks = ceil_div(p.outer, rows);
  const Workspace<double> partial(chunks * n);
  const auto backward = gated_kernels<T>().prelu_columns_backward;
  parallel_for(p.outer, rows, [&](std::int64_t begin, std::int64_t end) {
    double* sums = partial.data() + begin / rows * n;
    for (std::int64_t c = 0; c < n; ++c) sums[c] = 0;
    for (std::int64_t i = begin; i < end; ++i)
      backward(dx + i * n, sums, g + i * n, x + i * n, w, n);
  });
  for (std::int64_t c = 0; c < n; ++c) {
    double sum = 0;
    for (std::int64_t k = 0; k < chunks; ++k) sum += partial[k * n + c];
    dw[c] = static_cast<T>(sum);
  }
}

}  // namespace

void prelu_forward(const PReluParams& params, const TensorView& input, const TensorView& weight,
                   const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input), w(weight);
    T* y = output.as<T>();
    const auto& kernels = gated_kernels<T>();
    const std::int64_t n = params.channels;
    if (params.inner == 1) {
      parallel_for(params.outer, rows_per_chunk(params), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
          kernels.prelu_columns(y + i * n, x.data() + i * n, w.data(), n);
      });
    } else {
      Blocks(params).for_each([&](auto, std::int64_t channel, std::int64_t start, std::int64_t m) {
        kernels.prelu(y + start, x.data() + start, w.data()[channel], m);
      });
    }
  });
}

void prelu_backward(const PReluParams& params, const TensorView& grad, const TensorView& input,
                    const TensorView& weight, const TensorView& grad_input,
                    const TensorView& grad_weight) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> g(grad), x(input), w(weight);
    const auto backward = params.inner == 1 ? backward_columns<T> : backward_rows<T>;
    backward(params, g.data(), x.data(), w.data(), grad_input.as<T>(), grad_weight.as<T>());
  });
}

}  // namespace pyfast
