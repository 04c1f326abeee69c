// Several axes of an array taken together as one, in C order, for GPU and host.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/tensor.h"
#include "cuda/core/host_device.h"

namespace pyfast::cuda {

struct Axes {
  static constexpr int kMost = 8;
  int rank = 0;
  std::int64_t size[kMost] = {}, stride[kMost] = {};

  // Neighbours that lie as one axis become one; false when more than kMost remain.
  bool push(std::int64_t n, std::int64_t step) {
    if (n == 1) return true;
    if (rank > 0 && stride[rank - 1] == n * step) {
      size[rank - 1] *= n;
      stride[rank - 1] = step;
      return true;
    }
    if (rank == kMost) return false;
    size[rank] = n;
    stride[rank++] = step;
    return true;
  }
  bool same(const Axes& other) const {
    return rank == other.rank && std::equal(size, size + rank, other.size) &&
           std::equal(stride, stride + rank, other.stride);
  }
  PYFAST_HOST_DEVICE std::int64_t offset(std::int64_t index) const {
    std::int64_t at = 0;
    for (int i = rank - 1; i > 0; --i) {
      at += index % size[i] * stride[i];
      index /= size[i];
    }
    return rank > 0 ? at + index * stride[0] : 0;
  }
};

}  // namespace pyfast::cuda
