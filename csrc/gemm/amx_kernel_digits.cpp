// Products of digits on AMX tiles: floats taken apart, and the microkernel.
#include "gemm/amx_kernel_digits.h"

#include <algorithm>

#include "gemm/amx_digits.h"

namespace pyfast::amx {

namespace {

// ---- the units

// What is seen of 16 rows, a lane each; or of one, by 16 of its numbers.
struct Seen {
  __m512i largest = _mm512_setzero_si512(), bits = _mm512_setzero_si512(),
          filled = _mm512_setzero_si512(), logarithms = _mm512_setzero_si512();
  __m512 squares = _mm512_setzero_ps();

  PYFAST_AMX_INLINE void add(__m512 x) {
    const __m512i magnitude =
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    largest = _mm512_max_epu32(largest, magnitude);
    bits = _mm512_or_si512(bits, magnitude);
    filled = _mm512_mask_add_epi32(filled, _mm512_test_epi32_mask(magnitude, magnitude), filled,
                                   _mm512_set1_epi32(1));
    // A float's bits are its logarithm, near enough; of them the upper half.
    logarithms = _mm512_add_epi32(logarithms, _mm512_srli_epi32(magnitude, 16));
    squares = _mm512_fmadd_ps(x, x, squares);
  }
};

struct SeenRows {  // memory for Seen, row by row
  alignas(64) std::uint32_t largest[kAmxTile] = {}, bits[kAmxTile] = {}, filled[kAmxTile] = {},
                            logarithms[kAmxTile] = {};
  alignas(64) float squares[kAmxTile] = {};

  PYFAST_AMX_INLINE void set(int row, const Seen& seen) {
    largest[row] = _mm512_reduce_max_epu32(seen.largest);
    bits[row] = static_cast<std::uint32_t>(_mm512_reduce_or_epi32(seen.bits));
    filled[row] = static_cast<std::uint32_t>(_mm512_reduce_add_epi32(seen.filled));
    logarithms[row] = static_cast<std::uint32_t>(_mm512_reduce_add_epi32(seen.logarithms));
    squares[row] = _mm512_reduce_add_ps(seen.squares);
  }
  Seen lanes() const {
    return {_mm512_load_si512(largest), _mm512_load_si512(bits), _mm512_load_si512(filled),
            _mm512_load_si512(logarithms), _mm512_load_ps(squares)};
  }
};

// The units of 16 rows. exact_at(scale) says whether all of the rows' numbers times `scale` are
// integers; it is asked where none has more than 16 significant bits, with that of two digits.
template <class Exact>
PYFAST_AMX_INLINE __m512 units_of(const Seen& seen, DigitSpread& spread, Exact exact_at) {
  const __mmask16 some = _mm512_test_epi32_mask(seen.largest, seen.largest);
  const __mmask16 brief = _mm512_testn_epi32_mask(seen.bits, _mm512_set1_epi32(0xff));
  const __m512 largest = _mm512_castsi512_ps(seen.largest);
  const __m512 unit =
      _mm512_mask_blend_ps(brief, amx::fitting_unit(largest), amx::power_of_two_unit(largest));
  const __m512 filled = _mm512_cvtepi32_ps(seen.filled);
  const __m512 square = _mm512_maskz_div_ps(some, seen.squares, filled);
  const __m512 each = _mm512_maskz_div_ps(some, _mm512_mul_ps(unit, unit), square);
  const __m512 mean = _mm512_castsi512_ps(_mm512_cvtps_epi32(
      _mm512_mul_ps(_mm512_maskz_div_ps(some, _mm512_cvtepi32_ps(seen.logarithms), filled),
                    _mm512_set1_ps(0x1p16f))));
  spread.spread += _mm512_reduce_add_ps(each);
  spread.most = std::max(spread.most, _mm512_reduce_max_ps(each));
  spread.gap += _mm512_reduce_add_ps(_mm512_maskz_div_ps(some, square, _mm512_mul_ps(mean, mean)));
  spread.rows += __builtin_popcount(some);
  spread.filled += _mm512_reduce_add_epi32(seen.filled);
  spread.largest = std::max(spread.largest, _mm512_reduce_max_epu32(seen.largest));
  if (some) {
    const std::int64_t least = _mm512_mask_reduce_min_epu32(some, seen.filled);
    spread.least = std::min(spread.least, least);
    spread.smallest = std::min(spread.smallest, _mm512_mask_reduce_min_epu32(some, seen.largest));
  }
  spread.brief = spread.brief && brief == 0xffff;
  spread.exact = spread.exact && spread.brief &&
                 exact_at(_mm512_mul_ps(amx::digit_scale(unit), _mm512_set1_ps(0x1p-8f)));
  return unit;
}

PYFAST_AMX_INLINE bool whole(__m512 x, __m512 scale) {
  const __m512 v = _mm512_mul_ps(x, scale);
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return _mm512_cmp_ps_mask(v, _mm512_roundscale_ps(v, kNearest), _CMP_NEQ_OQ) == 0;
}

// ---- digits

// Three planes of 16 rows of 64 bytes to their places; turned: four bytes at a time, as A's are to
// B's and back.
struct Planes {
  alignas(64) float plane[kAmxDigits][kAmxTile * kAmxTile];

