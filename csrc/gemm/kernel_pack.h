// Packing a panel of a strided matrix: panel[d * tile + r] = data[r * row_stride + d *
// depth_stride].
//
// Neighbouring rows side by side in memory: whole vectors are copied. Steps side by side: 4 x 4
// (doubles: 2 x 2) blocks are turned in 16-byte registers, the last block of a panel overlapping
// the one before. Anything else goes element by element.
#pragma once

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

// 16 bytes of T, whatever the instruction set.
template <class T>
struct quad {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  typedef T type __attribute__((vector_size(16)));
};

template <class T>
PYFAST_INLINE typename quad<T>::type load_quad(const T* p) {
  typename quad<T>::type x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
template <class T>
PYFAST_INLINE void store_quad(T* p, typename quad<T>::type x) {
  __builtin_memcpy(p, &x, sizeof x);
}

#if defined(__clang__)
#define PYFAST_SHUFFLE4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#define PYFAST_SHUFFLE2(a, b, i, j) __builtin_shufflevector(a, b, i, j)
#else
typedef std::int32_t quad_i32 __attribute__((vector_size(16)));
typedef std::int64_t quad_i64 __attribute__((vector_size(16)));
#define PYFAST_SHUFFLE4(a, b, i, j, k, l) __builtin_shuffle(a, b, quad_i32{i, j, k, l})
#define PYFAST_SHUFFLE2(a, b, i, j) __builtin_shuffle(a, b, quad_i64{i, j})
#endif

// A quad.size square block from rows of `data` to rows of `panel`, turned.
PYFAST_INLINE void transpose_block(float* panel, int tile, const float* data,
                                   std::int64_t row_stride) {
  const auto r0 = load_quad(data), r1 = load_quad(data + row_stride);
  const auto r2 = load_quad(data + 2 * row_stride), r3 = load_quad(data + 3 * row_stride);
  const auto low01 = PYFAST_SHUFFLE4(r0, r1, 0, 4, 1, 5);
  const auto low23 = PYFAST_SHUFFLE4(r2, r3, 0, 4, 1, 5);
  const auto high01 = PYFAST_SHUFFLE4(r0, r1, 2, 6, 3, 7);
  const auto high23 = PYFAST_SHUFFLE4(r2, r3, 2, 6, 3, 7);
  store_quad<float>(panel, PYFAST_SHUFFLE4(low01, low23, 0, 1, 4, 5));
  store_quad<float>(panel + tile, PYFAST_SHUFFLE4(low01, low23, 2, 3, 6, 7));
  store_quad<float>(panel + 2 * tile, PYFAST_SHUFFLE4(high01, high23, 0, 1, 4, 5));
  store_quad<float>(panel + 3 * tile, PYFAST_SHUFFLE4(high01, high23, 2, 3, 6, 7));
}
PYFAST_INLINE void transpose_block(double* panel, int tile, const double* data,
                                   std::int64_t row_stride) {
  const auto r0 = load_quad(data), r1 = load_quad(data + row_stride);
  store_quad<double>(panel, PYFAST_SHUFFLE2(r0, r1, 0, 2));
  store_quad<double>(panel + tile, PYFAST_SHUFFLE2(r0, r1, 1, 3));
}

#undef PYFAST_SHUFFLE4
#undef PYFAST_SHUFFLE2

template <class T>
void pack_elements(T* panel, const T* data, std::int64_t row_stride, std::int64_t depth_stride,
                   int rows, int tile, std::int64_t depth) {
  for (std::int64_t d = 0; d < depth; ++d, panel += tile)
    for (int r = 0; r < rows; ++r) panel[r] = data[r * row_stride + d * depth_stride];
}

// depth_stride == 1: rows are read along the depth.
template <class T>
void pack_turned(T* panel, const T* data, std::int64_t row_stride, int rows, int tile,
                 std::int64_t depth) {
  constexpr int q = quad<T>::size;
  // A cache line of each row is used up before the next row's: rows a power of two apart share
  // the few places of one L1 set.
  constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t whole = rows < q ? 0 : depth / q * q;
  for (std::int64_t begin = 0; begin < whole; begin += line) {
    const std::int64_t end = begin + line < whole ? begin + line : whole;
    for (int r = 0; r < rows; r += q) {
      const int at = r + q <= rows ? r : rows - q;
      for (std::int64_t d = begin; d < end; d += q)
        transpose_block(panel + d * tile + at, tile, data + at * row_stride + d, row_stride);
    }
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
      __builtin_prefetch(data + r + rows);
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
