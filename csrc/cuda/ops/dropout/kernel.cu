// y = keep ? scale x + shift : fill. Elementwise dropout draws four words at once, so that the
// generator costs a quarter; whole channels draw a word an element, which all of a channel share.
#include "cuda/core/elementwise.cuh"
#include "cuda/ops/dropout/draw.h"
#include "cuda/ops/dropout/dropout.h"

namespace pyfast::cuda {

namespace {

struct Affine {
  float scale, shift, fill;
  __device__ float operator()(bool keep, float x) const {
    return keep ? fmaf(scale, x, shift) : fill;
  }
};

struct Channelwise {
  DropoutDraw draw;
  Affine affine;
  __device__ float operator()(std::int64_t i, float x) const { return affine(draw.keeps(i), x); }
};

template <class T>
__global__ void __launch_bounds__(256)
    by_fours(T* y, const T* x, std::int64_t n, DropoutDraw draw, Affine affine) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * 4;
  if (i >= n) return;
  bool keep[4];
  draw.keeps4(i, keep);
  float v[4];
  load(v, x + i);
#pragma unroll
  for (int j = 0; j < 4; ++j) v[j] = affine(keep[j], v[j]);
  store(y + i, v);
}

void apply(const DropoutParams& p, const TensorView& from, const TensorView& to, Affine affine,
           cudaStream_t stream) {
  const DropoutDraw draw{p.seed, p.offset, drop_threshold(p.p), p.span};
  const std::int64_t n = from.numel();
  if (n == 0) return;
  visit_gpu(from.dtype, [&]<class T>() {
    if (p.span == 1 && n % 4 == 0 && vectorizable(8, from, to)) {
      by_fours<<<blocks_for(n, 1024), 256, 0, stream>>>(to.as<T>(), from.as<const T>(), n, draw,
                                                        affine);
    } else {
      map<T>(to, Channelwise{draw, affine}, stream, from);
    }
  });
}

}  // namespace

void dropout_forward(const DropoutParams& params, const TensorView& input, const TensorView& output,
                     cudaStream_t stream) {
  apply(params, input, output,
        {static_cast<float>(params.scale), static_cast<float>(params.shift),
         static_cast<float>(params.fill)},
        stream);
}

void dropout_backward(const DropoutParams& params, const TensorView& grad,
                      const TensorView& grad_input, cudaStream_t stream) {
  apply(params, grad, grad_input, {static_cast<float>(params.scale), 0, 0}, stream);
}

}  // namespace pyfast::cuda
