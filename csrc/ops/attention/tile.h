// What forward and backward share: products of tiles, masks and dropout of a tile.
// Included by this folder's kernel_*.cpp only; everything here belongs to their namespace.
//
// The product adds strided rows (keys, or columns of values) broadcast element by element to a
// panel held in registers, so keys and values are read where they are, whatever their strides:
// nothing is packed but the panel. Tile heights leave the vectors of one row of the panel and one
// broadcast beside the sums: 8 x 3 of AVX-512's and NEON's 32 registers, 6 x 2 of AVX2's 16.
#pragma once

#include "core/philox.h"
#include "ops/attention/kernel.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {
namespace {

using Index = std::int64_t;

#if defined(PYFAST_ISA_AVX512) || defined(PYFAST_ISA_NEON)
constexpr int kPanelVectors = 3;
constexpr int kMostVectors = 4;
constexpr int tile_rows(int vectors) { return vectors == 4 ? 6 : 8; }
#elif defined(PYFAST_ISA_AVX2)
constexpr int kPanelVectors = 2;
constexpr int kMostVectors = 2;
constexpr int tile_rows(int vectors) { return vectors == 2 ? 6 : 8; }
#else
constexpr int kPanelVectors = 2;
constexpr int kMostVectors = 2;
constexpr int tile_rows(int vectors) { return vectors == 2 ? 4 : 8; }
#endif

template <class T>
constexpr Index kPanel = kPanelVectors * vec<T>::size;

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());

PYFAST_INLINE Index least(Index a, Index b) { return a < b ? a : b; }
PYFAST_INLINE Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

// body.operator()<n>() for n = ceil(lanes / vec size), at most kPanelVectors.
template <class T, class Body>
PYFAST_INLINE void with_vectors(Index lanes, Body body) {
  constexpr Index w = vec<T>::size;
  if (lanes <= w) return body.template operator()<1>();
  if constexpr (kPanelVectors == 2) {
    body.template operator()<2>();
  } else {
    if (lanes <= 2 * w) return body.template operator()<2>();
    body.template operator()<3>();
  }
}

// What becomes of the tile that a product is written to.
enum class Into : std::uint8_t { replace, add, rescale };

