// Windows as Python gives them, for the bindings of _core and _cuda.
#pragma once

#include <optional>

#include "core/arguments.h"
#include "ops/pool/pool.h"

namespace pyfast {

template <int spatial>
PoolWindowSizes window_sizes(const char* op, py::handle kernel_size, py::handle stride,
                             py::handle padding, py::handle dilation, bool ceil_mode) {
  PoolWindowSizes sizes;
  sizes.kernel = to_dims(kernel_size, {op, "kernel_size"}, spatial);
  sizes.stride = stride.is_none() ? sizes.kernel : to_dims(stride, {op, "stride"}, spatial);
  sizes.padding = to_dims(padding, {op, "padding"}, spatial);
  sizes.dilation = to_dims(dilation, {op, "dilation"}, spatial);
  sizes.ceil_mode = ceil_mode;
  return sizes;
}

// An int, None, or a sequence of `spatial` of them.
template <int spatial>
Dims output_sizes(const char* op, py::handle object) {
  const Where where{op, "output_size"};
  const auto entry = [&](py::handle h) { return h.is_none() ? kAsInput : to_int(h, where); };
  if (py::isinstance<py::tuple>(object) || py::isinstance<py::list>(object)) {
    const auto entries = py::reinterpret_borrow<py::sequence>(object);
    if (entries.size() != spatial)
      throw ValueError(concat(where, " must be an int or ", spatial, " ints, got ",
                              py::repr(object).cast<std::string>()));
    Dims sizes;
    for (const auto& item : entries) sizes.push_back(entry(item));
    return sizes;
  }
  Dims sizes{entry(object)};
  if (spatial == 2) sizes.push_back(sizes[0]);
  return sizes;
}

template <int spatial>
PoolParams avg_params(const char* op, const Dims& shape, py::handle kernel_size, py::handle stride,
                      py::handle padding, bool ceil_mode, bool count_include_pad,
                      py::handle divisor_override) {
  const auto sizes =
      window_sizes<spatial>(op, kernel_size, stride, padding, py::int_(1), ceil_mode);
  const std::int64_t divisor =
      divisor_override.is_none() ? 0 : to_int(divisor_override, {op, "divisor_override"});
  return check_avg_pool(op, spatial, shape, sizes, count_include_pad,
                        divisor_override.is_none() ? nullptr : &divisor);
}

// Of the indices of max pooling, where they are wanted.
inline std::optional<DType> positions_if(bool wanted) {
  return wanted ? std::optional(DType::i64) : std::nullopt;
}

}  // namespace pyfast
