// Where the pixels of an array with channels lie, and the chunks in which they are summed.
#pragma once

#include <algorithm>

#include "cuda/ops/conv/indices.h"

namespace pyfast::cuda {

struct PixelSum {
  std::int64_t channels, pixels, height, width;
  std::int64_t n, c, y, x;  // steps from one to the next
  std::int64_t chunks = 1, each = 1;
  bool vectors;  // channels may be read 16 bytes at a time

  // `of_maps`: of the maps, not the image.
  PixelSum(const ConvIndices& indices, bool of_maps, const TensorView& dz)
      : channels(indices.groups * (of_maps ? indices.maps : indices.channels)),
        height(of_maps ? indices.y.maps : indices.y.image),
        width(of_maps ? indices.x.maps : indices.x.image) {
    constexpr std::int64_t kLeast = 2048, kMost = 256;  // pixels of a chunk; chunks
    const ConvStrides& s = of_maps ? indices.of_maps : indices.image;
    n = s.n, c = s.c, y = s.y, x = s.x;
    pixels = indices.batch * height * width;
    const std::int64_t wanted = std::clamp<std::int64_t>(pixels / kLeast, 1, kMost);
    each = std::max<std::int64_t>((pixels + wanted - 1) / wanted, 1);
    chunks = std::max<std::int64_t>((pixels + each - 1) / each, 1);
    const std::int64_t width_of_load = 16 / static_cast<std::int64_t>(item_size(dz.dtype));
    vectors = c == 1 && (channels | n | y | x) % width_of_load == 0 &&
              reinterpret_cast<std::uintptr_t>(dz.data) % 16 == 0;
  }

  PYFAST_HOST_DEVICE std::int64_t place(std::int64_t pixel) const {
    if (pixels > INT32_MAX) {
      const std::int64_t line = pixel / width;
      return line / height * n + line % height * y + pixel % width * x;
    }
    const auto p = static_cast<std::uint32_t>(pixel), w = static_cast<std::uint32_t>(width);
    const std::uint32_t line = p / w, h = static_cast<std::uint32_t>(height);
    return line / h * n + line % h * y + p % w * x;
  }
};

}  // namespace pyfast::cuda
