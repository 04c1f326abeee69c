// A thread an output forward, a thread an input backward: every sum gathers what belongs to it, in
// order, so that nothing is added atomically and the bits never change. Neighbouring threads read
// neighbouring addresses; what windows share comes from the cache.
#include "cuda/core/numeric.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/pool/pool.h"
#include "cuda/ops/pool/windows.h"

namespace pyfast::cuda {

namespace {

constexpr int kThreads = 256;

// rows and cols of the kernel's windows, and where thread i stands in an array of `width` columns
struct Place {
  std::int64_t plane;
  int row, col;
  __device__ Place(std::int64_t i, int height, int width) {
    if (i <= 0x7fffffff) {
      const auto small = static_cast<std::uint32_t>(i), w = static_cast<std::uint32_t>(width);
      const std::uint32_t line = small / w;
      col = static_cast<int>(small % w);
      plane = line / static_cast<std::uint32_t>(height);
      row = static_cast<int>(line % static_cast<std::uint32_t>(height));
    } else {
      const std::int64_t line = i / width;
      col = static_cast<int>(i - line * width);
      plane = line / height;
      row = static_cast<int>(line - plane * height);
    }
  }
};

__device__ __forceinline__ std::int64_t thread() {
  return std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

template <class T, class Index>
__global__ void __launch_bounds__(kThreads)
    max_forward(T* y, Index* indices, const T* x, std::int64_t n, WindowAxis rows,
                WindowAxis cols) {
  const std::int64_t i = thread();
  if (i >= n) return;
  const Place at(i, rows.out, cols.out);
  x += at.plane * rows.in * cols.in;
  float best = -INFINITY;
  int best_row = -1, best_col = 0;
  for (int r = rows.begin(at.row); r < rows.last_in(at.row); r += rows.step())
    for (int c = cols.begin(at.col); c < cols.last_in(at.col); c += cols.step()) {
      const float v = to_float(x[static_cast<std::int64_t>(r) * cols.in + c]);
      if (best_row >= 0 && !(v > best) && v == v) continue;  // the first of equals, the last NaN
      best = v;
      best_row = r;
      best_col = c;
    }
  y[i] = from_float<T>(best);
  if (!indices) return;
  if constexpr (sizeof(Index) == 1)
    indices[i] =
        static_cast<Index>(rows.tap(at.row, best_row) * cols.kernel + cols.tap(at.col, best_col));
  else
    indices[i] = static_cast<Index>(best_row) * cols.in + best_col;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    max_backward(T* dx, const T* g, const std::uint8_t* taps, std::int64_t n, WindowAxis rows,
                 WindowAxis cols) {
  const std::int64_t i = thread();
  if (i >= n) return;
  const Place at(i, rows.in, cols.in);
  const std::int64_t plane = at.plane * rows.out * cols.out;
  float sum = 0;
  for (int r = rows.first_window(at.row); r < rows.end_window(at.row); ++r) {
    if (!rows.holds(r, at.row)) continue;
    const int tap_row = rows.tap(r, at.row) * cols.kernel;
    for (int c = cols.first_window(at.col); c < cols.end_window(at.col); ++c) {
      const std::int64_t o = plane + static_cast<std::int64_t>(r) * cols.out + c;
      if (cols.holds(c, at.col) && taps[o] == tap_row + cols.tap(c, at.col)) sum += to_float(g[o]);
    }
  }
  dx[i] = from_float<T>(sum);
}

__global__ void __launch_bounds__(kThreads)
    find_places(std::int64_t* places, const std::int64_t* indices, std::int64_t n,
                std::int64_t output_plane, std::int64_t input_plane) {
  const std::int64_t i = thread();
  if (i >= n) return;
  const std::int64_t at = indices[i];
  places[i] = at >= 0 && at < input_plane ? i / output_plane * input_plane + at : -1;
}

// A thread a place in sorted order: the one at which an input's outputs begin adds them all up.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_places(T* dx, const T* g, const std::int64_t* places, const std::int64_t* order,
               std::int64_t n) {
  const std::int64_t i = thread();
  if (i >= n) return;
  const std::int64_t at = places[order[i]];
  if (at < 0 || (i > 0 && places[order[i - 1]] == at)) return;
  float sum = 0;
  for (std::int64_t k = i; k < n && places[order[k]] == at; ++k) sum += to_float(g[order[k]]);
  dx[at] = from_float<T>(sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    avg_forward(T* y, const T* x, std::int64_t n, WindowAxis rows, WindowAxis cols,
                PoolDivisor divisor) {
  const std::int64_t i = thread();
  if (i >= n) return;
  const Place at(i, rows.out, cols.out);
  x += at.plane * rows.in * cols.in;
  float sum = 0;
  for (int r = rows.begin(at.row); r < rows.last_in(at.row); r += rows.step())
    for (int c = cols.begin(at.col); c < cols.last_in(at.col); c += cols.step())
      sum += to_float(x[static_cast<std::int64_t>(r) * cols.in + c]);
  y[i] = from_float<T>(sum / divisor(rows, cols, at.row, at.col));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    avg_backward(T* dx, const T* g, std::int64_t n, WindowAxis rows, WindowAxis cols,
                 PoolDivisor divisor) {
  const std::int64_t i = thread();
  if (i >= n) return;
  const Place at(i, rows.in, cols.in);
  const std::int64_t plane = at.plane * rows.out * cols.out;
  float sum = 0;
  for (int r = rows.first_window(at.row); r < rows.end_window(at.row); ++r) {
    if (!rows.holds(r, at.row)) continue;
    for (int c = cols.first_window(at.col); c < cols.end_window(at.col); ++c) {
      if (!cols.holds(c, at.col)) continue;
      sum += to_float(g[plane + static_cast<std::int64_t>(r) * cols.out + c]) /
             divisor(rows, cols, r, c);
    }
  }
  dx[i] = from_float<T>(sum);
}

}  // namespace

void max_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      const TensorView& indices, cudaStream_t stream) {
  const std::int64_t n = output.numel();
  if (n == 0) return;
  const WindowAxis rows = window_axis(params.rows), cols = window_axis(params.cols);
  visit_gpu(input.dtype, [&]<class T>() {
    const T* x = input.as<T>();
    T* y = output.as<T>();
    if (indices.defined && indices.dtype == DType::u8)
      max_forward<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(y, indices.as<std::uint8_t>(),
                                                                    x, n, rows, cols);
    else
      max_forward<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(
          y, indices.defined ? indices.as<std::int64_t>() : nullptr, x, n, rows, cols);
  });
}

void max_pool_taps_backward(const PoolParams& params, const TensorView& grad,
                            const TensorView& taps, const TensorView& grad_input,
                            cudaStream_t stream) {
  const std::int64_t n = grad_input.numel();
  if (n == 0) return;
  visit_gpu(grad.dtype, [&]<class T>() {
    max_backward<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(
        grad_input.as<T>(), grad.as<const T>(), taps.as<const std::uint8_t>(), n,
        window_axis(params.rows), window_axis(params.cols));
  });
}

void max_pool_places(const PoolParams& params, const TensorView& indices, const TensorView& places,
                     cudaStream_t stream) {
  const std::int64_t n = indices.numel();
  if (n == 0) return;
  find_places<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(
      places.as<std::int64_t>(), indices.as<const std::int64_t>(), n, params.output_plane(),
      params.input_plane());
}

void max_pool_backward(const TensorView& grad, const TensorView& places, const TensorView& order,
                       const TensorView& grad_input, cudaStream_t stream) {
  const std::int64_t n = grad.numel();
  const std::int64_t bytes = grad_input.numel() * item_size(grad_input.dtype);
  if (bytes == 0) return;
  cudaMemsetAsync(grad_input.data, 0, static_cast<std::size_t>(bytes), stream);
  if (n == 0) return;
  visit_gpu(grad.dtype, [&]<class T>() {
    add_places<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(
        grad_input.as<T>(), grad.as<const T>(), places.as<const std::int64_t>(),
        order.as<const std::int64_t>(), n);
  });
}

void avg_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      cudaStream_t stream) {
  const std::int64_t n = output.numel();
  if (n == 0) return;
  const PoolDivisor divisor(params);
  visit_gpu(input.dtype, [&]<class T>() {
    avg_forward<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(
        output.as<T>(), input.as<const T>(), n, window_axis(params.rows), window_axis(params.cols),
        divisor);
  });
}

void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input, cudaStream_t stream) {
  const std::int64_t n = grad_input.numel();
  if (n == 0) return;
  const PoolDivisor divisor(params);
  visit_gpu(grad.dtype, [&]<class T>() {
    avg_backward<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(
        grad_input.as<T>(), grad.as<const T>(), n, window_axis(params.rows),
        window_axis(params.cols), divisor);
  });
}

}  // namespace pyfast::cuda
