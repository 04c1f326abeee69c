// Plain tiles: any strides, any shape. Sums of long and narrow products are cut along their depth.
#include "cuda/core/contraction.cuh"
#include "cuda/core/elementwise.cuh"
#include "cuda/ops/activation/functions.h"
#include "cuda/ops/matmul/matmul.h"

namespace pyfast::cuda {

namespace {

template <class T>
struct PutMatrix {
  T* out;
  std::int64_t rows, columns;
  __device__ void operator()(std::int64_t batch, std::int64_t i, std::int64_t j, float v) const {
    out[(batch * rows + i) * columns + j] = from_float<T>(v);
  }
};

// Not inlined: a thread stores 32 elements, and the switch would be there 32 times.
__device__ __noinline__ float activated(Activation a, float x) { return activate(a, x); }

template <class T>
struct PutLinear {
  T *out, *saved;
  const T* bias;
  Activation activation;
  std::int64_t columns;
  __device__ void operator()(std::int64_t, std::int64_t i, std::int64_t j, float v) const {
    if (bias) v += to_float(bias[j]);
    const std::int64_t at = i * columns + j;
    if (saved) saved[at] = from_float<T>(v);
    out[at] = from_float<T>(activated(activation, v));
  }
};

struct Gate {
  Activation activation;
  __device__ float operator()(std::int64_t, float grad, float saved) const {
    return activate_backward(activation, grad, saved);
  }
};

// A block takes 32 columns, its 32 warps every 32nd row, and one warp adds those up in order.
template <class T>
__global__ void __launch_bounds__(1024)
    sum_rows(T* sums, const T* __restrict__ x, std::int64_t rows, std::int64_t columns) {
  __shared__ float parts[32][33];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + lane;
  float sum = 0;
  if (column < columns)
    for (std::int64_t r = warp; r < rows; r += 32) sum += to_float(x[r * columns + column]);
  parts[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= columns) return;
  for (int w = 1; w < 32; ++w) sum += parts[w][lane];
  sums[column] = from_float<T>(sum);
}

}  // namespace

void multiply_matrices(const Product& p, const TensorView& a, const TensorView& b,
                       const TensorView& output, const TensorView& parts, cudaStream_t stream) {
  visit_gpu(output.dtype, [&]<class T>() {
    contract<T>(p.size, a.data, p.a, b.data, p.b,
                PutMatrix<T>{output.as<T>(), p.size.rows, p.size.columns}, parts.as<float>(),
                stream);
  });
}

void multiply_linear(const Product& p, Activation activation, const TensorView& input,
                     const TensorView& weight, const TensorView& bias, const TensorView& output,
                     const TensorView& saved, const TensorView& parts, cudaStream_t stream) {
  visit_gpu(output.dtype, [&]<class T>() {
    const PutLinear<T> put{output.as<T>(), saved.as<T>(), bias.as<T>(), activation, p.size.columns};
    contract<T>(p.size, input.data, p.a, weight.data, p.b, put, parts.as<float>(), stream);
  });
}

void linear_gate(Activation activation, const TensorView& grad, const TensorView& saved,
                 const TensorView& dz, cudaStream_t stream) {
  visit_gpu(dz.dtype, [&]<class T>() { map<T>(dz, Gate{activation}, stream, grad, saved); });
}

void linear_bias_gradient(const TensorView& dz, const TensorView& grad_bias, cudaStream_t stream) {
  const std::int64_t columns = grad_bias.numel();
  if (columns == 0) return;
  visit_gpu(dz.dtype, [&]<class T>() {
    sum_rows<<<blocks_for(columns, 32), 1024, 0, stream>>>(grad_bias.as<T>(), dz.as<T>(),
                                                           dz.numel() / columns, columns);
  });
}

}  // namespace pyfast::cuda
