#include "cuda/core/contraction.cuh"
#include "cuda/core/elementwise.cuh"
#include "cuda/core/parameter.cuh"
#include "cuda/ops/activation/functions.h"
#include "cuda/ops/conv/bias.cuh"
#include "cuda/ops/conv/conv.h"

namespace pyfast::cuda {

namespace {

// Not inlined: a thread stores 32 elements, and the switch would be there 32 times.
__device__ __noinline__ float activated(Activation a, float x) { return activate(a, x); }

template <class T, class Place>
struct PutConv {
  T *out, *linear;
  const T* residual;
  Parameter<T> scale, bias;
  Activation activation;
  Place place;
  __device__ void operator()(std::int64_t g, std::int64_t i, std::int64_t j, float v) const {
    const std::int64_t at = place.at(g, i, j), channel = place.channel(g, i);
    v = fmaf(v, scale[channel], bias[channel]);
    if (residual) v += to_float(residual[at]);
    if (linear) linear[at] = from_float<T>(v);
    out[at] = from_float<T>(activation == Activation::none ? v : activated(activation, v));
  }
};

template <class Place>
auto put(const ConvEpilogue& e, const TensorView& out, const Place& place, auto type) {
  using T = decltype(type);
  return PutConv<T, Place>{out.as<T>(),
                           e.linear.as<T>(),
                           e.residual.as<T>(),
                           {e.scale, 1.0f},
                           {e.bias, 0.0f},
                           e.activation,
                           place};
}

struct Activate {
  Activation activation;
  __device__ float operator()(std::int64_t, float x) const { return activate(activation, x); }
};

struct Gate {
  Activation activation;
  __device__ float operator()(std::int64_t, float grad, float saved) const {
    return activate_backward(activation, grad, saved);
  }
};

}  // namespace

void conv_maps(const ConvIndices& n, const TensorView& image, const TensorView& weight,
               const ConvEpilogue& epilogue, const TensorView& maps, const TensorView& parts,
               cudaStream_t stream) {
  visit_gpu(maps.dtype, [&]<class T>() {
    contract<T>(n.maps_sum(), weight.data, MapsWeight{n}, image.data,
                MapsPatches{n, n.image.c != 1}, put(epilogue, maps, MapsPlace{n}, T()),
                parts.as<float>(), stream);
  });
}

void conv_image(const ConvIndices& n, const TensorView& maps, const TensorView& weight,
                const ConvEpilogue& epilogue, const TensorView& image, const TensorView& parts,
                cudaStream_t stream) {
  visit_gpu(image.dtype, [&]<class T>() {
    contract<T>(n.image_sum(), weight.data, ImageWeight{n}, maps.data,
                ImageSources{n, n.of_maps.c != 1}, put(epilogue, image, ImagePlace{n}, T()),
                parts.as<float>(), stream);
  });
}

void conv_weight(const ConvIndices& n, const TensorView& maps, const TensorView& image,
                 const TensorView& grad_weight, const TensorView& parts, cudaStream_t stream) {
  visit_gpu(grad_weight.dtype, [&]<class T>() {
    contract<T>(n.weight_sum(), maps.data, WeightMaps{n, n.of_maps.c == 1}, image.data,
                WeightPatches{n, false}, put({}, grad_weight, WeightPlace{n}, T()),
                parts.as<float>(), stream);
  });
}

void conv_activate(Activation activation, const TensorView& linear, const TensorView& output,
                   cudaStream_t stream) {
  visit_gpu(output.dtype, [&]<class T>() { map<T>(output, Activate{activation}, stream, linear); });
}

void conv_gate(Activation activation, const TensorView& grad, const TensorView& saved,
               const TensorView& dz, cudaStream_t stream) {
  visit_gpu(dz.dtype, [&]<class T>() { map<T>(dz, Gate{activation}, stream, grad, saved); });
}

void conv_bias(const PixelSum& sum, const TensorView& dz, const TensorView& grad_bias,
               const TensorView& parts, cudaStream_t stream) {
  visit_gpu(dz.dtype,
            [&]<class T>() { sum_pixels_into<T>(sum, dz, grad_bias, parts, Launch{stream}); });
}

}  // namespace pyfast::cuda
