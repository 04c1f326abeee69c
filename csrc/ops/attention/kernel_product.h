// Products of tiles of scores with keys and values, and of what backward makes of them.
// Included by this folder's kernel_*.cpp only; everything here belongs to their namespace.
//
//   c (rows x columns)  (=, +=, = factor * c +)  a (rows x depth)  b (depth x columns)
//
// A register tile takes `tile_rows` rows of a, broadcast element by element, and up to kMostVectors
// vectors of b: 6 x 4 of AVX-512's and NEON's 32 registers, 6 x 2 of AVX2's 16, leaving the vectors
// of one row of b and one broadcast beside the sums. b is packed in strips of that many vectors, so
// that a strip streams through L1; a is read where it is. On AVX-512 the tile reaches 225 to 233 of
// 242 GFLOP/s for depths of 64 and 128 (215 where a strip has an odd alignment: strips are packed
// for that too).
#pragma once

#include <utility>

#include "gemm/kernel_pack.h"
#include "ops/attention/kernel.h"
#include "simd/transpose.h"

namespace pyfast::PYFAST_ISA {
namespace {

using Index = std::int64_t;

#if defined(PYFAST_ISA_AVX512) || defined(PYFAST_ISA_NEON)
constexpr int kMostVectors = 4;
constexpr int tile_rows(int vectors) { return vectors == 4 ? 6 : vectors == 3 ? 8 : 12; }
#elif defined(PYFAST_ISA_AVX2)
constexpr int kMostVectors = 2;
constexpr int tile_rows(int vectors) { return vectors == 2 ? 6 : 12; }
#else
constexpr int kMostVectors = 2;
constexpr int tile_rows(int vectors) { return vectors == 2 ? 4 : 8; }
#endif

PYFAST_INLINE Index least(Index a, Index b) { return a < b ? a : b; }
PYFAST_INLINE Index most(Index a, Index b) { return a > b ? a : b; }
PYFAST_INLINE Index ceil_div(Index n, Index step) { return (n + step - 1) / step; }

// `n` rounded up to whole vectors.
template <class T>
PYFAST_INLINE Index padded(Index n) {
  return ceil_div(n, vec<T>::size) * vec<T>::size;
}

// body.operator()<n>() for n = vectors, 1 ... kMostVectors.
template <class Body>
PYFAST_INLINE void with_vectors(Index vectors, Body body) {
  if (vectors == 1) return body.template operator()<1>();
  if constexpr (kMostVectors == 2) {
    body.template operator()<2>();
  } else {
    if (vectors == 2) return body.template operator()<2>();
    if (vectors == 3) return body.template operator()<3>();
    body.template operator()<4>();
  }
}

// body(first column, vectors) for each strip: as few as can be, of nearly the same width.
template <class T, class Body>
PYFAST_INLINE void for_strips(Index columns, Body body) {
  const Index vectors = ceil_div(columns, vec<T>::size), strips = ceil_div(vectors, kMostVectors);
  Index column = 0;
  for (Index s = 0; s < strips; ++s) {
    const Index here = vectors / strips + (s < vectors % strips);
    body(column, here);
    column += here * vec<T>::size;
  }
}

// pack() of gemm/kernel_pack.h by squares of whole vectors, where there are some and steps lie side
// by side; true when that was all.
template <class T>
PYFAST_INLINE bool pack_squares(T*, const T*, Index, Index, Index, Index) {
  return false;
}
#if defined(PYFAST_ISA_AVX512)
PYFAST_INLINE bool pack_squares(float* to, const float* from, Index column, Index tile,
                                Index columns, Index depth) {
  constexpr Index w = vec<float>::size;
  if (columns % w != 0 || depth % w != 0) return false;
  for (Index c = 0; c < columns; c += w)
    for (Index d = 0; d < depth; d += w)
      transpose_square(to + d * tile + c, tile, from + c * column + d, column);
  return true;
}
#endif

// Element (d, c) of the matrix is from[c * column + d * step]; the strip whose first column is c
// begins at to[c * depth], its rows one after the other, zeros beyond the last column.
template <class T>
void pack_strips(T* to, const T* from, Index column, Index step, Index columns, Index depth) {
  for_strips<T>(columns, [&](Index c, Index vectors) {
    const Index tile = vectors * vec<T>::size, used = least(tile, columns - c);
    T* strip = to + c * depth;
    const T* first = from + c * column;
    if (step == 1 && used == tile && pack_squares(strip, first, column, tile, used, depth)) return;
    pack(strip, first, column, step, static_cast<int>(used), static_cast<int>(tile), depth);
  });
}

// What becomes of the tile that a product is written to.
enum class Into : std::uint8_t { replace, add, rescale };

// Element (r, k) is data[r * stride + k], or data[r + k * stride] when `turned`.
template <class T, bool turned = false>
struct Left {
  const T* data;
  Index stride;

