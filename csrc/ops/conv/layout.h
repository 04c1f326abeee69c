// Arrays of rank 2 to 4 seen as images: (N, C, H, W) with a stride for each axis.
#pragma once

#include "core/tensor.h"

namespace pyfast {

template <class T>
struct Image {
  T* data;
  std::int64_t sample, channel, row, column;  // strides

  // A batch axis that is not there has stride 0; a 1-d signal is one row.
  Image(const TensorView& view, int spatial) : data(view.as<T>()) {
    const int rank = view.rank();
    sample = rank == spatial + 2 ? view.strides[0] : 0;
    channel = view.strides[rank - spatial - 1];
    column = view.strides[rank - 1];
    row = spatial == 2 ? view.strides[rank - 2] : view.shape[rank - 1] * column;
  }
  T& at(std::int64_t n, std::int64_t c, std::int64_t y, std::int64_t x) const {
    return data[n * sample + c * channel + y * row + x * column];
  }
};

}  // namespace pyfast
