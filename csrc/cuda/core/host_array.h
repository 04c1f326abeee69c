// NumPy arrays for the host's copies of kernels (`_cuda.host`, tests/test_cuda_*.py).
#pragma once

#include <pybind11/numpy.h>

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

inline HostArray new_array(const Dims& shape) {
  return HostArray(std::vector<pybind11::ssize_t>(shape.span().begin(), shape.span().end()));
}

}  // namespace pyfast::cuda
