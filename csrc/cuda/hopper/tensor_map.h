// What TMA is told of an array: a batch of matrices of 16-bit elements, of which it copies boxes.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "core/dtype.h"
#include "cuda/core/axes.h"

namespace pyfast::cuda {

// Axis 0 holds columns, 1 rows, the others those of the batch that move in memory. Boxes are 64
// columns by box_rows rows of one matrix; what lies outside the array reads as 0.
struct TensorBoxes {
  static constexpr int kRank = 5, kBatchAxes = kRank - 2;
  const void* data = nullptr;
  DType dtype = DType::f16;
  std::uint64_t size[kRank] = {1, 1, 1, 1, 1};
  std::uint64_t stride[kRank] = {2, 16, 16, 16, 16};  // in bytes; the first is that of an element
  std::uint32_t box_rows = 0;
};

// From an element of the batch to its coordinates along a TensorBoxes' last axes.
struct BatchCoordinates {
  std::uint32_t divisor[TensorBoxes::kBatchAxes] = {1, 1, 1};
  std::uint32_t size[TensorBoxes::kBatchAxes] = {1, 1, 1};

  PYFAST_HOST_DEVICE int at(int element, int axis) const {
    return place(element, static_cast<int>(divisor[axis]), static_cast<int>(size[axis]));
  }
  static PYFAST_HOST_DEVICE int place(int element, int divisor, int size) {
    const auto turns = static_cast<std::uint32_t>(element) / static_cast<std::uint32_t>(divisor);
    return static_cast<int>(turns % static_cast<std::uint32_t>(size));
  }
};

struct BatchOfBoxes {
  TensorBoxes boxes;
  BatchCoordinates batch;
};

// False where TMA cannot read the matrices as they lie: their rows must be dense, everything at
// multiples of 16 bytes, no stride negative, and few axes of the batch may move. Strides are in
// elements.
bool batch_of_boxes(const void* data, DType dtype, std::int64_t rows, std::int64_t columns,
                    std::int64_t row_stride, const Axes& batch, int box_rows, BatchOfBoxes& to);

// Images of 16-bit elements, channels beside each other, of which TMA copies 64 channels of
// `pixels` pixels at a time ("im2col mode"). A walk goes along x from `corner` in steps of `step`,
// as long as it stays before the image's end moved by `end`; then on in the next row, and in the
// next image. Pixels are read at their place in the walk plus a tap's offset; outside the images
// they are 0. Axes are channel, x, y, image; pairs are x, y.
struct TensorPixels {
  static constexpr int kRank = 4;
  const void* data = nullptr;
  DType dtype = DType::f16;
  std::uint64_t size[kRank] = {1, 1, 1, 1};
  std::uint64_t stride[kRank] = {2, 16, 16, 16};  // in bytes; the first is that of an element
  int corner[2] = {0, 0}, end[2] = {0, 0}, step[2] = {1, 1};
  std::uint32_t pixels = 0;

  // What a map of this rank has room for.
  bool fits() const;
};

// False where the driver refuses.
bool encode(const TensorBoxes& boxes, CUtensorMap& to);
bool encode(const TensorPixels& pixels, CUtensorMap& to);
// The emulator reads what a map is made of.
template <class Map>
bool encode(const Map& map, Map& to) {
  to = map;
  return true;
}

}  // namespace pyfast::cuda
