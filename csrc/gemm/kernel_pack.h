// Packing a panel of a strided matrix: panel[d * tile + r] = data[r * row_stride + d *
// depth_stride].
//
// Neighbouring rows side by side in memory: whole vectors are copied. Steps side by side: a vector
// of rows is turned in registers, four steps (doubles: two) at a time. Anything else goes element
// by element.
#pragma once

#include "gemm/kernel.h"
#include "simd/quads.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void pack_elements(T* panel, const T* data, std::int64_t row_stride, std::int64_t depth_stride,
                   int rows, int tile, std::int64_t depth) {
  for (std::int64_t d = 0; d < depth; ++d, panel += tile)
    for (int r = 0; r < rows; ++r) panel[r] = data[r * row_stride + d * depth_stride];
}

// depth_stride == 1, up to a vector of rows: they are read along the depth.
template <class T>
PYFAST_INLINE void turn_rows(T* panel, const T* const* row, int rows, int tile, std::int64_t begin,
                             std::int64_t end) {
  constexpr int q = kQuad<T>;
  for (std::int64_t d = begin; d < end; d += q) {
    vec<T> turned[q];
    load_turned(turned, row, d);
    T* const to = panel + d * tile;
    if (rows == vec<T>::size)
      for (int i = 0; i < q; ++i) turned[i].store(to + i * tile);
    else
      for (int i = 0; i < q; ++i) turned[i].store(to + i * tile, rows);
  }
}

template <class T>
void pack_turned(T* panel, const T* data, std::int64_t row_stride, int rows, int tile,
                 std::int64_t depth) {
  constexpr int w = vec<T>::size;
  // A cache line of each row is used up before the next rows': rows a power of two apart share
  // the few places of one L1 set.
  constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t whole = depth / kQuad<T> * kQuad<T>;
  const T* row[kMaxRows];  // past the last: the last again
  for (int r = 0; r < (rows + w - 1) / w * w; ++r)
    row[r] = data + (r < rows ? r : rows - 1) * row_stride;
  for (std::int64_t begin = 0; begin < whole; begin += line) {
    const std::int64_t end = begin + line < whole ? begin + line : whole;
    for (int r = 0; r < rows; r += w)
      turn_rows(panel + r, row + r, rows - r < w ? rows - r : w, tile, begin, end);
  }
  pack_elements(panel + whole * tile, data + whole, row_stride, 1, rows, tile, depth - whole);
}

// row_stride == 1: a step's rows are read side by side. What stands beside them on the same page
// is likely the next panel's.
template <class T>
void pack_copied(T* panel, const T* data, std::int64_t depth_stride, int rows, int tile,
                 std::int64_t depth) {
  constexpr int w = vec<T>::size;
  for (std::int64_t d = 0; d < depth; ++d, panel += tile, data += depth_stride) {
    int r = 0;
    for (; r + w <= rows; r += w) {
      vec<T>::load(data + r).store(panel + r);
      __builtin_prefetch(data + r + 16 * depth_stride);
    }
    if (r < rows) vec<T>::load(data + r, rows - r).store(panel + r, rows - r);
  }
}

template <class T>
void pack(T* panel, const T* data, std::int64_t row_stride, std::int64_t depth_stride, int rows,
          int tile, std::int64_t depth) {
  if (depth_stride == 1)
    pack_turned(panel, data, row_stride, rows, tile, depth);
  else if (row_stride == 1)
    pack_copied(panel, data, depth_stride, rows, tile, depth);
  else
    pack_elements(panel, data, row_stride, depth_stride, rows, tile, depth);
  if (rows < tile)
    for (std::int64_t d = 0; d < depth; ++d)
      for (int r = rows; r < tile; ++r) panel[d * tile + r] = T{0};
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
