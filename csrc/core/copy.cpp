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

// The rows of src one after the other, counted over all axes but the last. Their offsets are
// carried on: divisions for each would take longer than copying 64 numbers.
class RowCursor {
 public:
  RowCursor(const TensorView& src, std::int64_t row) : src_(src), index_(src.shape) {
    for (int axis = src.rank() - 2; axis >= 0; --axis) {
      index_[axis] = row % src.shape[axis];
      offset_ += index_[axis] * src.strides[axis];
      row /= src.shape[axis];
    }
  }
  std::int64_t offset() const { return offset_; }
  void next() {
    for (int axis = src_.rank() - 2; axis >= 0; --axis) {
      offset_ += src_.strides[axis];
      if (++index_[axis] < src_.shape[axis]) return;
      offset_ -= src_.shape[axis] * src_.strides[axis];
      index_[axis] = 0;
    }
  }

 private:
  const TensorView& src_;
  Dims index_;
  std::int64_t offset_ = 0;
};

// Elements of a chunk, about: rows longer than this are cut, so that one endless row is shared
// between threads too, and Ctrl-C is noticed within it.
constexpr std::int64_t kChunk = 1 << 16;

// Transposed pair of last axes: square blocks, so that both sides stay in cache lines.
template <class T>
void copy_transposed(T* dst, const T* src, std::int64_t rows, std::int64_t cols,
                     std::int64_t col_stride) {
  constexpr std::int64_t kBlock = 32, kWidth = kChunk / kBlock;
  const std::int64_t pieces = (cols - 1) / kWidth + 1, bands = (rows - 1) / kBlock + 1;
  const std::int64_t piece = cols < kWidth ? cols : kWidth;
  parallel_for(bands * pieces, 1 + kChunk / (kBlock * piece + 1),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t r0 = i / pieces * kBlock, c0 = i % pieces * kWidth;
                   const std::int64_t r1 = rows - r0 < kBlock ? rows : r0 + kBlock;
                   const std::int64_t c1 = cols - c0 < kWidth ? cols : c0 + kWidth;
                   for (std::int64_t c = c0; c < c1; c += kBlock)
                     for (std::int64_t r = r0; r < r1; ++r)
                       for (std::int64_t j = c; j < c1 && j < c + kBlock; ++j)
                         dst[r * cols + j] = src[r + j * col_stride];
                 }
               });
}

template <class T>
void copy_any(T* dst, const TensorView& src) {
  const int last = src.rank() - 1;
  const std::int64_t cols = src.shape[last], stride = src.strides[last];
  const std::int64_t rows = src.numel() / cols;
  if (src.rank() == 2 && src.strides[0] == 1) {
    copy_transposed(dst, src.as<T>(), rows, cols, stride);
    return;
  }
  const std::int64_t pieces = (cols - 1) / kChunk + 1;
  parallel_for(rows * pieces, pieces > 1 ? 1 : 1 + kChunk / cols,
               [&](std::int64_t begin, std::int64_t end) {
                 std::int64_t c = begin % pieces * kChunk;
                 T* to = dst + begin / pieces * cols;
                 RowCursor row(src, begin / pieces);
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t n = cols - c < kChunk ? cols - c : kChunk;
                   copy_row(to + c, src.as<T>() + row.offset() + c * stride, n, stride);
                   c += kChunk;
                   if (c < cols) continue;
                   c = 0;
                   to += cols;
                   row.next();
                 }
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
