// unfold: a thread an entry of the columns. fold: a thread a pixel, which gathers the entries that
// hold it, tap by tap: nothing is added atomically.
#include "cuda/core/numeric.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/unfold/places.h"
#include "cuda/ops/unfold/unfold.h"

namespace pyfast::cuda {

namespace {

template <class T>
__global__ void __launch_bounds__(256) copy(T* columns, const T* __restrict__ image, std::int64_t n,
                                            const __grid_constant__ UnfoldPlaces places) {
  const std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i >= n) return;
  const std::int64_t at = places.source(i);
  columns[i] = at == kZero ? from_float<T>(0) : image[at];
}

template <class T>
__global__ void __launch_bounds__(256)
    gather(T* image, const T* __restrict__ columns, std::int64_t n,
           const __grid_constant__ UnfoldPlaces places) {
  const std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  places.each_place(i, [&](std::int64_t entry) { sum += to_float(columns[entry]); });
  image[i] = from_float<T>(sum);
}

}  // namespace

void unfold_forward(const UnfoldParams& params, const TensorView& image, const TensorView& columns,
                    cudaStream_t stream) {
  const std::int64_t n = columns.numel();
  if (n == 0) return;
  visit_gpu(image.dtype, [&]<class T>() {
    copy<<<blocks_for(n, 256), 256, 0, stream>>>(columns.as<T>(), image.as<const T>(), n,
                                                 UnfoldPlaces(params));
  });
}

void fold_forward(const UnfoldParams& params, const TensorView& columns, const TensorView& image,
                  cudaStream_t stream) {
  const std::int64_t n = image.numel();
  if (n == 0) return;
  visit_gpu(image.dtype, [&]<class T>() {
    gather<<<blocks_for(n, 256), 256, 0, stream>>>(image.as<T>(), columns.as<const T>(), n,
                                                   UnfoldPlaces(params));
  });
}

}  // namespace pyfast::cuda
