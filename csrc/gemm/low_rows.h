// A few rows times a B that is packed already: summed up as exactly as PyTorch does so few.
#pragma once

#include "gemm/gemm.h"

namespace pyfast::gemm {

// Whether it was such a product; then it is done.
template <class T>
bool low_rows_gemm(const Problem<T>& problem);

}  // namespace pyfast::gemm