// One tile: c[r] (=, +=, = scale * c +) sum_k a(r, k) b[k], for r < rows <= tile_rows(NV).
template <class T, int NV, Into into>
PYFAST_INLINE void product_tile(const Strided<T>& a, Index rows, Index depth, const T* b, Index ldb,
                                T* c, Index ldc, const T* scale) {
  constexpr int w = vec<T>::size, height = tile_rows(NV);
  const T* row[height];
  for (int r = 0; r < height; ++r) row[r] = a.data + (r < rows ? r : rows - 1) * a.row;
  vec<T> sum[height][NV];
  for (Index k = 0; k < depth; ++k) {
    vec<T> panel[NV];
    for (int v = 0; v < NV; ++v) panel[v] = vec<T>::load(b + k * ldb + v * w);
#pragma GCC unroll 8
    for (int r = 0; r < height; ++r) {
      const vec<T> x(row[r][k * a.column]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] = fma(x, panel[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < height; ++r) {
    if (r >= rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      T* at = c + r * ldc + v * w;
      if constexpr (into == Into::add) sum[r][v] += vec<T>::load(at);
      if constexpr (into == Into::rescale)
        sum[r][v] = fma(vec<T>::load(at), vec<T>::load(scale + v * w), sum[r][v]);
      sum[r][v].store(at);
    }
  }
}

// c[r][lane] (=, +=, = scale[lane] * c +) sum_k a(r, k) b[k][lane], NV vectors of lanes.
template <class T, int NV, Into into>
void product(const Strided<T>& a, Index rows, Index depth, const T* b, Index ldb, T* c, Index ldc,
             const T* scale = nullptr) {
  constexpr int height = tile_rows(NV);
  for (Index r = 0; r < rows; r += height) {
    const Strided<T> strip{a.data + r * a.row, a.row, a.column};
    product_tile<T, NV, into>(strip, least(height, rows - r), depth, b, ldb, c + r * ldc, ldc,
                              scale);
  }
}

// c[r][lane] += sum_k a(r, k) b[k][lane] for any multiple of the vector size of lanes.
template <class T>
void product_wide(const Strided<T>& a, Index rows, Index depth, const T* b, Index lanes, T* c) {
  constexpr Index w = vec<T>::size, widest = kMostVectors * w;
  Index at = 0;
  for (; at + widest <= lanes; at += widest)
    product<T, kMostVectors, Into::add>(a, rows, depth, b + at, lanes, c + at, lanes);
  if constexpr (kMostVectors > 2) {
    if (lanes - at == 3 * w)
      return product<T, 3, Into::add>(a, rows, depth, b + at, lanes, c + at, lanes);
    if (lanes - at == 2 * w)
      return product<T, 2, Into::add>(a, rows, depth, b + at, lanes, c + at, lanes);
  }
  if (lanes > at) product<T, 1, Into::add>(a, rows, depth, b + at, lanes, c + at, lanes);
}

// A 4 x 4 block transposed; rows of src are contiguous.
template <class T>
PYFAST_INLINE void transpose_4x4(T* dst, Index ld, const T* src, Index row) {
  typedef T quad __attribute__((vector_size(4 * sizeof(T))));
  quad x[4];
  for (int i = 0; i < 4; ++i) __builtin_memcpy(&x[i], src + i * row, sizeof x[i]);
#if defined(__clang__)
#define PYFAST_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
  typedef typename bits<T>::word quad_index __attribute__((vector_size(4 * sizeof(T))));
#define PYFAST_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, quad_index{i, j, k, l})
#endif
  const quad a = PYFAST_SHUFFLE(x[0], x[1], 0, 4, 1, 5), b = PYFAST_SHUFFLE(x[2], x[3], 0, 4, 1, 5);
  const quad c = PYFAST_SHUFFLE(x[0], x[1], 2, 6, 3, 7), d = PYFAST_SHUFFLE(x[2], x[3], 2, 6, 3, 7);
  const quad y[4] = {PYFAST_SHUFFLE(a, b, 0, 1, 4, 5), PYFAST_SHUFFLE(a, b, 2, 3, 6, 7),
                     PYFAST_SHUFFLE(c, d, 0, 1, 4, 5), PYFAST_SHUFFLE(c, d, 2, 3, 6, 7)};
#undef PYFAST_SHUFFLE
  for (int i = 0; i < 4; ++i) __builtin_memcpy(dst + i * ld, &y[i], sizeof y[i]);
}

// dst[c * ld + r] = src(r, c), and 0 for rows <= r < lanes.
template <class T>
void transpose(T* dst, Index ld, const Strided<T>& src, Index rows, Index columns, Index lanes) {
  Index r = 0;
  if (src.column == 1) {
    for (; r + 4 <= rows; r += 4) {
      const T* from = src.data + r * src.row;
      Index c = 0;
      for (; c + 4 <= columns; c += 4) transpose_4x4(dst + c * ld + r, ld, from + c, src.row);
      for (; c < columns; ++c)
        for (Index i = 0; i < 4; ++i) dst[c * ld + r + i] = from[i * src.row + c];
    }
  }
  for (Index c = 0; c < columns; ++c) {
    for (Index i = r; i < rows; ++i) dst[c * ld + i] = src.data[i * src.row + c * src.column];
    for (Index i = rows; i < lanes; ++i) dst[c * ld + i] = T{0};
  }
}

// dst[r * ld + c] = scale * src(r, c), and 0 for columns <= c < ld.
template <class T>
void pack_rows(T* dst, Index ld, const Strided<T>& src, Index rows, Index columns, T scale) {
  for (Index r = 0; r < rows; ++r) {
    const T* from = src.data + r * src.row;
    T* to = dst + r * ld;
    if (src.column == 1)
      for (Index c = 0; c < columns; ++c) to[c] = scale * from[c];
    else
      for (Index c = 0; c < columns; ++c) to[c] = scale * from[c * src.column];
    for (Index c = columns; c < ld; ++c) to[c] = T{0};
  }
}

// False when a matrix holds an infinity or NaN.
template <class T>
bool all_finite(const Strided<T>& m, Index rows, Index columns) {
  vec<T> sums{};
  T sum{0};
  for (Index r = 0; r < rows; ++r) {
    const T* row = m.data + r * m.row;
    if (m.column == 1)
      for (Index c = 0; c < columns; c += vec<T>::size)
        sums = fma(vec<T>::load(row + c, static_cast<int>(least(columns - c, vec<T>::size))),
                   vec<T>(T{0}), sums);
    else
      for (Index c = 0; c < columns; ++c) sum += row[c * m.column] * T{0};
  }
  return reduce_add(sums) + sum == T{0};
}

// A block of scores: queries i ... i + rows, keys j ... j + columns.
struct Block {
  Index i, rows, j, columns;
};

enum class Cover : std::uint8_t { none, some, all };  // of the block's pairs, those allowed

PYFAST_INLINE Cover cover(bool any, bool all) {
  return all ? Cover::all : any ? Cover::some : Cover::none;
}

// Of a line of `n` mask elements: whether some let a pair pass, and whether all leave it as it is.
struct Passing {
  bool any = false, all = true;

  void add(const std::uint8_t* line, Index n, Index stride) {
    constexpr std::uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    std::uint64_t some = 0, zeros = 0, word;
    Index k = 0;
    if (stride == 1)
      for (; k + 8 <= n; k += 8) {
        __builtin_memcpy(&word, line + k, 8);
        some |= word;
        zeros |= (word - ones) & ~word & tops;  // not 0 when a byte of word is 0
      }
    for (; k < n; ++k) {
      some |= line[k * stride];
      zeros |= line[k * stride] == 0;
    }
    any |= some != 0;
    all &= zeros == 0;
  }

  template <class T>
  void add(const T* line, Index n, Index stride) {
    constexpr int w = vec<T>::size;
    Index k = 0;
    if (stride == 1)
      for (; k + w <= n; k += w) {
        const vec<T> x = vec<T>::load(line + k);
        any |= (x != vec<T>(-kInfinity<T>)).any();
        all &= (x == vec<T>(T{0})).all();
      }
    for (; k < n; ++k) {
      any |= line[k * stride] != -kInfinity<T>;
      all &= line[k * stride] == T{0};
    }
  }
};

template <class E>
Cover mask_cover(const Strided<E>& m, const Block& b) {
  Passing passing;
  for (Index r = 0; r < b.rows; ++r) {
    passing.add(m.data + (b.i + r) * m.row + b.j * m.column, b.columns, m.column);
    if (m.row == 0 || (passing.any && !passing.all)) break;
  }
  return cover(passing.any, passing.all);
}

template <class T>
Cover cover_of(const AttentionHead<T>& head, const Block& b) {
  switch (head.mask) {
    case AttentionMask::none: return Cover::all;
    case AttentionMask::causal: return cover(b.j < b.i + b.rows, b.j + b.columns <= b.i + 1);
    case AttentionMask::boolean: return mask_cover(head.allowed, b);
    case AttentionMask::additive: return mask_cover(head.bias, b);
  }
  return Cover::all;
}

// Keys that some query of the block's rows may see under the causal mask.
template <class T>
PYFAST_INLINE Index visible_end(const AttentionHead<T>& head, Index query_end, Index key_end) {
  return head.mask == AttentionMask::causal ? least(query_end, key_end) : key_end;
}

template <class T>
void causal_bias(T* bias, Index lanes, const Block& b) {
  for (Index c = 0; c < b.columns; ++c)
    for (Index r = 0; r < lanes; ++r)
      bias[c * lanes + r] = b.j + c <= b.i + r ? T{0} : -kInfinity<T>;
}

// Bytes become 0 or -inf row by row, then change places.
template <class T>
void boolean_bias(T* bias, Index lanes, const Strided<std::uint8_t>& m, const Block& b, T* rows) {
  for (Index r = 0; r < b.rows; ++r) {
    const std::uint8_t* line = m.data + (b.i + r) * m.row + b.j * m.column;
    T* to = rows + r * kAttentionKeys;
    if (m.column == 1)
      for (Index c = 0; c < b.columns; ++c) to[c] = line[c] ? T{0} : -kInfinity<T>;
    else
      for (Index c = 0; c < b.columns; ++c) to[c] = line[c * m.column] ? T{0} : -kInfinity<T>;
  }
  transpose(bias, lanes, {rows, kAttentionKeys, 1}, b.rows, b.columns, lanes);
}

// bias[c * lanes + r]: what the mask adds to the score of query r and key c of the block.
// `rows` holds kPanel * kAttentionKeys elements.
template <class T>
void fill_bias(const AttentionHead<T>& head, const Block& b, Index lanes, T* bias, T* rows) {
  if (head.mask == AttentionMask::causal) return causal_bias(bias, lanes, b);
  if (head.mask == AttentionMask::boolean) return boolean_bias(bias, lanes, head.allowed, b, rows);
  const Strided<T>& m = head.bias;
  transpose(bias, lanes, {m.data + b.i * m.row + b.j * m.column, m.row, m.column}, b.rows,
            b.columns, lanes);
}

// keep[c * lanes + r]: 0 where dropout drops the weight, else what it is multiplied by.
template <class T, int lanes>
void fill_keep(const AttentionHead<T>& head, const Block& b, T* keep) {
  const auto groups = static_cast<std::uint64_t>((head.keys + 3) / 4);
  for (Index c = 0; c < b.columns; c += 4) {
    std::uint32_t words[4][lanes];
    const std::uint64_t first = head.first_block + static_cast<std::uint64_t>(b.i) * groups +
                                static_cast<std::uint64_t>((b.j + c) / 4);
    for (int r = 0; r < lanes; ++r) {
      const PhiloxWords x =
          philox_block(head.seed, head.offset, first + static_cast<std::uint64_t>(r) * groups);
      for (int k = 0; k < 4; ++k) words[k][r] = x.word[k];
    }
    const int count = static_cast<int>(least(4, b.columns - c));
    for (int k = 0; k < count; ++k)
      for (int r = 0; r < lanes; ++r)
        keep[(c + k) * lanes + r] = words[k][r] >= head.threshold ? head.keep_scale : T{0};
  }
}

// product<T, NV, add> that leaves out the pairs (k, lane) whose bias is -inf: taken where a or b
// holds an infinity or NaN, which a weight of 0 would not keep from spreading.
template <class T>
void masked_product(const Strided<T>& a, Index rows, Index depth, const T* b, const T* bias,
                    Index lanes, T* c) {
  for (Index r = 0; r < rows; ++r)
    for (Index k = 0; k < depth; ++k)
      for (Index lane = 0; lane < lanes; ++lane)
        if (bias[k * lanes + lane] != -kInfinity<T>)
          c[r * lanes + lane] += a.data[r * a.row + k * a.column] * b[k * lanes + lane];
}

}  // namespace
}  // namespace pyfast::PYFAST_ISA
