// Forward: a warp a row. Backward: a block for each place in sorted order; the one at which a row
// of the table begins adds up all of the row's places, the others return at once.
#include "cuda/core/numeric.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/embedding/embedding.h"
#include "cuda/ops/embedding/renorm.cuh"

namespace pyfast::cuda {

namespace {

template <int kWidth, class T>
__global__ void __launch_bounds__(128)
    gather(T* y, const T* weight, const std::int64_t* indices, std::int64_t n, std::int64_t rows,
           std::int64_t width) {
  const std::int64_t i = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (i >= n) return;
  const std::int64_t row = indices[i];
  const bool inside = row >= 0 && row < rows;
  for (std::int64_t c = threadIdx.x % 32 * kWidth; c < width; c += 32 * kWidth) {
    float v[kWidth];
    if (inside) {
      load(v, weight + row * width + c);
    } else {
#pragma unroll
      for (float& e : v) e = NAN;
    }
    store(y + i * width + c, v);
  }
}

template <class T>
__global__ void __launch_bounds__(128)
    add_segments(T* dw, const T* g, const std::int64_t* indices, const std::int64_t* order,
                 std::int64_t n, std::int64_t rows, std::int64_t width, std::int64_t padding,
                 bool by_frequency) {
  const std::int64_t first = blockIdx.x, row = indices[order[first]];
  if (row < 0 || row >= rows || row == padding) return;
  if (first > 0 && indices[order[first - 1]] == row) return;
  // Where the row's places end: a table's padding or a common word may have most of them.
  std::int64_t last = first + 1;
  for (std::int64_t beyond = n; last < beyond;) {
    const std::int64_t middle = last + (beyond - last) / 2;
    if (indices[order[middle]] == row)
      last = middle + 1;
    else
      beyond = middle;
  }
  const float scale = by_frequency ? 1 / static_cast<float>(last - first) : 1.0f;
  for (std::int64_t c = threadIdx.x; c < width; c += 128) {
    float sum = 0;
    for (std::int64_t i = first; i < last; ++i) sum += to_float(g[order[i] * width + c]);
    dw[row * width + c] = from_float<T>(sum * scale);
  }
}

__global__ void __launch_bounds__(256)
    mark(std::int64_t* y, const std::int64_t* indices, std::int64_t n, std::int64_t classes) {
  const std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i < n) y[i] = indices[i / classes] == i % classes ? 1 : 0;
}

}  // namespace

void embedding_forward(const TensorView& indices, const TensorView& weight,
                       const TensorView& output, cudaStream_t stream) {
  const std::int64_t n = indices.numel(), rows = weight.shape[0], width = weight.shape[1];
  if (output.numel() == 0) return;
  visit_gpu(weight.dtype, [&]<class T>() {
    const auto* index = indices.as<const std::int64_t>();
    if (vectorizable(width, weight, output))
      gather<kVector<T>><<<blocks_for(n, 4), 128, 0, stream>>>(output.as<T>(), weight.as<const T>(),
                                                               index, n, rows, width);
    else
      gather<1><<<blocks_for(n, 4), 128, 0, stream>>>(output.as<T>(), weight.as<const T>(), index,
                                                      n, rows, width);
  });
}

void embedding_backward(const EmbeddingParams& params, const TensorView& grad,
                        const TensorView& indices, const TensorView& order,
                        const TensorView& grad_weight, cudaStream_t stream) {
  const std::int64_t n = indices.numel();
  const std::int64_t bytes = grad_weight.numel() * item_size(grad_weight.dtype);
  if (bytes == 0) return;
  cudaMemsetAsync(grad_weight.data, 0, static_cast<std::size_t>(bytes), stream);
  if (n == 0) return;
  visit_gpu(grad.dtype, [&]<class T>() {
    add_segments<<<blocks_for(n, 1), 128, 0, stream>>>(
        grad_weight.as<T>(), grad.as<const T>(), indices.as<const std::int64_t>(),
        order.as<const std::int64_t>(), n, grad_weight.shape[0], grad_weight.shape[1],
        params.padding_idx, params.scale_grad_by_freq);
  });
}

void embedding_renorm(const TensorView& indices, const TensorView& order, double norm_type,
                      double max_norm, const TensorView& weight, cudaStream_t stream) {
  renorm_on(weight, indices, order, norm_type, max_norm, Launch{stream});
}

void one_hot(const TensorView& indices, const TensorView& output, cudaStream_t stream) {
  const std::int64_t n = output.numel();
  if (n == 0) return;
  mark<<<blocks_for(n, 256), 256, 0, stream>>>(
      output.as<std::int64_t>(), indices.as<const std::int64_t>(), n, output.shape.back());
}

}  // namespace pyfast::cuda
