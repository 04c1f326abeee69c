// The settings of a call from Python, for the bindings of CPU and GPU.
#pragma once

#include <algorithm>

#include "core/arguments.h"
#include "ops/attention/attention.h"

namespace pyfast {

struct AttentionSettings {
  AttentionParams params;
  bool scale_given;

  AttentionSettings(const char* op, py::handle dropout_p, bool is_causal, py::handle scale,
                    bool enable_gqa, std::uint64_t seed, std::uint64_t offset,
                    py::handle window_size)
      : scale_given(!scale.is_none()) {
    params.dropout_p = to_double(dropout_p, {op, "dropout_p"});
    params.is_causal = is_causal;
    if (scale_given) params.scale = to_double(scale, {op, "scale"});
    params.enable_gqa = enable_gqa;
    params.seed = seed;
    params.offset = offset;
    if (!window_size.is_none()) set_window(op, window_size);
  }

 private:
  void set_window(const char* op, py::handle window_size) {
    const Dims sides = to_dims(window_size, {op, "window_size"}, 2);
    const auto bound = [](std::int64_t side) {
      return side == -1 ? kUnboundedWindow : std::min(side, kUnboundedWindow);
    };
    params.window_left = bound(sides[0]);
    params.window_right = bound(sides[1]);
  }
};

}  // namespace pyfast
