// In which order an array's axes lie.
#pragma once

#include "core/tensor.h"

namespace pyfast::cuda {

// Whether (N, C, ...) lies as (N, ..., C) does in C order, and not in C order itself. Of two axes:
// always.
bool channels_last(const TensorView& x);

}  // namespace pyfast::cuda
