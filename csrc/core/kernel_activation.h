// The inner loop of activation_backward.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/isa.h"

namespace pyfast {

template <class T>
struct ActivationKernels {
  // dx = g * a'(saved), n contiguous elements; dx may be g
  void (*backward)(Activation a, T* dx, const T* g, const T* saved, std::int64_t n);
};

PYFAST_KERNEL_TABLE(ActivationKernels, activation_kernels)

}  // namespace pyfast
