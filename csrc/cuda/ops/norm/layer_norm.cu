// Forward: a row in registers (core/rows.cuh), mean first, then the variance about it: memory is
// read once. Backward: a team keeps the sums for grad_weight and grad_bias of the columns it holds
// in registers over all its rows, so that grad and input are read once; the teams' sums are then
// added in order. How rows are shared out depends on their number alone, never on the GPU.
#include "cuda/core/parameter.cuh"
#include "cuda/core/reduce.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/norm/norm.h"

namespace pyfast::cuda {

namespace {

// Enough teams to fill 132 multiprocessors eight times; more only lengthen the second stage.
constexpr std::int64_t kTeams = 1056;

std::int64_t rows_of(const LayerNormParams& p, const TensorView& input) {
  const std::int64_t n = p.normalized_shape.numel();
  return n == 0 ? 0 : input.numel() / n;
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kBlock)
    forward_rows(T* y, const T* x, Parameter<T> weight, Parameter<T> bias, double* statistics,
                 std::int64_t rows, int n, float eps, bool rms) {
  const std::int64_t row = Shape::row();
  if (row >= rows) return;
  Registers<Shape> r;
  r.load(x + row * n, n, 0);
  float mean = 0, square = 0;
  if (!rms) {
    r.each([&](float& v) { mean += v; });
    mean = team_reduce<Shape::kThreads>(mean, Add()) / n;
  }
  r.each_at([&](int column, float& v) {
    if (column < n) square += (v - mean) * (v - mean);
  });
  const float variance = team_reduce<Shape::kThreads>(square, Add()) / n;
  const float scale = rsqrtf(variance + eps);
  if (statistics && threadIdx.x % Shape::kThreads == 0) {
    statistics[row] = mean;
    statistics[rows + row] = variance;
  }
  r.each_at([&](int column, float& v) {
    if (column < n) v = (v - mean) * scale * weight[column] + bias[column];
  });
  r.store(y + row * n, n);
}

template <class T>
__global__ void __launch_bounds__(1024)
    forward_long(T* y, const T* x, Parameter<T> weight, Parameter<T> bias, double* statistics,
                 std::int64_t n, float eps, bool rms) {
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  float mean = 0, square = 0;
  if (!rms) {
    for (std::int64_t i = threadIdx.x; i < n; i += 1024) mean += to_float(x[i]);
    mean = team_reduce<1024>(mean, Add()) / static_cast<float>(n);
  }
  for (std::int64_t i = threadIdx.x; i < n; i += 1024) {
    const float away = to_float(x[i]) - mean;
    square += away * away;
  }
  const float variance = team_reduce<1024>(square, Add()) / static_cast<float>(n);
  const float scale = rsqrtf(variance + eps);
  if (statistics && threadIdx.x == 0) {
    statistics[blockIdx.x] = mean;
    statistics[gridDim.x + blockIdx.x] = variance;
  }
  for (std::int64_t i = threadIdx.x; i < n; i += 1024)
    y[i] = from_float<T>((to_float(x[i]) - mean) * scale * weight[i] + bias[i]);
}

// partial[team][0 or 1][column]: the sums of g xhat and of g over the team's rows.
template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kBlock)
    backward_rows(T* dx, const T* g, const T* x, const double* statistics, Parameter<T> weight,
                  float* partial, std::int64_t rows, std::int64_t rows_each, int n, float eps,
                  bool rms) {
  const std::int64_t team = Shape::row(), first = team * rows_each;
  const std::int64_t last = first + rows_each < rows ? first + rows_each : rows;
  Registers<Shape> of_weight, of_bias;
  of_weight.fill(0);
  of_bias.fill(0);
  for (std::int64_t row = first; row < last; ++row) {
    Registers<Shape> dy, xhat;
    dy.load(g + row * n, n, 0);
    xhat.load(x + row * n, n, 0);
    const float mean = static_cast<float>(statistics[row]);
    const float scale = rsqrtf(static_cast<float>(statistics[rows + row]) + eps);
    float sum = 0, product = 0;
#pragma unroll
    for (int p = 0; p < Shape::kPacks; ++p)
#pragma unroll
      for (int i = 0; i < Shape::kWidth; ++i) {
        const int column = Registers<Shape>::column(p) + i;
        if (column >= n) continue;
        float& d = dy.at[p][i];
        float& v = xhat.at[p][i];
        v = (v - mean) * scale;
        of_weight.at[p][i] += d * v;
        of_bias.at[p][i] += d;
        d *= weight[column];
        sum += d;
        product += d * v;
      }
    sum = rms ? 0.0f : team_reduce<Shape::kThreads>(sum, Add()) / n;
    product = team_reduce<Shape::kThreads>(product, Add()) / n;
    dy.each(xhat, [&](float& d, float& v) { d = scale * (d - sum - v * product); });
    dy.store(dx + row * n, n);
  }
  if (!partial || first >= rows) return;
  of_weight.store(partial + 2 * team * n, n);
  of_bias.store(partial + (2 * team + 1) * n, n);
}

template <class T>
__global__ void __launch_bounds__(1024)
    backward_long(T* dx, const T* g, const T* x, const double* statistics, Parameter<T> weight,
                  std::int64_t n, float eps, bool rms) {
  const std::int64_t start = blockIdx.x * n;
  const float mean = static_cast<float>(statistics[blockIdx.x]);
  const float scale = rsqrtf(static_cast<float>(statistics[gridDim.x + blockIdx.x]) + eps);
  float sum = 0, product = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += 1024) {
    const float d = to_float(g[start + i]) * weight[i];
    sum += d;
    product += d * (to_float(x[start + i]) - mean) * scale;
  }
  sum = rms ? 0.0f : team_reduce<1024>(sum, Add()) / static_cast<float>(n);
  product = team_reduce<1024>(product, Add()) / static_cast<float>(n);
  for (std::int64_t i = threadIdx.x; i < n; i += 1024) {
    const float d = to_float(g[start + i]) * weight[i];
    const float v = (to_float(x[start + i]) - mean) * scale;
    dx[start + i] = from_float<T>(scale * (d - sum - v * product));
  }
}

