// Overflow-safe shape arithmetic and the checks every op family shares.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "core/tensor.h"

namespace pyfast {

// Who is complaining, about what: "conv2d", "stride".
struct Where {
  const char* op;
  const char* argument;
};

std::string str(const Where& w);    // "conv2d: stride"
std::string str(const Dims& dims);  // "(2, 3)"

// a * b and a + b; ValueError naming the op when the result leaves int64.
std::int64_t checked_mul(const char* op, std::int64_t a, std::int64_t b);
std::int64_t checked_add(const char* op, std::int64_t a, std::int64_t b);
// Elements of a shape about to be allocated; ValueError when bytes would overflow.
std::int64_t checked_numel(const char* op, const Dims& shape);

// -rank <= axis < rank, returned in [0, rank); IndexError otherwise, as in NumPy and PyTorch.
int checked_axis(Where where, std::int64_t axis, int rank);

void require_floating(Where where, const TensorView& x);
void require_rank(Where where, const TensorView& x, int rank);
void require_min_rank(Where where, const TensorView& x, int rank);
void require_shape(Where where, const TensorView& x, const Dims& shape);
// same dtype as the op's main input (whose name is main_argument)
void require_same_dtype(Where where, const TensorView& x, const char* main_argument,
                        const TensorView& main);

// NumPy broadcasting of x against `shape`: strides of x as seen from `shape` (0 where broadcast).
Dims broadcast_strides(Where where, const TensorView& x, const Dims& shape);

}  // namespace pyfast
