#include <algorithm>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/arithmetic/arithmetic.h"
#include "ops/arithmetic/kernel.h"

namespace pyfast {

namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements of a chunk

// Result and operands with as few axes as possible: neighbours merged where both operands allow.
struct Collapsed {
  Dims shape, a, b;

  Collapsed(const Dims& full, const TensorView& x, const TensorView& y) {
    for (int i = 0; i < full.rank(); ++i) {
      if (full[i] == 1) continue;
      const int last = shape.rank() - 1;
      if (last >= 0 && a[last] == x.strides[i] * full[i] && b[last] == y.strides[i] * full[i]) {
        shape[last] *= full[i];
        a[last] = x.strides[i];
        b[last] = y.strides[i];
      } else {
        shape.push_back(full[i]);
        a.push_back(x.strides[i]);
        b.push_back(y.strides[i]);
      }
    }
    if (shape.rank() > 0) return;
    shape.push_back(1);
    a.push_back(0);
    b.push_back(0);
  }
};

// Where row `row` of an operand begins, rows counted over all axes but the last.
std::int64_t row_offset(const Dims& shape, const Dims& strides, std::int64_t row) {
  std::int64_t offset = 0;
  for (int axis = shape.rank() - 2; axis >= 0; --axis) {
    offset += row % shape[axis] * strides[axis];
    row /= shape[axis];
  }
  return offset;
}

// Whether the elements along the innermost axis, of those longer than one, are neighbours or all
// the same.
bool in_rows(const TensorView& x) {
  for (int i = x.rank() - 1; i >= 0; --i)
    if (x.shape[i] != 1) return x.strides[i] == 1 || x.strides[i] == 0;
  return true;
}

}  // namespace

void binary(const BinaryParams& params, const TensorView& a, const TensorView& b,
            const TensorView& output) {
  if (output.numel() == 0) return;
  visit(a.dtype, [&]<class T>() {
    const auto unless_in_rows = [&](const TensorView& x) {
      return in_rows(stretched(x, params.shape)) ? TensorView() : x;
    };
    const Contiguous<T> packed_a(unless_in_rows(a)), packed_b(unless_in_rows(b));
    const auto seen = [&](const TensorView& x, const Contiguous<T>& packed) {
      const TensorView view =
          packed.data() ? TensorView(const_cast<T*>(packed.data()), x.dtype, x.shape) : x;
      return stretched(view, params.shape);
    };
    const TensorView x = seen(a, packed_a), y = seen(b, packed_b);
    const Collapsed c(params.shape, x, y);
    const std::int64_t n = c.shape.back(), rows = output.numel() / n;
    const std::int64_t pieces = (n - 1) / kGrain + 1;
    const auto kernel = arithmetic_kernels<T>().binary;
    parallel_for(rows * pieces, pieces > 1 ? 1 : 1 + kGrain / n,
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t row = i / pieces, at = i % pieces * kGrain;
                     kernel(params.operation, output.as<T>() + row * n + at,
                            x.as<T>() + row_offset(c.shape, c.a, row) + at * c.a.back(), c.a.back(),
                            y.as<T>() + row_offset(c.shape, c.b, row) + at * c.b.back(), c.b.back(),
                            std::min(kGrain, n - at));
                   }
                 });
  });
}

void elementary(Elementary function, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    const auto kernel = arithmetic_kernels<T>().elementary;
    parallel_for(input.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      kernel(function, output.as<T>() + begin, x.data() + begin, end - begin);
    });
  });
}

}  // namespace pyfast
