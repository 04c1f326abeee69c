// Numbers taken apart into digits, and rows of tile products of them (band_digits.h).
//
// A step takes 10 products of one 16 x 16 tile with 8 loads; the four levels' sums fill half of the
// tile registers. While the next tile is multiplied, the vector units turn the last one's sums into
// floats.
#include <algorithm>
#include <limits>

#include "gemm/amx_digits.h"
#include "ops/conv/band_digits.h"

namespace pyfast::amx {

namespace {

// ---- scales

struct Columns {
  __m512i largest = _mm512_setzero_si512();  // bits of the magnitude
  __m512 squares = _mm512_setzero_ps();

  PYFAST_AMX_INLINE void add(__m512 x) {
    const __m512i magnitude =
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    largest = _mm512_max_epu32(largest, magnitude);
    squares = _mm512_fmadd_ps(x, x, squares);
  }
  PYFAST_AMX_INLINE __m512 peaks() const {
    const __m512 x = _mm512_castsi512_ps(largest);
    return _mm512_mul_ps(x, x);
  }
};

// Writes scales and factors of 16 columns of `depth`, those of `lanes` that are there.
PYFAST_AMX_INLINE void finish_columns(const Columns& c, std::int64_t depth, __mmask16 lanes,
                                      float* scales, float* factors, DigitFit& fit) {
  // The exponent of the bound; what is beyond 0x7f7f7f7f overflows the first digit.
  const __m512i wanted =
      _mm512_srli_epi32(_mm512_add_epi32(c.largest, _mm512_set1_epi32(0x10101)), 23);
  const __m512i exponent =
      _mm512_min_epi32(_mm512_max_epi32(wanted, _mm512_set1_epi32(kLeastExponent)),
                       _mm512_set1_epi32(kMostExponent));
  const auto power = [](__m512i biased) PYFAST_AMX_INLINED {
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
  };
  _mm512_storeu_ps(scales, power(_mm512_sub_epi32(_mm512_set1_epi32(284), exponent)));
  _mm512_storeu_ps(factors, power(_mm512_sub_epi32(exponent, _mm512_set1_epi32(18))));

  lanes = _mm512_mask_test_epi32_mask(lanes, c.largest, c.largest);
  const __mmask16 extreme = _mm512_mask_cmpneq_epi32_mask(lanes, wanted, exponent);
  const __m512 bound = power(_mm512_add_epi32(exponent, _mm512_set1_epi32(1)));
  const __m512 squares =
      _mm512_mul_ps(_mm512_mul_ps(bound, bound), _mm512_set1_ps(static_cast<float>(depth)));
  const __m512 spread = _mm512_maskz_div_ps(lanes, squares, c.squares);
  const __m512 lone = _mm512_maskz_div_ps(lanes, c.peaks(), c.squares);
  fit.spread = std::max(fit.spread, _mm512_reduce_max_ps(spread));
  if (extreme) fit.spread = std::numeric_limits<float>::infinity();
  fit.lone = std::max(fit.lone, _mm512_reduce_max_ps(lone));
  fit.energy += _mm512_mask_reduce_add_ps(lanes, c.squares);
  fit.peaks += _mm512_mask_reduce_add_ps(lanes, c.peaks());
}

// What is seen of columns waits in memory, so that rows pass as they lie there.
PYFAST_AMX_INLINE Columns seen(const float* largest, const float* squares, std::int64_t i) {
  Columns c;
  c.largest = _mm512_loadu_si512(largest + i);
  c.squares = _mm512_loadu_ps(squares + i);
  return c;
}
void look(const DigitColumns& x, std::int64_t depth, float* largest, float* squares) {
  constexpr int kRows = 8;
  for (std::int64_t first = 0; first < x.n; first += x.run, largest += x.run, squares += x.run) {
    const std::int64_t n = std::min(x.run, x.n - first);
    const float* source = x.data + first / x.run * x.skip;
    for (std::int64_t d = 0; d < depth; d += kRows)
      for (std::int64_t i = 0; i < n; i += 16) {
        const __mmask16 lanes = first_lanes(n - i);
        Columns c = d > 0 ? seen(largest, squares, i) : Columns();
        for (int j = 0; j < kRows; ++j)
          c.add(_mm512_maskz_loadu_ps(d + j < depth ? lanes : __mmask16{0},
                                      source + (d + j) * x.stride + i));
        _mm512_storeu_si512(largest + i, c.largest);
        _mm512_storeu_ps(squares + i, c.squares);
      }
  }
}

void scale_columns(const DigitColumns& x, std::int64_t depth, float* scales, float* factors,
                   DigitFit& fit) {
  look(x, depth, scales, factors);
  for (std::int64_t i = 0; i < x.n; i += 16)
    finish_columns(seen(scales, factors, i), depth, first_lanes(x.n - i), scales + i, factors + i,
                   fit);
}

void scale_rows(const float* source, std::int64_t stride, std::int64_t depth, std::int64_t n,
                float* scales, float* factors, DigitFit& fit) {
  alignas(64) std::uint32_t largest[16] = {};
  alignas(64) float squares[16] = {};
  for (std::int64_t r = 0; r < n; ++r) {
    Columns c;
    for (std::int64_t d = 0; d < depth; d += 16)
      c.add(_mm512_maskz_loadu_ps(first_lanes(depth - d), source + r * stride + d));
    largest[r] = _mm512_reduce_max_epu32(c.largest);
    squares[r] = _mm512_reduce_add_ps(c.squares);
  }
  Columns all;
  all.largest = _mm512_load_si512(largest);
  all.squares = _mm512_load_ps(squares);
  finish_columns(all, depth, first_lanes(n), scales, factors, fit);
}

void measure(const DigitColumns& x, std::int64_t depth, float* room, std::uint32_t& largest,
             float& least, DigitFit& fit) {
  float* const squares = room + (x.n + 31) / 16 * 16;  // runs end within vectors
  look(x, depth, room, squares);
  __m512i most = _mm512_setzero_si512();
  __m512 energy = _mm512_setzero_ps(), peaks = energy;
  for (std::int64_t i = 0; i < x.n; i += 16) {
    Columns c = seen(room, squares, i);
    c.largest = _mm512_maskz_mov_epi32(first_lanes(x.n - i), c.largest);
    c.squares = _mm512_maskz_mov_ps(first_lanes(x.n - i), c.squares);
    most = _mm512_max_epu32(most, c.largest);
    energy = _mm512_add_ps(energy, c.squares);
    peaks = _mm512_add_ps(peaks, c.peaks());
    const int there = __builtin_popcount(_mm512_test_epi32_mask(c.largest, c.largest));
    if (there > 0)
      least = std::min(least, _mm512_reduce_add_ps(c.squares) /
                                  (static_cast<float>(there) * static_cast<float>(depth)));
  }
  largest = std::max(largest, _mm512_reduce_max_epu32(most));
  fit.energy += _mm512_reduce_add_ps(energy);
  fit.peaks += _mm512_reduce_add_ps(peaks);
}

// ---- digits

// Bytes of two vectors, side by side as `pattern` says of byte i: the vector, and which of its own.
struct Bytes {
  alignas(64) std::uint8_t at[64];
};
template <class Pattern>
constexpr Bytes bytes(Pattern pattern) {
  Bytes b{};
  for (int i = 0; i < 64; ++i) b.at[i] = static_cast<std::uint8_t>(pattern(i));
  return b;
}
PYFAST_AMX_INLINE __m512i pick(__m512i a, const Bytes& from, __m512i b) {
  return _mm512_permutex2var_epi8(a, _mm512_load_si512(from.at), b);
}

// Four bytes a lane, the lowest digit first.
PYFAST_AMX_INLINE __m512i digits(__m512 x, __m512 scale) {
  const __m512i half = _mm512_set1_epi32(static_cast<int>(0x80808080u));
  const __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(x, scale));
  return _mm512_xor_si512(_mm512_add_epi32(v, half), half);
}

struct Planes {
  __m512i digit[kDigits];  // the highest first
};

// Lanes of four bytes: one digit of x[0], x[1], x[2], x[3].
PYFAST_AMX_INLINE Planes interleave(const __m512i (&x)[4]) {
  static constexpr Bytes kLow = bytes([](int i) { return i / 4 * 4 + i % 4 / 2 + i % 2 * 64; });
  static constexpr Bytes kHigh =
      bytes([](int i) { return i / 4 * 4 + 2 + i % 4 / 2 + i % 2 * 64; });
  static constexpr Bytes kFirst = bytes([](int i) { return i / 4 * 4 + i % 2 + i % 4 / 2 * 64; });
  static constexpr Bytes kSecond =
      bytes([](int i) { return i / 4 * 4 + 2 + i % 2 + i % 4 / 2 * 64; });
  const __m512i low = pick(x[0], kLow, x[1]), low2 = pick(x[2], kLow, x[3]);
  const __m512i high = pick(x[0], kHigh, x[1]), high2 = pick(x[2], kHigh, x[3]);
  return {{pick(high, kSecond, high2), pick(high, kFirst, high2), pick(low, kSecond, low2),
           pick(low, kFirst, low2)}};
}

// 64 bytes: one digit of all of x[0], then of x[1], x[2], x[3].
PYFAST_AMX_INLINE Planes join(const __m512i (&x)[4]) {
  static constexpr Bytes kLow = bytes([](int i) { return i % 16 * 4 + i / 32 + i % 32 / 16 * 64; });
  static constexpr Bytes kHigh =
      bytes([](int i) { return i % 16 * 4 + 2 + i / 32 + i % 32 / 16 * 64; });
  const __m512i low = pick(x[0], kLow, x[1]), low2 = pick(x[2], kLow, x[3]);
  const __m512i high = pick(x[0], kHigh, x[1]), high2 = pick(x[2], kHigh, x[3]);
  return {{_mm512_shuffle_i64x2(high, high2, 0xee), _mm512_shuffle_i64x2(high, high2, 0x44),
           _mm512_shuffle_i64x2(low, low2, 0xee), _mm512_shuffle_i64x2(low, low2, 0x44)}};
}

// store(j, lanes j of all from[i]), 16 x 16 lanes.
template <class Store>
PYFAST_AMX_INLINE void turn(const __m512i* from, Store store) {
  __m512i x[16], y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(from[i], from[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(from[i], from[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + 2 + j]);
      x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + 2 + j]);
    }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      y[i + j] = _mm512_shuffle_i32x4(x[i + j], x[i + 4 + j], 0x88);
      y[i + 4 + j] = _mm512_shuffle_i32x4(x[i + j], x[i + 4 + j], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    store(j, _mm512_shuffle_i32x4(y[j], y[8 + j], 0x88));
    store(8 + j, _mm512_shuffle_i32x4(y[j], y[8 + j], 0xdd));
  }
}

