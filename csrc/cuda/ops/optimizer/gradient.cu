// Many gradients a launch, each read once. The norm's partial results, one a block, are float64, so
// that no square overflows, and one block adds them up in order.
#include <cmath>

#include "cuda/core/tensor_list.cuh"
#include "cuda/ops/optimizer/gradient.h"

namespace pyfast::cuda {

namespace {

constexpr int kTensors = 128, kThreads = 256, kEach = 16;  // elements of a thread

template <class T>
struct Gradients : TensorList<kTensors, kThreads * kEach> {
  T* at[kTensors];

  // f(tensor, element) for the elements of this thread
  template <class F>
  __device__ __forceinline__ void each(F f) const {
    const int t = this->tensor();
    const std::int64_t start = this->block(t) * (kThreads * kEach) + threadIdx.x;
#pragma unroll 4
    for (int k = 0; k < kEach; ++k) {
      const std::int64_t i = start + k * kThreads;
      if (i < size[t]) f(at[t][i]);
    }
  }
};

// The norm's sum (or maximum, NaN winning) of a block of kThreads threads or more.
enum class Norm : std::uint8_t { sum, squares, maximum };

__device__ __forceinline__ double joined(Norm norm, double a, double b) {
  if (norm != Norm::maximum) return a + b;
  return a > b || a != a ? a : b;
}

template <int kBlock>
__device__ double block_join(Norm norm, double x) {
  __shared__ double part[kBlock / 32];
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2)
    x = joined(norm, x, __shfl_down_sync(0xffffffffu, x, lane));
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int w = 1; w < kBlock / 32; ++w) x = joined(norm, x, part[w]);
  return x;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    join_blocks(double* partial, const __grid_constant__ Gradients<T> g, Norm norm) {
  double mine = 0;
  g.each([&](T& element) {
    const double x = fabsf(to_float(element));
    mine = joined(norm, mine, norm == Norm::squares ? x * x : x);
  });
  mine = block_join<kThreads>(norm, mine);
  if (threadIdx.x == 0) partial[blockIdx.x] = mine;
}

__global__ void __launch_bounds__(1024)
    finish_norm(double* result, const double* partial, std::int64_t blocks, Norm norm) {
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < blocks; i += 1024) mine = joined(norm, mine, partial[i]);
  mine = block_join<1024>(norm, mine);
  if (threadIdx.x == 0) result[0] = norm == Norm::squares ? sqrt(mine) : mine;
}

template <class T, class F>
__global__ void __launch_bounds__(kThreads)
    change(const __grid_constant__ Gradients<T> g, const F f) {
  g.each([&](T& element) { element = from_float<T>(f(to_float(element))); });
}

struct Scale {
  float factor;
  __device__ float operator()(float x) const { return x * factor; }
};

struct Clamp {
  float limit;
  __device__ float operator()(float x) const {  // NaN stays
    return x > limit ? limit : x < -limit ? -limit : x;
  }
};

// launch(list) for gradients of one dtype, kTensors at a time.
template <class Launch>
void for_lists(const std::vector<TensorView>& gradients, Launch launch) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    visit_gpu(dtype, [&]<class T>() {
      Gradients<T> list;
      const auto flush = [&] {
        if (list.count > 0) launch(list);
        list.count = 0;
      };
      for (const TensorView& g : gradients) {
        if (g.dtype != dtype || g.numel() == 0) continue;
        if (list.full()) flush();
        list.at[list.append(g.numel())] = g.as<T>();
      }
      flush();
    });
}

template <class F>
void change_all(const std::vector<TensorView>& gradients, F f, cudaStream_t stream) {
  for_lists(gradients,
            [&](const auto& list) { change<<<list.blocks(), kThreads, 0, stream>>>(list, f); });
}

}  // namespace

std::int64_t norm_workspace(const std::vector<TensorView>& gradients) {
  std::int64_t blocks = 0;
  for (const TensorView& g : gradients) blocks += blocks_for(g.numel(), kThreads * kEach);
  return blocks;
}

void norm_of(const std::vector<TensorView>& gradients, double norm_type, const TensorView& norm,
             const TensorView& workspace, cudaStream_t stream) {
  const Norm kind = norm_type == 2          ? Norm::squares
                    : std::isinf(norm_type) ? Norm::maximum
                                            : Norm::sum;
  auto* partial = workspace.as<double>();
  std::int64_t blocks = 0;
  for_lists(gradients, [&](const auto& list) {
    join_blocks<<<list.blocks(), kThreads, 0, stream>>>(partial + blocks, list, kind);
    blocks += list.blocks();
  });
  finish_norm<<<1, 1024, 0, stream>>>(norm.as<double>(), partial, blocks, kind);
}

void scale(const std::vector<TensorView>& gradients, double factor, cudaStream_t stream) {
  change_all(gradients, Scale{static_cast<float>(factor)}, stream);
}

void clamp(const std::vector<TensorView>& gradients, double limit, cudaStream_t stream) {
  change_all(gradients, Clamp{static_cast<float>(limit)}, stream);
}

}  // namespace pyfast::cuda
