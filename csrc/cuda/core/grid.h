// The number of blocks of a launch.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pyfast::cuda {

// A launch takes 2^31 - 1 blocks at most and refuses more, which run() raises; cut off at 32 bits
// they would silently become few.
inline unsigned grid_size(std::int64_t blocks) {
  return static_cast<unsigned>(std::min<std::int64_t>(blocks, UINT32_MAX));
}

}  // namespace pyfast::cuda