// Sixteen columns, which lie in two runs at most.
struct Lanes {
  const float *first, *second;  // lane 0 of either, as if it went on
  __mmask16 in_first, in_second;

  PYFAST_AMX_INLINE Lanes(const DigitColumns& x, std::int64_t i)
      : first(x.data + i / x.run * x.skip + i % x.run),
        second(first + x.skip - x.run),
        in_first(first_lanes(std::min(x.n - i, x.run - i % x.run))),
        in_second(static_cast<__mmask16>(first_lanes(x.n - i) & ~in_first)) {}
  PYFAST_AMX_INLINE __m512 load(std::int64_t at, bool there) const {
    const __m512 x = _mm512_maskz_loadu_ps(there ? in_first : __mmask16{0}, first + at);
    if (!in_second) return x;
    return _mm512_mask_loadu_ps(x, there ? in_second : __mmask16{0}, second + at);
  }
  // Digits of four of the depth, from d on.
  PYFAST_AMX_INLINE Planes four(std::int64_t d, std::int64_t depth, std::int64_t stride,
                                __m512 scale) const {
    __m512i x[4];
    unroll<4>([&](auto j) PYFAST_AMX_INLINED {
      x[j] = digits(load((d + j) * stride, d + j < depth), scale);
    });
    return interleave(x);
  }
};

