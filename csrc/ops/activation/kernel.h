// Inner loops of the unary activations, over contiguous elements.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/activation/unary.h"

namespace pyfast {

template <class T>
struct UnaryKernels {
  void (*forward)(const UnaryParams& params, T* y, const T* x, std::int64_t n);
  // dx = g f'; `saved` as in unary.h
  void (*backward)(const UnaryParams& params, T* dx, const T* g, const T* saved, std::int64_t n);
};

PYFAST_KERNEL_TABLE(UnaryKernels, unary_kernels)

}  // namespace pyfast