  PYFAST_INLINE T at(Index r, Index k) const {
    return turned ? data[r + k * stride] : data[r * stride + k];
  }
  PYFAST_INLINE Left from(Index r, Index k) const {
    return {data + (turned ? r + k * stride : r * stride + k), stride};
  }
};

template <class Body, int... i>
PYFAST_INLINE void unrolled(std::integer_sequence<int, i...>, Body body) {
  (body(std::integral_constant<int, i>()), ...);
}
template <int n, class Body>
PYFAST_INLINE void unroll(Body body) {
  unrolled(std::make_integer_sequence<int, n>(), body);
}

// The sums are of the compiler's own vector type and unrolled by recursion, since GCC 12 keeps
// arrays of vec in memory: 190 GFLOP/s instead of 230.
template <int rows, int vectors, Into into, class T, bool turned>
PYFAST_INLINE void tile(const Left<T, turned>& a, Index depth, const T* b, Index ldb, T* c,
                        Index ldc, const T* factors) {
  constexpr int w = vec<T>::size;
  typename vec<T>::native sums[rows * vectors] = {};
#pragma GCC unroll 2
  for (Index k = 0; k < depth; ++k, b += ldb) {
    typename vec<T>::native right[vectors];
    unroll<vectors>([&](auto v) PYFAST_INLINED { right[v] = vec<T>::load(b + v * w).v; });
    unroll<rows>([&](auto r) PYFAST_INLINED {
      const auto left = vec<T>(a.at(r, k)).v;
      unroll<vectors>([&](auto v) PYFAST_INLINED {
        sums[r * vectors + v] = backend::fma(left, right[v], sums[r * vectors + v]);
      });
    });
  }
  unroll<rows * vectors>([&](auto i) PYFAST_INLINED {
    T* at = c + i / vectors * ldc + i % vectors * w;
    vec<T> sum(sums[i]);
    if constexpr (into == Into::add) sum += vec<T>::load(at);
    if constexpr (into == Into::rescale)
      sum = fma(vec<T>::load(at), vec<T>(factors[i / vectors]), sum);
    sum.store(at);
  });
}

template <int rows, int vectors, Into into, class T, bool turned>
PYFAST_INLINE Index tiles(const Left<T, turned>& a, Index begin, Index end, Index depth, const T* b,
                          Index ldb, T* c, Index ldc, const T* factors) {
  for (; begin + rows <= end; begin += rows)
    tile<rows, vectors, into>(a.from(begin, 0), depth, b, ldb, c + begin * ldc, ldc,
                              factors + begin);
  return begin;
}

// One strip of b, of `vectors` vectors ldb elements apart; factors: one per row.
template <int vectors, Into into, class T, bool turned>
void product(const Left<T, turned>& a, Index rows, Index depth, const T* b, Index ldb, T* c,
             Index ldc, const T* factors = nullptr) {
  Index r = tiles<tile_rows(vectors), vectors, into>(a, 0, rows, depth, b, ldb, c, ldc, factors);
  r = tiles<4, vectors, into>(a, r, rows, depth, b, ldb, c, ldc, factors);
  r = tiles<2, vectors, into>(a, r, rows, depth, b, ldb, c, ldc, factors);
  tiles<1, vectors, into>(a, r, rows, depth, b, ldb, c, ldc, factors);
}

// Rows begin ... end of the depth of every strip of a packed b (see pack_strips).
template <Into into, class T, bool turned>
void product_strips(const Left<T, turned>& a, Index rows, Index begin, Index end, const T* b,
                    Index depth, Index columns, T* c, Index ldc, const T* factors = nullptr) {
  for_strips<T>(columns, [&](Index column, Index count) {
    with_vectors(count, [&]<int vectors>() {
      constexpr Index wide = vectors * vec<T>::size;
      product<vectors, into>(a.from(0, begin), rows, end - begin, b + column * depth + begin * wide,
                             wide, c + column, ldc, factors);
    });
  });
}

// b in rows ldb apart, padded to whole vectors.
template <Into into, class T, bool turned>
void product_rows(const Left<T, turned>& a, Index rows, Index depth, const T* b, Index ldb,
                  Index columns, T* c, Index ldc, const T* factors = nullptr) {
  for_strips<T>(columns, [&](Index column, Index count) {
    with_vectors(count, [&]<int vectors>() {
      product<vectors, into>(a, rows, depth, b + column, ldb, c + column, ldc, factors);
    });
  });
}

// Only columns begin ... end of a packed b, rounded to whole vectors.
template <Into into, class T, bool turned>
void product_columns(const Left<T, turned>& a, Index rows, Index begin, Index end, const T* b,
                     Index depth, Index columns, T* c, Index ldc) {
  constexpr Index w = vec<T>::size;
  for_strips<T>(columns, [&](Index column, Index count) {
    const Index first = most(0, begin - column) / w;
    const Index last = least(count, ceil_div(end - column, w));
    if (first >= last) return;
    with_vectors(last - first, [&]<int vectors>() {
      product<vectors, into>(a, rows, depth, b + column * depth + first * w, count * w,
                             c + column + first * w, ldc);
    });
  });
}

}  // namespace
}  // namespace pyfast::PYFAST_ISA