void split_left(std::int8_t* planes, std::int64_t plane, const DigitColumns& columns,
                std::int64_t depth, const float* scales, bool own, const std::int32_t* at) {
  const DigitColumns x = columns;
  for (std::int64_t i = 0; i < x.n; i += 16) {
    const __m512 scale = _mm512_loadu_ps(scales + (own ? i : 0));
    const Lanes lanes(x, i);
    alignas(64) __m512i quads[kDigits][16];
    for (int q = 0; q < 16; ++q) {
      const Planes p = lanes.four(4 * q, depth, x.stride, scale);
      unroll<kDigits>([&](auto k) PYFAST_AMX_INLINED { quads[k][q] = p.digit[k]; });
    }
    alignas(64) std::int32_t lines[16];
    const int last = static_cast<int>(std::min<std::int64_t>(x.n - i, 16)) - 1;
    for (int j = 0; j < 16; ++j)
      lines[j] = at ? at[i + std::min(j, last)] : static_cast<std::int32_t>(i + j);
    for (int k = 0; k < kDigits; ++k) {
      std::int8_t* const to = planes + k * plane;
      turn(quads[k], [&](int j, __m512i line) PYFAST_AMX_INLINED {
        if (!at || j <= last) _mm512_storeu_si512(to + 64 * std::int64_t{lines[j]}, line);
      });
    }
  }
}

