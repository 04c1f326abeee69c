// Inner loops of dropout.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

template <class T>
struct DropoutKernels {
  // y[i] = word(first + i) >= threshold ? scale x[i] + shift : fill; `first` divisible by 4
  void (*elements)(T* y, const T* x, std::int64_t n, std::uint64_t seed, std::uint64_t offset,
                   std::uint64_t first, std::uint64_t threshold, T scale, T shift, T fill);
  // y = scale x + shift
  void (*affine)(T* y, const T* x, std::int64_t n, T scale, T shift);
};

PYFAST_KERNEL_TABLE(DropoutKernels, dropout_kernels)

}  // namespace pyfast