  PYFAST_AMX_INLINE void set(int row, const DigitPlanes& digits) {
    unroll<kAmxDigits>(
        [&](auto i) { _mm512_store_si512(plane[i] + row * kAmxTile, digits.plane[i]); });
  }
  PYFAST_AMX_INLINE void turn_to(std::int8_t* tile) const {
    for (int i = 0; i < kAmxDigits; ++i)
      transpose(reinterpret_cast<float*>(tile + i * kAmxDigitTile), kAmxTile, plane[i], kAmxTile,
                kAmxTile, 0xffff);
  }
};

template <bool turned>
struct DigitTile {
  std::int8_t* tile;
  Planes planes;

  PYFAST_AMX_INLINE explicit DigitTile(std::int8_t* to) : tile(to) {}
  PYFAST_AMX_INLINE void set(int row, const DigitPlanes& digits) {
    if constexpr (turned)
      planes.set(row, digits);
    else
      unroll<kAmxDigits>([&](auto i) {
        _mm512_storeu_si512(tile + i * kAmxDigitTile + row * 64, digits.plane[i]);
      });
  }
  PYFAST_AMX_INLINE void finish() {
    if constexpr (turned) planes.turn_to(tile);
  }
};

// Depths of a step go in the order of interleave().
template <bool turned>
void digits_along_tile(std::int8_t* to, const float* rows, std::int64_t stride, int count,
                       std::int64_t depth, const float* units) {
  DigitTile<turned> tile(to);
  alignas(64) float scales[kAmxTile];
  _mm512_store_ps(scales, amx::digit_scale(_mm512_loadu_ps(units)));
  for (int r = 0; r < kAmxTile; ++r) {
    const float* from = rows + r * stride;
    const __m512 scale = _mm512_set1_ps(scales[r]);
    const auto digits = [&](int i) PYFAST_AMX_INLINED {
      const __mmask16 lanes = r < count ? first_lanes(depth - 16 * i) : __mmask16{0};
      return amx::to_digits(_mm512_maskz_loadu_ps(lanes, from + 16 * i), scale);
    };
    tile.set(r, amx::interleave(digits(0), digits(1), digits(2), digits(3)));
  }
  tile.finish();
}

template <bool turned>
void digits_across_tile(std::int8_t* to, const float* source, std::int64_t stride, int count,
                        std::int64_t depth, const float* units) {
  DigitTile<turned> tile(to);
  const __m512 scale = amx::digit_scale(_mm512_loadu_ps(units));
  const __mmask16 lanes = first_lanes(count);
  for (int r = 0; r < kAmxTile; ++r) {
    const auto digits = [&](int i) PYFAST_AMX_INLINED {
      const std::int64_t d = r + 16 * i;
      return amx::to_digits(
          _mm512_maskz_loadu_ps(d < depth ? lanes : __mmask16{0}, source + d * stride), scale);
    };
    tile.set(r, amx::interleave(digits(0), digits(1), digits(2), digits(3)));
  }
  tile.finish();
}

// ---- the product

struct Finished {  // a tile of C whose levels' sums lie in memory
  const std::int32_t (*sums)[kAmxTile][16] = nullptr;
  const float* row_units;
  __m512 col_units;
  float* to;
};

struct Target {
  std::int64_t ld;
  bool accumulate;
};

template <int products>
PYFAST_AMX_INLINE void finish(const Finished& tile, const Target& target, std::int64_t from,
                              std::int64_t end) {
  for (std::int64_t r = from; r < end; ++r) {
    float* const to = tile.to + r * target.ld;
    const __m512 units = _mm512_mul_ps(_mm512_set1_ps(tile.row_units[r]), tile.col_units);
    const __m512 before = target.accumulate ? _mm512_loadu_ps(to) : _mm512_setzero_ps();
    _mm512_storeu_ps(to, _mm512_fmadd_ps(amx::digit_sum<products>(tile.sums, r), units, before));
  }
}

const float* units_of(const std::int8_t* panel) { return reinterpret_cast<const float*>(panel); }
template <int tiles>
const char* digits_of(const std::int8_t* panel) {
  return reinterpret_cast<const char*>(units_of(panel) + tiles * kAmxTile);
}

struct Row {
  std::int64_t steps, count, a_next;
  const std::int8_t *a, *b;
  float* tile;
  std::int64_t next;
  bool accumulate;
  const char* ahead;
  std::int64_t lines;
};

// 16 columns of B, which stay in L1, by all rows of A. The levels of each tile of C are summed up
// and stored during the next one's steps.
template <int products, int a_tiles, int b_tiles>
void multiply(const Row& row) {
  constexpr int levels = digit_levels(products);
  alignas(64) std::int32_t sums[2][levels][kAmxTile][16];
  const Target target{b_tiles * 16, row.accumulate};
  const AmxOperand any = AmxOperand::digits(nullptr);
  const std::int64_t tile = row.steps * any.step;
  const std::int64_t rows = (kAmxTile + row.steps - 1) / row.steps;  // to finish a step
  const std::int64_t all = b_tiles * row.count * a_tiles * row.steps;
  const std::int64_t lines = (row.lines + all - 1) / all;  // to fetch a step
  const char *ahead = row.ahead, *const end = row.ahead + row.lines * 64;
  int turn = 0;
  Finished last{};
  for (int j = 0; j < b_tiles; ++j)
    for (std::int64_t t = 0; t < row.count; ++t)
      for (int i = 0; i < a_tiles; ++i, turn ^= 1) {
        const std::int8_t* const panel = row.a + t * row.a_next;
        const char* a = digits_of<a_tiles>(panel) + i * tile;
        const char* b = digits_of<b_tiles>(row.b) + j * tile;
        unroll<levels>([](auto c) { tile_zero<c>(); });
        for (std::int64_t s = 0; s < row.steps; ++s, a += any.step, b += any.step) {
          for (const char* to = std::min(ahead + lines * 64, end); ahead < to; ahead += 64)
            __builtin_prefetch(ahead, 0, 2);
          amx::digit_products<products>(any, a, any, b);
          if (last.sums)
            finish<products>(last, target, std::min<std::int64_t>(s * rows, kAmxTile),
                             std::min<std::int64_t>((s + 1) * rows, kAmxTile));
        }
        unroll<levels>([&](auto c) { tile_store<c>(sums[turn][c]); });
        last = {sums[turn], units_of(panel) + i * kAmxTile,
                _mm512_loadu_ps(units_of(row.b) + j * kAmxTile),
                row.tile + t * row.next + i * kAmxTile * target.ld + j * 16};
      }
  finish<products>(last, target, 0, kAmxTile);
}

template <int products>
void multiply(const Row& row, int a_tiles, int b_tiles) {
  const auto run = a_tiles == 2
                       ? (b_tiles == 2 ? multiply<products, 2, 2> : multiply<products, 2, 1>)
                       : (b_tiles == 2 ? multiply<products, 1, 2> : multiply<products, 1, 1>);
  run(row);
}

// ---- panels

// The units of 16 rows that lie along the depth.
void look_along_tile(float* units, const float* rows, std::int64_t stride, int count,
                     std::int64_t depth, DigitSpread& spread) {
  SeenRows all;
  for (int r = 0; r < std::min(count, int{kAmxTile}); ++r) {
    Seen seen;
    for (std::int64_t d = 0; d < depth; d += 16) {
      __builtin_prefetch(rows + (r + kAmxTile) * stride + d, 0, 2);  // likely the next tile's
      seen.add(_mm512_maskz_loadu_ps(first_lanes(depth - d), rows + r * stride + d));
    }
    all.set(r, seen);
  }
  const auto exact_at = [&](__m512 scales) {
    alignas(64) float scale[kAmxTile];
    _mm512_store_ps(scale, scales);
    bool exact = true;
    for (int r = 0; exact && r < std::min(count, int{kAmxTile}); ++r)
      for (std::int64_t d = 0; d < depth; d += 16)
        exact &= whole(_mm512_maskz_loadu_ps(first_lanes(depth - d), rows + r * stride + d),
                       _mm512_set1_ps(scale[r]));
    return exact;
  };
  _mm512_storeu_ps(units, units_of(all.lanes(), spread, exact_at));
}

// Of 16 that lie side by side, depth after depth.
void look_across(float* units, const float* source, std::int64_t stride, int count,
                 std::int64_t depth, DigitSpread& spread) {
  const __mmask16 lanes = first_lanes(count);
  Seen seen;
  for (std::int64_t d = 0; d < depth; ++d) {
    __builtin_prefetch(source + d * stride + 2 * kAmxTile, 0, 2);  // likely the next panel's
    seen.add(_mm512_maskz_loadu_ps(lanes, source + d * stride));
  }
  const auto exact_at = [&](__m512 scale) {
    bool exact = true;
    for (std::int64_t d = 0; exact && d < depth; ++d)
      exact = whole(_mm512_maskz_loadu_ps(lanes, source + d * stride), scale);
    return exact;
  };
  _mm512_storeu_ps(units, units_of(seen, spread, exact_at));
}

template <bool turned>
void digits_along(std::int8_t* panel, const float* rows, std::int64_t stride, int count, int width,
                  std::int64_t depth, DigitSpread& seen) {
  float* const units = reinterpret_cast<float*>(panel);
  std::int8_t* to = panel + width * sizeof(float);
  for (int t = 0; t < width; t += kAmxTile) {
    look_along_tile(units + t, rows + t * stride, stride, count - t, depth, seen);
    for (std::int64_t d = 0; d < depth; d += kAmxDigitDepth, to += kAmxDigits * kAmxDigitTile)
      digits_along_tile<turned>(to, rows + t * stride + d, stride, count - t, depth - d, units + t);
  }
}

template <bool turned>
void digits_across(std::int8_t* panel, const float* source, std::int64_t stride, int count,
                   int width, std::int64_t depth, DigitSpread& seen) {
  float* const units = reinterpret_cast<float*>(panel);
  std::int8_t* to = panel + width * sizeof(float);
  for (int t = 0; t < width; t += kAmxTile) {
    look_across(units + t, source + t, stride, count - t, depth, seen);
    for (std::int64_t d = 0; d < depth; d += kAmxDigitDepth, to += kAmxDigits * kAmxDigitTile)
      digits_across_tile<turned>(to, source + d * stride + t, stride, count - t, depth - d,
                                 units + t);
  }
}

}  // namespace

void look_along(float* units, const float* rows, std::int64_t stride, int count, std::int64_t depth,
                DigitSpread& seen) {
  for (int r = 0; r < count; r += kAmxTile)
    look_along_tile(units + r, rows + r * stride, stride, count - r, depth, seen);
}

void pack_rows(std::int8_t* panel, const float* rows, std::int64_t stride, int count, int width,
               std::int64_t depth, DigitSpread& seen) {
  digits_along<false>(panel, rows, stride, count, width, depth, seen);
}
void pack_left(std::int8_t* panel, const float* source, std::int64_t stride, int count, int width,
               std::int64_t depth, DigitSpread& seen) {
  digits_across<true>(panel, source, stride, count, width, depth, seen);
}
void pack_right(std::int8_t* panel, const float* source, std::int64_t stride, int count, int width,
                std::int64_t depth, DigitSpread& seen) {
  digits_across<false>(panel, source, stride, count, width, depth, seen);
}
void pack_turned(std::int8_t* panel, const float* source, std::int64_t stride, int count, int width,
                 std::int64_t depth, DigitSpread& seen) {
  digits_along<true>(panel, source, stride, count, width, depth, seen);
}

void multiply_digits(std::int64_t steps, const std::int8_t* a, int a_tiles, std::int64_t a_next,
                     const std::int8_t* b, int b_tiles, int products, std::int64_t count,
                     float* tile, std::int64_t next, bool accumulate, const void* ahead,
                     std::int64_t bytes) {
  const auto run = products == 8 ? multiply<8> : products == 7 ? multiply<7> : multiply<6>;
  run({steps, count, a_next, a, b, tile, next, accumulate, static_cast<const char*>(ahead),
       bytes / 64},
      a_tiles, b_tiles);
}

}  // namespace pyfast::amx
