// Where a column's entry lies in the image, and the entries that hold a pixel, for GPU and host: a
// convolution's index maps (conv/indices.h) with one map, whose pixels are the blocks.
#pragma once

#include "cuda/ops/conv/indices.h"
#include "ops/unfold/unfold.h"

namespace pyfast::cuda {

struct UnfoldPlaces {
  ConvIndices at;
  std::int64_t blocks;

  explicit UnfoldPlaces(const UnfoldParams& p)
      : at({p.batch, 1, p.channels, 1, p.y, p.x}, 2, image(p),
           TensorView(nullptr, DType::f32, {1, p.channels, p.y.kernel, p.x.kernel}), columns(p)),
        blocks(p.blocks()) {}

  // The image's position of flat entry i of the columns (n, (c, tap), block), or kZero.
  PYFAST_HOST_DEVICE std::int64_t source(std::int64_t i) const {
    const std::int64_t block = i % blocks, row = i / blocks, rows = at.channels * at.taps();
    return at.patch(0, row / rows * blocks + block, row % rows);
  }
  // f(flat entry) for the entries that hold flat pixel i of the image (n, c, y, x), tap by tap.
  template <class F>
  PYFAST_HOST_DEVICE void each_place(std::int64_t i, F f) const {
    const std::int64_t plane = at.y.image * at.x.image, channel = i / plane % at.channels;
    const std::int64_t pixel = i / plane / at.channels * plane + i % plane;
    for (std::int64_t tap = 0; tap < at.taps(); ++tap) {
      const std::int64_t first = at.source(0, pixel, tap);
      if (first != kZero) f(first + (channel * at.taps() + tap) * blocks);
    }
  }

 private:
  static TensorView image(const UnfoldParams& p) {
    return {nullptr, DType::f32, {p.batch, p.channels, p.y.image, p.x.image}};
  }
  // The first row of every image's columns, seen as its one map.
  static TensorView columns(const UnfoldParams& p) {
    const std::int64_t each = p.channels * p.taps() * p.blocks();
    return {nullptr, DType::f32, {p.batch, 1, p.y.maps, p.x.maps}, {each, each, p.x.maps, 1}};
  }
};

}  // namespace pyfast::cuda
