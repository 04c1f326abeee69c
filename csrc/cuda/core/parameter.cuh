// Weights, biases and running statistics: of the input's dtype, or float32 beside 16 bits.
#pragma once

#include "cuda/core/numeric.cuh"

namespace pyfast::cuda {

template <class T>
struct Parameter {
  void* data;
  bool wide;  // float32
  float otherwise;

  Parameter(const TensorView& view, float otherwise_)
      : data(view.defined ? view.data : nullptr),
        wide(view.dtype == DType::f32),
        otherwise(otherwise_) {}
  __device__ __forceinline__ explicit operator bool() const { return data != nullptr; }
  __device__ __forceinline__ float operator[](std::int64_t i) const {
    if (!data) return otherwise;
    return wide ? static_cast<const float*>(data)[i] : to_float(static_cast<const T*>(data)[i]);
  }
  __device__ __forceinline__ void set(std::int64_t i, float value) const {
    if (wide)
      static_cast<float*>(data)[i] = value;
    else
      static_cast<T*>(data)[i] = from_float<T>(value);
  }
};

}  // namespace pyfast::cuda