// The same partial sums where rows are too long: a thread a column, a block a band of rows.
template <class T>
__global__ void __launch_bounds__(256)
    sum_columns(float* partial, const T* g, const T* x, const double* statistics, std::int64_t rows,
                std::int64_t rows_each, std::int64_t n, float eps) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 256 + threadIdx.x, team = blockIdx.y;
  if (column >= n) return;
  const std::int64_t first = team * rows_each;
  const std::int64_t last = first + rows_each < rows ? first + rows_each : rows;
  float of_weight = 0, of_bias = 0;
  for (std::int64_t row = first; row < last; ++row) {
    const float d = to_float(g[row * n + column]);
    const float scale = rsqrtf(static_cast<float>(statistics[rows + row]) + eps);
    const float mean = static_cast<float>(statistics[row]);
    of_weight += d * (to_float(x[row * n + column]) - mean) * scale;
    of_bias += d;
  }
  partial[2 * team * n + column] = of_weight;
  partial[(2 * team + 1) * n + column] = of_bias;
}

// 32 columns a block; each of 32 warps' lanes adds every 32nd team, then the 32 sums are added.
template <class T>
__global__ void __launch_bounds__(1024)
    add_teams(Parameter<T> grad_weight, Parameter<T> grad_bias, const float* partial,
              std::int64_t teams, std::int64_t n) {
  __shared__ float sums[2][32][33];
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  float of_weight = 0, of_bias = 0;
  if (column < n) {
    for (std::int64_t team = threadIdx.y; team < teams; team += 32) {
      of_weight += partial[2 * team * n + column];
      of_bias += partial[(2 * team + 1) * n + column];
    }
  }
  sums[0][threadIdx.y][threadIdx.x] = of_weight;
  sums[1][threadIdx.y][threadIdx.x] = of_bias;
  __syncthreads();
  const std::int64_t mine = std::int64_t{blockIdx.x} * 32 + threadIdx.y;
  of_weight = warp_reduce(sums[0][threadIdx.x][threadIdx.y], Add());
  of_bias = warp_reduce(sums[1][threadIdx.x][threadIdx.y], Add());
  if (threadIdx.x != 0 || mine >= n) return;
  if (grad_weight) grad_weight.set(mine, of_weight);
  if (grad_bias) grad_bias.set(mine, of_bias);
}

}  // namespace