// Row by row, as they lie in memory.
void split_right(std::int8_t* panels, std::int64_t next, const DigitColumns& columns,
                 std::int64_t depth, const float* scales) {
  const DigitColumns x = columns;
  for (std::int64_t d = 0; d < depth; d += kDigitDepth, panels += kDigitStep)
    for (int q = 0; q < 16; ++q)
      for (std::int64_t i = 0; i < x.n; i += 16) {
        const Planes p = Lanes(x, i).four(d + 4 * q, depth, x.stride, _mm512_loadu_ps(scales + i));
        std::int8_t* line = panels + i / 16 * next + q * 64;
        unroll<kDigits>([&](auto k) PYFAST_AMX_INLINED {
          _mm512_storeu_si512(line + k * (kDigitStep / kDigits), p.digit[k]);
        });
      }
}

void split_rows(std::int8_t* panel, const float* source, std::int64_t stride, std::int64_t depth,
                std::int64_t n, const float* scales) {
  constexpr int kPlane = kDigitStep / kDigits;
  for (std::int64_t d = 0; d < depth; d += kDigitDepth, panel += kDigitStep) {
    alignas(64) __m512i lines[kDigits][16];
    for (int r = 0; r < 16; ++r) {
      const __m512 scale = _mm512_set1_ps(scales[r]);
      __m512i x[4];
      unroll<4>([&](auto j) PYFAST_AMX_INLINED {
        const __mmask16 there = r < n ? first_lanes(depth - d - 16 * j) : __mmask16{0};
        x[j] = digits(_mm512_maskz_loadu_ps(there, source + r * stride + d + 16 * j), scale);
      });
      const Planes p = join(x);
      unroll<kDigits>([&](auto k) PYFAST_AMX_INLINED { lines[k][r] = p.digit[k]; });
    }
    for (int k = 0; k < kDigits; ++k)
      std::copy_n(reinterpret_cast<const std::int8_t*>(lines[k]), kPlane, panel + k * kPlane);
  }
}

// to[16 e + r] = from[r * stride + e], e < n; zeros for r >= count
void turn_rows(float* to, const float* from, std::int64_t stride, std::int64_t count,
               std::int64_t n) {
  for (std::int64_t e = 0; e < n; e += 16) {
    alignas(64) __m512i rows[16];
    for (int r = 0; r < 16; ++r)
      rows[r] = _mm512_maskz_loadu_epi32(r < count ? first_lanes(n - e) : __mmask16{0},
                                         from + r * stride + e);
    const std::int64_t there = n - e;
    turn(rows, [&](int j, __m512i line) PYFAST_AMX_INLINED {
      if (j < there) _mm512_storeu_si512(to + 16 * (e + j), line);
    });
  }
}

void split_filters(std::int8_t* panel, const DigitFilters& filters, float* room, float* factors,
                   DigitFit& fit) {
  const DigitFilters w = filters;
  const bool dense = w.channel == w.size;
  const std::int64_t run = dense ? w.depth * w.size : w.size;
  for (std::int64_t i = 0; i < (dense ? 1 : w.depth); ++i)
    turn_rows(room + 16 * i * run, w.data + i * w.channel, w.filter, w.count, run);

  const auto element = [&](std::int64_t i, std::int64_t t)
                           PYFAST_AMX_INLINED { return room + 16 * (i * w.size + w.taps[t]); };
  Columns c;
  for (std::int64_t t = 0; t < w.tap_count; ++t)
    for (std::int64_t i = 0; i < w.depth; ++i) c.add(_mm512_loadu_ps(element(i, t)));
  alignas(64) float scales[16];
  finish_columns(c, w.depth * w.tap_count, first_lanes(w.count), scales, factors, fit);

  const __m512 scale = _mm512_load_ps(scales);
  for (std::int64_t d = 0; d < w.depth; d += kDigitDepth)
    for (std::int64_t t = 0; t < w.tap_count; ++t, panel += kDigitStep)
      for (int q = 0; q < 16; ++q) {
        __m512i x[4];
        unroll<4>([&](auto j) PYFAST_AMX_INLINED {
          const std::int64_t i = d + 4 * q + j;
          x[j] = i < w.depth ? digits(_mm512_loadu_ps(element(i, t)), scale) : __m512i{};
        });
        const Planes p = interleave(x);
        unroll<kDigits>([&](auto k) PYFAST_AMX_INLINED {
          _mm512_storeu_si512(panel + k * (kDigitStep / kDigits) + q * 64, p.digit[k]);
        });
      }
}

