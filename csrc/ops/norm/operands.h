// Small operands read and written one by one: a value per channel.
#pragma once

#include <cstring>

#include "core/tensor.h"

namespace pyfast {

inline void write_zeros(const TensorView& view) {
  if (!view.defined) return;
  std::memset(view.data, 0, static_cast<std::size_t>(view.numel() * item_size(view.dtype)));
}

// Entry c of an optional operand with one value per channel.
template <class T>
double channel_value(const TensorView& view, std::int64_t c, double otherwise) {
  return view.defined ? double{view.as<T>()[c * view.strides[0]]} : otherwise;
}

// running = (1 - momentum) running + momentum value
template <class T>
void move_running(const TensorView& running, std::int64_t c, double momentum, double value) {
  T& entry = running.as<T>()[c * running.strides[0]];
  entry = static_cast<T>((1 - momentum) * double{entry} + momentum * value);
}

}  // namespace pyfast