void layer_norm_forward(const LayerNormParams& params, const TensorView& input,
                        const TensorView& weight, const TensorView& bias,
                        const TensorView& statistics, const TensorView& output,
                        cudaStream_t stream) {
  const std::int64_t n = params.normalized_shape.numel(), rows = rows_of(params, input);
  if (rows == 0) return;
  const auto eps = static_cast<float>(params.eps);
  double* saved = statistics.defined ? statistics.as<double>() : nullptr;
  visit_gpu(input.dtype, [&]<class T>() {
    const Parameter<T> w(weight, 1), b(bias, 0);
    const T* x = input.as<T>();
    T* y = output.as<T>();
    const bool held = visit_rows<T>(n, vectorizable(n, input, output), [&]<class Shape>() {
      forward_rows<T, Shape><<<Shape::grid(rows), Shape::kBlock, 0, stream>>>(
          y, x, w, b, saved, rows, static_cast<int>(n), eps, params.rms);
    });
    if (!held)
      forward_long<<<blocks_for(rows, 1), 1024, 0, stream>>>(y, x, w, b, saved, n, eps, params.rms);
  });
}

std::int64_t layer_norm_workspace(const LayerNormParams& params, const TensorView& input) {
  const std::int64_t rows = rows_of(params, input), n = params.normalized_shape.numel();
  return 2 * (rows < kTeams ? rows : kTeams) * n;
}

void layer_norm_backward(const LayerNormParams& params, const TensorView& grad,
                         const TensorView& input, const TensorView& statistics,
                         const TensorView& weight, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const TensorView& workspace, cudaStream_t stream) {
  const std::int64_t n = params.normalized_shape.numel(), rows = rows_of(params, input);
  const std::int64_t each = rows < kTeams ? 1 : (rows + kTeams - 1) / kTeams;
  const std::int64_t teams = (rows + each - 1) / each;
  const auto eps = static_cast<float>(params.eps);
  float* partial = workspace.defined ? workspace.as<float>() : nullptr;
  visit_gpu(input.dtype, [&]<class T>() {
    const Parameter<T> w(weight, 1);
    const T *g = grad.as<T>(), *x = input.as<T>();
    const double* saved = statistics.as<double>();
    T* dx = grad_input.as<T>();
    const bool wide = vectorizable(n, grad, input, grad_input);
    const bool held =
        rows > 0 && visit_rows<T, 512>(n, wide, [&]<class Shape>() {
          backward_rows<T, Shape><<<Shape::grid(teams), Shape::kBlock, 0, stream>>>(
              dx, g, x, saved, w, partial, rows, each, static_cast<int>(n), eps, params.rms);
        });
    if (!held && rows > 0) {
      backward_long<<<blocks_for(rows, 1), 1024, 0, stream>>>(dx, g, x, saved, w, n, eps,
                                                              params.rms);
      if (partial)
        sum_columns<<<dim3(blocks_for(n, 256), static_cast<unsigned>(teams)), 256, 0, stream>>>(
            partial, g, x, saved, rows, each, n, eps);
    }
    if (partial && n > 0)
      add_teams<<<blocks_for(n, 32), dim3(32, 32), 0, stream>>>(
          Parameter<T>(grad_weight, 0), Parameter<T>(grad_bias, 0), partial, teams, n);
  });
}

}  // namespace pyfast::cuda
