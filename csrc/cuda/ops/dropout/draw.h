// Which elements dropout keeps, for GPU and host.
#pragma once

#include <cstdint>

#include "cuda/core/host_device.h"

namespace pyfast::cuda {

struct DropoutDraw {
  std::uint64_t seed, offset, threshold;
  std::int64_t span;

  PYFAST_HOST_DEVICE bool keeps(std::int64_t i) const {
    return philox_word(seed, offset, static_cast<std::uint64_t>(i / span)) >= threshold;
  }
  // Of four neighbours from a multiple of 4 on, with span 1: one block of the generator.
  PYFAST_HOST_DEVICE void keeps4(std::int64_t i, bool (&keep)[4]) const {
    const PhiloxWords words = philox_block(seed, offset, static_cast<std::uint64_t>(i) / 4);
    for (int j = 0; j < 4; ++j) keep[j] = words.word[j] >= threshold;
  }
};

}  // namespace pyfast::cuda
