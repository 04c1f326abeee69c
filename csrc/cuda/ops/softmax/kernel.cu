// One team of threads a row: a warp for short rows, a block for long ones, the row in registers, so
// that memory is read once and written once. Rows beyond kLongest are read twice (maximum and sum
// online, then the output). Columns (inner > 1): one thread each, neighbours on neighbouring
// addresses.
#include "cuda/core/numeric.cuh"
#include "cuda/core/reduce.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/softmax/online.h"
#include "cuda/ops/softmax/softmax.h"
#include "ops/softmax/layout.h"

namespace pyfast::cuda {

namespace {

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kBlock)
    forward_rows(T* y, const T* x, std::int64_t rows, int n, bool log) {
  const std::int64_t row = Shape::row();
  if (row >= rows) return;
  Registers<Shape> r;
  r.load(x + row * n, n, -INFINITY);
  float top = -INFINITY;
  r.each([&](float& v) { top = Max()(v, top); });
  top = team_reduce<Shape::kThreads>(top, Max());
  float sum = 0;
  if (log) {
    r.each([&](float& v) { sum += expf(v - top); });
    const float shift = top + logf(team_reduce<Shape::kThreads>(sum, Add()));
    r.each([&](float& v) { v -= shift; });
  } else {
    r.each([&](float& v) { sum += v = expf(v - top); });
    const float scale = 1 / team_reduce<Shape::kThreads>(sum, Add());
    r.each([&](float& v) { v *= scale; });
  }
  r.store(y + row * n, n);
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kBlock)
    backward_rows(T* dx, const T* g, const T* y, std::int64_t rows, int n, bool log) {
  const std::int64_t row = Shape::row();
  if (row >= rows) return;
  Registers<Shape> dy, out;
  dy.load(g + row * n, n, 0);
  out.load(y + row * n, n, log ? -INFINITY : 0);
  float sum = 0;
  dy.each(out, [&](float& d, float& v) { sum += log ? d : d * v; });
  sum = team_reduce<Shape::kThreads>(sum, Add());
  dy.each(out, [&](float& d, float& v) { d = log ? d - expf(v) * sum : v * (d - sum); });
  dy.store(dx + row * n, n);
}

// Rows too long for registers: a block strides over each, twice.
template <class T>
__global__ void __launch_bounds__(1024) forward_long(T* y, const T* x, std::int64_t n, bool log) {
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  OnlineSoftmax mine;
  for (std::int64_t i = threadIdx.x; i < n; i += 1024) mine.push(to_float(x[i]));
  const float top = team_reduce<1024>(mine.max, Max());
  const float sum = team_reduce<1024>(mine.scaled_to(top), Add());
  const float shift = log ? top + logf(sum) : top, scale = 1 / sum;
  for (std::int64_t i = threadIdx.x; i < n; i += 1024) {
    const float v = to_float(x[i]) - shift;
    y[i] = from_float<T>(log ? v : expf(v) * scale);
  }
}

template <class T>
__global__ void __launch_bounds__(1024)
    backward_long(T* dx, const T* g, const T* y, std::int64_t n, bool log) {
  const std::int64_t start = blockIdx.x * n;
  float sum = 0;
  for (std::int64_t i = start + threadIdx.x; i < start + n; i += 1024)
    sum += log ? to_float(g[i]) : to_float(g[i]) * to_float(y[i]);
  sum = team_reduce<1024>(sum, Add());
  for (std::int64_t i = start + threadIdx.x; i < start + n; i += 1024) {
    const float d = to_float(g[i]), v = to_float(y[i]);
    dx[i] = from_float<T>(log ? d - expf(v) * sum : v * (d - sum));
  }
}

template <class T>
__global__ void __launch_bounds__(256)
    forward_columns(T* y, const T* x, std::int64_t columns, SoftmaxExtent extent, bool log) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (column >= columns) return;
  const std::int64_t start = extent.start(column);
  OnlineSoftmax mine;
  for (std::int64_t i = 0; i < extent.n; ++i) mine.push(to_float(x[start + i * extent.inner]));
  const float shift = log ? mine.max + logf(mine.sum) : mine.max, scale = 1 / mine.sum;
  for (std::int64_t i = 0; i < extent.n; ++i) {
    const float v = to_float(x[start + i * extent.inner]) - shift;
    y[start + i * extent.inner] = from_float<T>(log ? v : expf(v) * scale);
  }
}

template <class T>
__global__ void __launch_bounds__(256)
    backward_columns(T* dx, const T* g, const T* y, std::int64_t columns, SoftmaxExtent extent,
                     bool log) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (column >= columns) return;
  const std::int64_t start = extent.start(column);
  float sum = 0;
  for (std::int64_t i = 0; i < extent.n; ++i) {
    const std::int64_t at = start + i * extent.inner;
    sum += log ? to_float(g[at]) : to_float(g[at]) * to_float(y[at]);
  }
  for (std::int64_t i = 0; i < extent.n; ++i) {
    const std::int64_t at = start + i * extent.inner;
    const float d = to_float(g[at]), v = to_float(y[at]);
    dx[at] = from_float<T>(log ? d - expf(v) * sum : v * (d - sum));
  }
}

}  // namespace

void softmax_forward(const SoftmaxParams& params, const TensorView& input, const TensorView& output,
                     cudaStream_t stream) {
  const SoftmaxLayout layout(params, input.shape);
  const std::int64_t rows = layout.outer * layout.inner;
  if (input.numel() == 0) return;
  visit_gpu(input.dtype, [&]<class T>() {
    const T* x = input.as<T>();
    T* y = output.as<T>();
    if (layout.inner > 1) {
      forward_columns<<<blocks_for(rows, 256), 256, 0, stream>>>(
          y, x, rows, SoftmaxExtent{layout.n, layout.inner}, params.log);
    } else if (!visit_rows<T>(layout.n, vectorizable(layout.n, input, output), [&]<class Shape>() {
                 forward_rows<T, Shape><<<Shape::grid(rows), Shape::kBlock, 0, stream>>>(
                     y, x, rows, static_cast<int>(layout.n), params.log);
               })) {
      forward_long<<<blocks_for(rows, 1), 1024, 0, stream>>>(y, x, layout.n, params.log);
    }
  });
}

void softmax_backward(const SoftmaxParams& params, const TensorView& grad, const TensorView& output,
                      const TensorView& grad_input, cudaStream_t stream) {
  const SoftmaxLayout layout(params, output.shape);
  const std::int64_t rows = layout.outer * layout.inner;
  if (output.numel() == 0) return;
  visit_gpu(output.dtype, [&]<class T>() {
    const T *g = grad.as<T>(), *y = output.as<T>();
    T* dx = grad_input.as<T>();
    if (layout.inner > 1) {
      backward_columns<<<blocks_for(rows, 256), 256, 0, stream>>>(
          dx, g, y, rows, SoftmaxExtent{layout.n, layout.inner}, params.log);
    } else if (!visit_rows<T, 512>(
                   layout.n, vectorizable(layout.n, grad, output, grad_input), [&]<class Shape>() {
                     backward_rows<T, Shape><<<Shape::grid(rows), Shape::kBlock, 0, stream>>>(
                         dx, g, y, rows, static_cast<int>(layout.n), params.log);
                   })) {
      backward_long<<<blocks_for(rows, 1), 1024, 0, stream>>>(dx, g, y, layout.n, params.log);
    }
  });
}

}  // namespace pyfast::cuda
