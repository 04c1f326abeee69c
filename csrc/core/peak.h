// Measuring the multiply-add peak of one thread, a short slice at a time.
#pragma once

#include "core/dtype.h"

namespace pyfast {

// Flops per second over about a millisecond, on the active ISA.
double fma_rate(DType dtype);

}  // namespace pyfast
