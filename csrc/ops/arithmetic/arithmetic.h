// What Tensor's operators do on large arrays: elementwise arithmetic of two operands, broadcast,
// and elementary functions of one. Small arrays are NumPy's.
#pragma once

#include <string_view>

#include "core/shape.h"
#include "core/tensor.h"

namespace pyfast {

enum class Binary : std::uint8_t { add, subtract, multiply, divide };
enum class Elementary : std::uint8_t { negative, absolute, exp, expm1, log, log1p, sqrt };

struct BinaryParams {
  Binary operation;
  Dims shape;  // of the result
};

// ValueError for a name that is none of the above.
Elementary elementary_from(std::string_view name);
BinaryParams check_binary(std::string_view operation, const TensorView& a, const TensorView& b);

// output = a operation b, elementwise; operands are stretched to params.shape.
void binary(const BinaryParams& params, const TensorView& a, const TensorView& b,
            const TensorView& output);
// output = function(input), elementwise.
void elementary(Elementary function, const TensorView& input, const TensorView& output);

namespace reference {
void binary(const BinaryParams& params, const TensorView& a, const TensorView& b,
            const TensorView& output);
void elementary(Elementary function, const TensorView& input, const TensorView& output);
}  // namespace reference

// `view` with axes in front and strides of 0 where it is stretched to `shape`.
TensorView stretched(const TensorView& view, const Dims& shape);

}  // namespace pyfast
