#include "core/shape.h"

#include <limits>

namespace pyfast {

namespace {
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
}

std::string str(const Where& w) { return concat(w.op, ": ", w.argument); }
std::string str(const Dims& dims) { return str(dims.span()); }

std::int64_t checked_mul(const char* op, std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (__builtin_mul_overflow(a, b, &result))
    throw ValueError(concat(op, ": size overflows 64 bits: ", a, " * ", b));
  return result;
}

std::int64_t checked_add(const char* op, std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (__builtin_add_overflow(a, b, &result))
    throw ValueError(concat(op, ": size overflows 64 bits: ", a, " + ", b));
  return result;
}

std::int64_t checked_numel(const char* op, const Dims& shape) {
  std::int64_t n = 1;  // of the axes that are not empty: sizes beside an empty one count as well
  bool empty = false;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] < 0) throw ValueError(concat(op, ": negative size in shape ", shape));
    empty |= shape[i] == 0;
    if (shape[i] > 0 && (__builtin_mul_overflow(n, shape[i], &n) || n > kMax / 16))
      throw ValueError(concat(op, ": shape ", shape, " is too large to allocate"));
  }
  return empty ? 0 : n;
}

int checked_axis(Where where, std::int64_t axis, int rank) {
  const int range = rank == 0 ? 1 : rank;
  if (axis < -range || axis >= range)
    throw IndexError(concat(where, " must be in [", -range, ", ", range - 1, "], got ", axis));
  return static_cast<int>(axis < 0 ? axis + range : axis);
}

void require_floating(Where where, const TensorView& x) {
  if (!is_floating(x.dtype))
    throw TypeError(concat(where, " must be float32 or float64, got ", name(x.dtype)));
}

void require_rank(Where where, const TensorView& x, int rank) {
  if (x.rank() != rank)
    throw ValueError(concat(where, " must have ", rank, " dimensions, got shape ", x.shape));
}

void require_min_rank(Where where, const TensorView& x, int rank) {
  if (x.rank() < rank)
    throw ValueError(
        concat(where, " must have at least ", rank, " dimensions, got shape ", x.shape));
}

void require_shape(Where where, const TensorView& x, const Dims& shape) {
  if (!(x.shape == shape))
    throw ValueError(concat(where, " must have shape ", shape, ", got ", x.shape));
}

void require_same_dtype(Where where, const TensorView& x, const char* main_argument,
                        const TensorView& main) {
  if (x.dtype != main.dtype)
    throw TypeError(concat(where, " must have the dtype of ", main_argument, " (", name(main.dtype),
                           "), got ", name(x.dtype)));
}

Dims broadcast_strides(Where where, const TensorView& x, const Dims& shape) {
  const int lead = shape.rank() - x.rank();
  Dims strides(shape.span());
  bool ok = lead >= 0;
  for (int i = 0; ok && i < shape.rank(); ++i) {
    const int j = i - lead;
    if (j < 0 || (x.shape[j] == 1 && shape[i] != 1)) {
      strides[i] = 0;
    } else {
      ok = x.shape[j] == shape[i];
      strides[i] = x.strides[j];
    }
  }
  if (!ok) throw ValueError(concat(where, " of shape ", x.shape, " does not broadcast to ", shape));
  return strides;
}

}  // namespace pyfast
