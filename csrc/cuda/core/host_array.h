// NumPy arrays for the host's copies of kernels (`_cuda.host`, tests/test_cuda_*.py).
#pragma once

#include <pybind11/numpy.h>

#include <string>

#include "core/tensor.h"

namespace pyfast::cuda {

using HostArray = pybind11::array_t<float>;  // of any strides

inline TensorView view_of(const HostArray& x) {
  Dims shape, strides;
  for (pybind11::ssize_t i = 0; i < x.ndim(); ++i) {
    shape.push_back(x.shape(i));
    strides.push_back(x.strides(i) / static_cast<pybind11::ssize_t>(sizeof(float)));
  }
  return {const_cast<float*>(x.data()), DType::f32, shape, strides};
}

// numpy has no bfloat16: such arrays come as uint16, and `dtype` says what they are.
inline TensorView view_of(const pybind11::array& x, DType dtype) {
  Dims shape, strides;
  for (pybind11::ssize_t i = 0; i < x.ndim(); ++i) {
    shape.push_back(x.shape(i));
    strides.push_back(x.strides(i) / x.itemsize());
  }
  return {const_cast<void*>(x.data()), dtype, shape, strides};
}

inline DType dtype_of(const std::string& name) {
  return name == "float16" ? DType::f16 : name == "bfloat16" ? DType::bf16 : DType::f32;
}

inline HostArray new_array(const Dims& shape) {
  return HostArray(std::vector<pybind11::ssize_t>(shape.span().begin(), shape.span().end()));
}

}  // namespace pyfast::cuda
