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

  PYFAST_HOST_DEVICE int at(std::uint32_t element, int axis) const {
    return static_cast<int>(element / divisor[axis] % size[axis]);
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

// False where the driver refuses.
bool encode(const TensorBoxes& boxes, CUtensorMap& to);
// The emulator reads what a map is made of.
inline bool encode(const TensorBoxes& boxes, TensorBoxes& to) {
  to = boxes;
  return true;
}

}  // namespace pyfast::cuda
