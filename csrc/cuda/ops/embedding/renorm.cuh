// Rows of a table that were picked and are too long, scaled down in place: a warp for each place in
// sorted order; the one at which a row begins does the work, so that a row is scaled once.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/ops/embedding/row_norm.h"

namespace pyfast::cuda {

template <class T>
PYFAST_KERNEL(128)
renorm_rows(T* weight, const std::int64_t* indices, const std::int64_t* order, std::int64_t n,
            std::int64_t rows, std::int64_t width, const RowNorm norm, float max_norm) {
  const std::int64_t place = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (place >= n) return;
  const std::int64_t row = indices[order[place]];
  if (row < 0 || row >= rows) return;
  if (place > 0 && indices[order[place - 1]] == row) return;
  T* const values = weight + row * width;
  const std::int64_t lane = threadIdx.x % 32;
  double sum = norm.none();
  for (std::int64_t c = lane; c < width; c += 32)
    sum = norm.join(sum, norm.term(to_float(values[c])));
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) sum = norm.join(sum, from_lane_xor(sum, bits));
  const auto length = static_cast<float>(norm.finish(sum));
  if (!(length > max_norm)) return;
  const float scale = max_norm / (length + 1e-7f);
  for (std::int64_t c = lane; c < width; c += 32)
    values[c] = from_float<T>(to_float(values[c]) * scale);
}

template <class Launch>
void renorm_on(const TensorView& weight, const TensorView& indices, const TensorView& order,
               double norm_type, double max_norm, const Launch& launch) {
  const std::int64_t n = indices.numel();
  if (weight.numel() == 0) return;
  visit_gpu(weight.dtype, [&]<class T>() {
    launch(&renorm_rows<T>, (n + 3) / 4, 128, 0, weight.as<T>(), indices.as<const std::int64_t>(),
           order.as<const std::int64_t>(), n, weight.shape[0], weight.shape[1], RowNorm{norm_type},
           static_cast<float>(max_norm));
  });
}

}  // namespace pyfast::cuda