// ---- the product

struct Sums {
  alignas(64) std::int32_t level[kDigits][kAmxTile][16];
};

// Tile registers: 0-3 hold the levels' sums, 4 a digit of the left operand, 5-7 of the right.
PYFAST_AMX_INLINE void step(const AmxOperand& x, const char* a, const AmxOperand& y,
                            const char* b) {
  tile_load<4>(a, x.row);
  tile_load<7>(b + 3 * y.part, y.row);
  tile_multiply_digits<3, 4, 7>();
  tile_load<7>(b + 2 * y.part, y.row);
  tile_multiply_digits<2, 4, 7>();
  tile_load<6>(b + y.part, y.row);
  tile_multiply_digits<1, 4, 6>();
  tile_load<5>(b, y.row);
  tile_multiply_digits<0, 4, 5>();
  tile_load<4>(a + x.part, x.row);
  tile_multiply_digits<3, 4, 7>();
  tile_multiply_digits<2, 4, 6>();
  tile_multiply_digits<1, 4, 5>();
  tile_load<4>(a + 2 * x.part, x.row);
  tile_multiply_digits<3, 4, 6>();
  tile_multiply_digits<2, 4, 5>();
  tile_load<4>(a + 3 * x.part, x.row);
  tile_multiply_digits<3, 4, 5>();
}

// Rows [from, to) of a tile.
PYFAST_AMX_INLINE void finish(const DigitRow& row, const Sums& sums, std::int64_t t,
                              std::int64_t from, std::int64_t to) {
  const __m512 lanes = _mm512_loadu_ps(row.lane_factors + t * row.lane_next);
  float* tile = row.tile + t * row.next + from * row.ld;
  for (std::int64_t r = from; r < to; ++r, tile += row.ld) {
    const auto level = [&](int l) PYFAST_AMX_INLINED {
      return _mm512_cvtepi32_ps(_mm512_load_si512(sums.level[l][r]));
    };
    __m512 sum = _mm512_fmadd_ps(level(2), _mm512_set1_ps(0x1p8f), level(3));
    sum = _mm512_fmadd_ps(level(1), _mm512_set1_ps(0x1p16f), sum);
    sum = _mm512_fmadd_ps(level(0), _mm512_set1_ps(0x1p24f), sum);
    const __m512 factor = _mm512_mul_ps(lanes, _mm512_set1_ps(row.row_factors[r]));
    const __m512 before = row.accumulate ? _mm512_loadu_ps(tile) : _mm512_setzero_ps();
    _mm512_storeu_ps(tile, _mm512_fmadd_ps(sum, factor, before));
  }
}

void multiply_row(const DigitRow& given) {
  const DigitRow row = given;
  AmxOperand x = row.left, y = row.right;
  Sums sums[2];
  const std::int8_t *ahead = row.ahead, *const end = ahead + 64 * row.ahead_lines;
  const std::int64_t share =
      (row.ahead_lines + row.count * row.steps - 1) / (row.count * row.steps);
  for (std::int64_t t = 0; t < row.count; ++t) {
    unroll<kDigits>([](auto l) PYFAST_AMX_INLINED { tile_zero<l>(); });
    for (std::int64_t s = 0; s < row.steps; ++s) {
      for (std::int64_t i = 0; i < share && ahead < end; ++i, ahead += 64)
        __builtin_prefetch(ahead, 0, 2);
      step(x, at_step(x, s), y, at_step(y, s));
      const std::int64_t from = kAmxTile * s / row.steps, to = kAmxTile * (s + 1) / row.steps;
      if (row.accumulate)
        for (std::int64_t r = from; r < to; ++r)
          __builtin_prefetch(row.tile + t * row.next + r * row.ld);
      if (t > 0) finish(row, sums[(t + 1) % 2], t - 1, from, to);
    }
    unroll<kDigits>([&](auto l) PYFAST_AMX_INLINED { tile_store<l>(sums[t % 2].level[l]); });
    x.data = static_cast<const char*>(x.data) + row.left_next;
    y.data = static_cast<const char*>(y.data) + row.right_next;
  }
  finish(row, sums[(row.count + 1) % 2], row.count - 1, 0, kAmxTile);
}

}  // namespace

const DigitKernels& digit_kernels() {
  static constexpr DigitKernels table{&scale_columns, &scale_rows, &measure,       &split_left,
                                      &split_right,   &split_rows, &split_filters, &multiply_row};
  return table;
}

}  // namespace pyfast::amx
