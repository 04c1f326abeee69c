// A C-ordered array seen as [outer, n, inner] around the softmax axis.
#pragma once

#include "ops/softmax/softmax.h"

namespace pyfast {

struct SoftmaxLayout {
  std::int64_t outer = 1, n = 1, inner = 1;

  SoftmaxLayout(const SoftmaxParams& params, const Dims& shape) {
    for (int i = 0; i < shape.rank(); ++i)
      (i < params.axis ? outer : i == params.axis ? n : inner) *= shape[i];
  }
  // Where row `row` of outer * inner begins; its elements are `inner` apart.
  std::int64_t start(std::int64_t row) const { return row / inner * n * inner + row % inner; }
};

}  // namespace pyfast
