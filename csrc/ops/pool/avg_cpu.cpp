#include <algorithm>

#include "ops/pool/image.h"

namespace pyfast {

namespace {

// The divisors of all windows of a call.
template <class T>
class Divisors {
 public:
  explicit Divisors(const PoolParams& params)
      : fixed_(static_cast<T>(params.divisor_override)),
        include_pad_(params.count_include_pad),
        columns_(fixed_ != 0 ? 0 : params.cols.out) {
    for (std::int64_t o = 0; o < columns_.size(); ++o) {
      columns_[o] = static_cast<T>(extent_at(params.cols, o, include_pad_));
      uniform_ &= columns_[o] == columns_[0];
    }
  }
  PoolDivisor<T> get() const { return {fixed_, include_pad_, uniform_, columns_.data()}; }

 private:
  T fixed_;
  bool include_pad_, uniform_ = true;
  Workspace<T> columns_;
};

// Windows that no kernel gathers: a row of outputs is spread along the width, and added to all the
// rows of its window.
template <class T>
void spread_plane(const PoolParams& params, const T* g, T* dx, const PoolDivisor<T>& divisor,
                  T* spread, T* shares) {
  const auto& kernels = pool_gradient_kernels<T>();
  const std::int64_t width = params.cols.in;
  std::fill(dx, dx + params.input_plane(), T{0});
  if (params.cols.out == 0) return;  // no column has a divisor
  for (std::int64_t o = 0; o < params.rows.out; ++o) {
    const PoolWindow window = window_at(params.rows, o);
    kernels.spread_row(spread, shares, g + o * params.cols.out, o, params.rows, params.cols,
                       divisor);
    for (std::int64_t r = 0; r < window.count; ++r)
      kernels.add_row(dx + (window.first + r) * width, spread, width);
  }
}

}  // namespace

void avg_pool_forward(const PoolParams& given, const TensorView& image, const TensorView& output) {
  using std::int64_t;
  const PoolProblem problem = stacked(given, image);
  const PoolParams& params = problem.params;
  const TensorView& input = problem.input;
  visit(input.dtype, [&]<class T>() {
    const auto avg_rows = pool_row_kernels<T>().avg_rows;
    const auto& channels = pool_channel_kernels<T>();
    const Image<T> x(params, input, channels.lanes);
    const Divisors<T> divisors(params);
    const PoolDivisor<T> divisor = divisors.get();
    T* y = output.as<T>();
    x.for_each(
        params,
        [&](const PoolPlane<T>& plane, int64_t at, int64_t begin, int64_t end) {
          avg_rows(y + at, plane, divisor, begin, end);
        },
        [&](const PoolChannels<T>& bundle, int64_t at, int64_t begin, int64_t end) {
          channels.avg_rows(y + at, bundle, divisor, begin, end);
        });
  });
}

void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    const auto& kernels = pool_gradient_kernels<T>();
    const bool gathers = kernels.gathers(params.rows, params.cols);
    const Divisors<T> divisors(params);
    const PoolDivisor<T> divisor = divisors.get();
    const std::int64_t size = params.input_plane(), outputs = params.output_plane();
    for_planes(params, [&](std::int64_t first, std::int64_t planes) {
      const Workspace<T> scratch(gathers ? kernels.scratch(params.rows, params.cols)
                                         : params.cols.in + params.cols.out);
      std::fill(scratch.data(), scratch.data() + scratch.size(), T{0});
      for (std::int64_t p = first; p < first + planes; ++p) {
        T* dx = grad_input.as<T>() + p * size;
        const T* from = g.data() + p * outputs;
        if (gathers)
          kernels.avg_plane(dx, from, params.rows, params.cols, divisor, scratch.data());
        else
          spread_plane(params, from, dx, divisor, scratch.data(), scratch.data() + params.cols.in);
      }
    });
  });
}

}  // namespace pyfast
