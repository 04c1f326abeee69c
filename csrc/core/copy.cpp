#include "core/copy.h"

#include <cstring>

#include "core/parallel.h"

namespace pyfast {

namespace {

// The same elements with as few axes as possible: unit axes dropped, mergeable neighbours merged.
TensorView collapse(const TensorView& src) {
  Dims shape, strides;
  for (int i = 0; i < src.rank(); ++i) {
    if (src.shape[i] == 1) continue;
    const int last = shape.rank() - 1;
    if (last >= 0 && strides[last] == src.strides[i] * src.shape[i]) {
      shape[last] *= src.shape[i];
      strides[last] = src.strides[i];
    } else {
      shape.push_back(src.shape[i]);
      strides.push_back(src.strides[i]);
    }
  }
  return {src.data, src.dtype, shape, strides};
}

template <class T>
void copy_row(T* dst, const T* src, std::int64_t n, std::int64_t stride) {
  if (stride == 1) {
    std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(T));
  } else {
    for (std::int64_t i = 0; i < n; ++i) dst[i] = src[i * stride];
  }
}

// Offset in src of the first element of row `row`, rows counted over all axes but the last.
std::int64_t row_offset(const TensorView& src, std::int64_t row) {
  std::int64_t offset = 0;
  for (int axis = src.rank() - 2; axis >= 0; --axis) {
    offset += (row % src.shape[axis]) * src.strides[axis];
    row /= src.shape[axis];
  }
  return offset;
}

// Transposed pair of last axes: square blocks, so that both sides stay in cache lines.
template <class T>
void copy_transposed(T* dst, const T* src, std::int64_t rows, std::int64_t cols,
                     std::int64_t col_stride) {
  constexpr std::int64_t kBlock = 32;
  parallel_for((rows + kBlock - 1) / kBlock, 1 + (1 << 16) / (kBlock * cols + 1),
               [&](std::int64_t begin, std::int64_t end) {
                 const std::int64_t stop = end * kBlock < rows ? end * kBlock : rows;
                 for (std::int64_t c = 0; c < cols; c += kBlock)
                   for (std::int64_t r = begin * kBlock; r < stop; ++r)
                     for (std::int64_t j = c; j < cols && j < c + kBlock; ++j)
                       dst[r * cols + j] = src[r + j * col_stride];
               });
}

template <class T>
void copy_any(T* dst, const TensorView& src) {
  const int last = src.rank() - 1;
  const std::int64_t cols = src.shape[last];
  const std::int64_t rows = src.numel() / cols;
  if (src.rank() == 2 && src.strides[0] == 1) {
    copy_transposed(dst, src.as<T>(), rows, cols, src.strides[1]);
    return;
  }
  parallel_for(rows, 1 + (1 << 16) / cols, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      copy_row(dst + r * cols, src.as<T>() + row_offset(src, r), cols, src.strides[last]);
  });
}

}  // namespace

void copy_contiguous(void* dst, const TensorView& src) {
  if (src.numel() == 0) return;
  TensorView flat = collapse(src);
  if (flat.rank() == 0) flat = {src.data, src.dtype, Dims{1}, Dims{1}};
  switch (item_size(src.dtype)) {
    case 8: return copy_any(static_cast<std::int64_t*>(dst), flat);
    case 4: return copy_any(static_cast<std::int32_t*>(dst), flat);
    default: return copy_any(static_cast<std::int8_t*>(dst), flat);
  }
}

}  // namespace pyfast
