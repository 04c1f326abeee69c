// The AMX microkernel: 2 x 2 tiles of C, 32 x 32 floats, stay in tile registers.
#include "gemm/amx_kernel.h"

#include <algorithm>
#include <iterator>

#include "gemm/amx_kernel_digits.h"
#include "gemm/amx_tile.h"

namespace pyfast::amx {

namespace {

void begin() {
  struct alignas(64) Config {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  const Config config;
  asm volatile("ldtilecfg %0" : : "m"(config));
}
void end() { asm volatile("tilerelease"); }

// ---- the product

struct Ahead {
  const char* from;
  std::int64_t lines;

  // The share of turn `i` of `n`.
  PYFAST_AMX_INLINE void fetch(std::int64_t i, std::int64_t n) const {
    for (std::int64_t at = lines * i / n; at < lines * (i + 1) / n; ++at)
      __builtin_prefetch(from + at * 64, 0, 2);
  }
};

// `turns`: products take turns among copies of C; without them, an element's bits are the same
// whatever tiles lie beside its own. beside(i, n): turn `i` of `n` of what is done meanwhile.
//
// Of three parts the products of the firsts, all but 2^-7 of a sum, are added last, over all steps.
// An instruction adds up what its depth has by itself before it adds that to C: of roundings of a
// whole sum there is one a step, not six, which where few numbers are not zero were more than
// multiply-adds have (1.5 times PyTorch's error where both operands were 20 % full, or one 5 %).
template <int parts, int a_tiles, int b_tiles, bool turns, class Beside>
PYFAST_AMX_INLINE void multiply_steps(std::int64_t steps, const AmxOperand& left,
                                      const AmxOperand& right, Beside beside) {
  constexpr int all = static_cast<int>(std::size(kProducts<parts>));
  constexpr bool apart = parts == 3;
  constexpr int passes = apart ? 2 : 1;
  const AmxOperand x = left, y = right;
  unroll<4>([](auto c) { tile_zero<c>(); });
  for (std::int64_t s = 0; s < steps; ++s) {
    const char *a = at_step(x, s), *b = at_step(y, s);
    unroll<all - apart>([&](auto p) { product<parts, a_tiles, b_tiles, turns, p>(x, a, y, b); });
    beside(s, passes * steps);
  }
  if constexpr (apart)
    for (std::int64_t s = 0; s < steps; ++s) {
      product<parts, a_tiles, b_tiles, turns, all - 1, true>(x, at_step(x, s), y, at_step(y, s));
      beside(steps + s, passes * steps);
    }
}

// store(r, j, sum): 16 columns of a row of the product.
template <int a_tiles, int b_tiles, class Store>
PYFAST_AMX_INLINE void each_sum(Store store) {
  alignas(64) float sums[4][kAmxTile][16];
  unroll<4>([&](auto c) { tile_store<c>(sums[c]); });
  constexpr int here = a_tiles * b_tiles;
  for (int r = 0; r < a_tiles * kAmxTile; ++r)
    unroll<b_tiles>([&](auto j) {
      const int c = r / kAmxTile * b_tiles + j;
      __m512 sum = _mm512_load_ps(sums[c][r % kAmxTile]);
      for (int copy = c + here; copy < 4; copy += here)
        sum = _mm512_add_ps(sum, _mm512_load_ps(sums[copy][r % kAmxTile]));
      store(r, static_cast<int>(j), sum);
    });
}

template <int parts, int a_tiles, int b_tiles>
void multiply(std::int64_t steps, const AmxOperand& a, const AmxOperand& b, float* tile,
              bool accumulate, Ahead ahead) {
  if (accumulate)
    for (int i = 0; i < a_tiles * b_tiles * 16; ++i) __builtin_prefetch(tile + i * 16);
  multiply_steps<parts, a_tiles, b_tiles, true>(
      steps, a, b, [&](std::int64_t i, std::int64_t n) PYFAST_AMX_INLINED { ahead.fetch(i, n); });
  each_sum<a_tiles, b_tiles>([&](int r, int j, __m512 sum) PYFAST_AMX_INLINED {
    float* to = tile + (r * b_tiles + j) * 16;
    const __m512 before = accumulate ? _mm512_loadu_ps(to) : _mm512_setzero_ps();
    _mm512_storeu_ps(to, _mm512_fmadd_ps(sum, _mm512_set1_ps(kUnscale), before));
  });
}

// Lines [from, to) of a tile: its sums, stored by tile registers, scaled and written.
template <int a_tiles, int b_tiles>
PYFAST_AMX_INLINE void finish(const float (*sums)[kAmxTile][16], float* tile, bool accumulate,
                              std::int64_t from, std::int64_t to) {
  constexpr int here = a_tiles * b_tiles;
  for (std::int64_t i = from; i < to; ++i) {
    const std::int64_t r = i / b_tiles % kAmxTile,
                       c = i / b_tiles / kAmxTile * b_tiles + i % b_tiles;
    __m512 sum = _mm512_load_ps(sums[c][r]);
    for (std::int64_t copy = c + here; copy < 4; copy += here)
      sum = _mm512_add_ps(sum, _mm512_load_ps(sums[copy][r]));
    const __m512 before = accumulate ? _mm512_loadu_ps(tile + i * 16) : _mm512_setzero_ps();
    _mm512_storeu_ps(tile + i * 16, _mm512_fmadd_ps(sum, _mm512_set1_ps(kUnscale), before));
  }
}

struct Row {
  std::int64_t count, a_next, b_next, next;
  Ahead ahead;
};

// The vector units are idle while tiles are multiplied, and tiles while sums are added up: each
// tile's sums are added up during the next one's steps.
template <int parts, int a_tiles, int b_tiles>
void multiply_row(std::int64_t steps, const AmxOperand& left, const AmxOperand& right,
                  const Row& row, float* tile, bool accumulate) {
  constexpr std::int64_t lines = a_tiles * b_tiles * kAmxTile;
  alignas(64) float sums[2][4][kAmxTile][16];
  AmxOperand x = left, y = right;
  for (std::int64_t t = 0; t < row.count; ++t, tile += row.next) {
    const auto* done = sums[(t + 1) % 2];
    multiply_steps<parts, a_tiles, b_tiles, true>(
        steps, x, y, [&](std::int64_t s, std::int64_t n) PYFAST_AMX_INLINED {
          row.ahead.fetch(t * n + s, row.count * n);
          const std::int64_t from = lines * s / n, to = lines * (s + 1) / n;
          if (accumulate)
            for (std::int64_t i = from; i < to; ++i) __builtin_prefetch(tile + i * 16);
          if (t > 0) finish<a_tiles, b_tiles>(done, tile - row.next, accumulate, from, to);
        });
    unroll<4>([&](auto c) { tile_store<c>(sums[t % 2][c]); });
    x.data = static_cast<const char*>(x.data) + row.a_next;
    y.data = static_cast<const char*>(y.data) + row.b_next;
  }
  finish<a_tiles, b_tiles>(sums[(row.count + 1) % 2], tile - row.next, accumulate, 0, lines);
}

template <int parts>
void multiply_row(std::int64_t steps, const AmxOperand& a, int a_tiles, const AmxOperand& b,
                  int b_tiles, const Row& row, float* tile, bool accumulate) {
  const auto run = a_tiles == 2
                       ? (b_tiles == 2 ? multiply_row<parts, 2, 2> : multiply_row<parts, 2, 1>)
                       : (b_tiles == 2 ? multiply_row<parts, 1, 2> : multiply_row<parts, 1, 1>);
  run(steps, a, b, row, tile, accumulate);
}

void multiply_row_any(std::int64_t steps, const AmxOperand& a, int a_tiles, std::int64_t a_next,
                      const AmxOperand& b, int b_tiles, std::int64_t b_next, int parts,
                      std::int64_t count, float* tile, std::int64_t next, bool accumulate,
                      const void* ahead, std::int64_t bytes) {
  const auto run = parts == 3 ? multiply_row<3> : parts == 2 ? multiply_row<2> : multiply_row<1>;
  const Row row{count, a_next, b_next, next, {static_cast<const char*>(ahead), bytes / 64}};
  run(steps, a, a_tiles, b, b_tiles, row, tile, accumulate);
}

template <int a_tiles, int b_tiles>
void multiply_into(std::int64_t steps, const AmxOperand& a, const AmxOperand& b, float* c,
                   std::int64_t ld, const float* factors) {
  multiply_steps<3, a_tiles, b_tiles, false>(steps, a, b,
                                             [](std::int64_t, std::int64_t) PYFAST_AMX_INLINED {});
  each_sum<a_tiles, b_tiles>([&](int r, int j, __m512 sum) PYFAST_AMX_INLINED {
    float* to = c + r * ld + j * 16;
    sum = _mm512_mul_ps(sum, _mm512_set1_ps(kUnscale));
    if (factors) sum = _mm512_fmadd_ps(_mm512_set1_ps(factors[r]), _mm512_loadu_ps(to), sum);
    _mm512_storeu_ps(to, sum);
  });
}

void multiply_into_any(std::int64_t steps, const AmxOperand& a, int a_tiles, const AmxOperand& b,
                       int b_tiles, float* c, std::int64_t ld, const float* factors) {
  const auto run = a_tiles == 2 ? (b_tiles == 2 ? multiply_into<2, 2> : multiply_into<2, 1>)
                                : (b_tiles == 2 ? multiply_into<1, 2> : multiply_into<1, 1>);
  run(steps, a, b, c, ld, factors);
}

template <int parts>
void multiply(std::int64_t steps, const AmxOperand& a, int a_tiles, const AmxOperand& b,
              int b_tiles, float* tile, bool accumulate, Ahead ahead) {
  const auto run = a_tiles == 2 ? (b_tiles == 2 ? multiply<parts, 2, 2> : multiply<parts, 2, 1>)
                                : (b_tiles == 2 ? multiply<parts, 1, 2> : multiply<parts, 1, 1>);
  run(steps, a, b, tile, accumulate, ahead);
}

void multiply_any(std::int64_t steps, const AmxOperand& a, int a_tiles, const AmxOperand& b,
                  int b_tiles, int parts, float* tile, bool accumulate, const void* ahead,
                  std::int64_t bytes) {
  const auto run = parts == 3 ? multiply<3> : parts == 2 ? multiply<2> : multiply<1>;
  run(steps, a, a_tiles, b, b_tiles, tile, accumulate,
      {static_cast<const char*>(ahead), bytes / 64});
}

// ---- the split

struct Seen {
  __m512i largest = _mm512_setzero_si512(), smallest = _mm512_set1_epi32(-1);

  PYFAST_AMX_INLINE void add(__m512 x) {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    largest = _mm512_max_epu32(largest, bits);
    smallest = _mm512_min_epu32(smallest, _mm512_sub_epi32(bits, _mm512_set1_epi32(1)));
  }
  void into(Magnitudes& m) const {
    m.largest = std::max(m.largest, _mm512_reduce_max_epu32(largest));
    m.smallest = std::min(m.smallest, _mm512_reduce_min_epu32(smallest));
  }
};

// One step of one tile of A: 16 rows of 32.
template <int parts>
PYFAST_AMX_INLINE void split_tile(std::uint16_t* to, std::int64_t part_stride, const float* rows,
                                  std::int64_t row_stride, int count, std::int64_t depth,
                                  Seen& seen) {
  const __mmask16 low = first_lanes(depth), high = first_lanes(depth - 16);
  for (int r = 0; r < kAmxTile; ++r) {
    const bool there = r < count;
    const __m512 x0 = _mm512_maskz_loadu_ps(there ? low : 0, rows + r * row_stride);
    const __m512 x1 = _mm512_maskz_loadu_ps(there ? high : 0, rows + r * row_stride + 16);
    seen.add(x0), seen.add(x1);
    const Parts<parts> p0(x0), p1(x1);
    unroll<parts>([&](auto i) {
      _mm512_storeu_si512(to + i * part_stride + r * kAmxDepth, join(p0.part[i], p1.part[i]));
    });
  }
}

template <int parts>
void split_rows(std::uint16_t* panel, const float* rows, std::int64_t row_stride, int count,
                int width, std::int64_t depth, Magnitudes& magnitudes) {
  const std::int64_t part_stride = width * kAmxDepth;
  Seen seen;
  for (std::int64_t d = 0; d < depth; d += kAmxDepth, panel += parts * part_stride)
    for (int t = 0; t < width; t += kAmxTile)
      split_tile<parts>(panel + t * kAmxDepth, part_stride, rows + t * row_stride + d, row_stride,
                        count - t, depth - d, seen);
  seen.into(magnitudes);
}

template <int parts>
void split_left(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                int width, std::int64_t depth, Magnitudes& magnitudes) {
  const std::int64_t part_stride = width * kAmxDepth;
  alignas(64) float rows[kAmxTile * kAmxDepth];
  Seen seen;
  for (std::int64_t d = 0; d < depth; d += kAmxDepth, panel += parts * part_stride)
    for (int t = 0; t < width; t += kAmxTile) {
      for (int half = 0; half < kAmxDepth; half += 16)
        transpose(rows + half, kAmxDepth, source + (d + half) * stride + t, stride,
                  depth - d - half, first_lanes(count - t));
      split_tile<parts>(panel + t * kAmxDepth, part_stride, rows, kAmxDepth, kAmxTile, depth - d,
                        seen);
    }
  seen.into(magnitudes);
}

template <int parts>
void split_right(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                 int width, std::int64_t depth, Magnitudes& magnitudes) {
  const std::int64_t part_stride = width * kAmxDepth;
  Seen seen;
  for (std::int64_t d = 0; d < depth; d += kAmxDepth, panel += parts * part_stride)
    for (int row = 0; row < kAmxTile; ++row) {
      const std::int64_t at = d + 2 * row;
      const float* from = source + at * stride;
      for (int t = 0; t < width; t += kAmxTile) {
        const __mmask16 lanes = first_lanes(count - t);
        const __m512 x0 = _mm512_maskz_loadu_ps(at < depth ? lanes : __mmask16{0}, from + t);
        const __m512 x1 =
            _mm512_maskz_loadu_ps(at + 1 < depth ? lanes : __mmask16{0}, from + stride + t);
        __builtin_prefetch(from + t + width);  // likely the next panel's
        __builtin_prefetch(from + t + width + stride);
        seen.add(x0), seen.add(x1);
        const Parts<parts> p0(x0), p1(x1);
        unroll<parts>([&](auto i) {
          _mm512_storeu_si512(panel + i * part_stride + (t + row) * kAmxDepth,
                              pair(p0.part[i], p1.part[i]));
        });
      }
    }
  seen.into(magnitudes);
}

template <int parts>
void split_turned(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                  int width, std::int64_t depth, Magnitudes& magnitudes) {
  const std::int64_t part_stride = width * kAmxDepth;
  alignas(64) float turned[kAmxDepth * kAmxTile];
  Seen seen;
  for (std::int64_t d = 0; d < depth; d += kAmxDepth, panel += parts * part_stride)
    for (int t = 0; t < width; t += kAmxTile) {
      for (int half = 0; half < kAmxDepth; half += 16)
        transpose(turned + half * kAmxTile, kAmxTile, source + t * stride + d + half, stride,
                  count - t, first_lanes(depth - d - half));
      for (int row = 0; row < kAmxTile; ++row) {
        const __m512 x0 = _mm512_load_ps(turned + 2 * row * kAmxTile);
        const __m512 x1 = _mm512_load_ps(turned + (2 * row + 1) * kAmxTile);
        seen.add(x0), seen.add(x1);
        const Parts<parts> p0(x0), p1(x1);
        unroll<parts>([&](auto i) {
          _mm512_storeu_si512(panel + i * part_stride + (t + row) * kAmxDepth,
                              pair(p0.part[i], p1.part[i]));
        });
      }
    }
  seen.into(magnitudes);
}

template <int parts>
void split_pairs(std::uint32_t* dwords, std::int64_t pitch, const float* rows, std::int64_t stride,
                 std::int64_t count, std::int64_t pairs, std::int64_t entries,
                 Magnitudes& magnitudes) {
  Seen seen;
  for (std::int64_t p = 0; p < pairs; ++p) {
    const bool first = 2 * p < count, second = 2 * p + 1 < count;
    const float* from = rows + 2 * p * stride;
    for (std::int64_t i = 0; i < entries; i += 16) {
      const __mmask16 lanes = first_lanes(entries - i);
      const __m512 x0 = _mm512_maskz_loadu_ps(first ? lanes : __mmask16{0}, from + i);
      const __m512 x1 = _mm512_maskz_loadu_ps(second ? lanes : __mmask16{0}, from + stride + i);
      __builtin_prefetch(from + 2 * stride + i);
      __builtin_prefetch(from + 3 * stride + i);
      seen.add(x0), seen.add(x1);
      const Parts<parts> p0(x0), p1(x1);
      unroll<parts>([&](auto k) {
        _mm512_mask_storeu_epi32(dwords + (k * pairs + p) * pitch + i, lanes,
                                 pair(p0.part[k], p1.part[k]));
      });
    }
  }
  seen.into(magnitudes);
}

template <int parts>
void split_row(std::uint16_t* items, std::int64_t part_stride, const float* row, std::int64_t n,
               Magnitudes& magnitudes) {
  Seen seen;
  for (std::int64_t i = 0; i < n; i += kAmxDepth) {
    const __m512 x0 = _mm512_maskz_loadu_ps(first_lanes(n - i), row + i);
    const __m512 x1 = _mm512_maskz_loadu_ps(first_lanes(n - i - 16), row + i + 16);
    seen.add(x0), seen.add(x1);
    const Parts<parts> p0(x0), p1(x1);
    unroll<parts>([&](auto k) {
      _mm512_storeu_si512(items + k * part_stride + i, join(p0.part[k], p1.part[k]));
    });
  }
  seen.into(magnitudes);
}

void split_row_any(std::uint16_t* items, std::int64_t part_stride, const float* row, std::int64_t n,
                   int parts, Magnitudes& seen) {
  const auto run = parts == 3 ? split_row<3> : parts == 2 ? split_row<2> : split_row<1>;
  run(items, part_stride, row, n, seen);
}
void split_pairs_any(std::uint32_t* dwords, std::int64_t pitch, const float* rows,
                     std::int64_t stride, std::int64_t count, std::int64_t pairs,
                     std::int64_t entries, int parts, Magnitudes& seen) {
  const auto run = parts == 3 ? split_pairs<3> : parts == 2 ? split_pairs<2> : split_pairs<1>;
  run(dwords, pitch, rows, stride, count, pairs, entries, seen);
}
void split_rows_any(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                    int width, std::int64_t depth, int parts, Magnitudes& seen) {
  const auto run = parts == 3 ? split_rows<3> : parts == 2 ? split_rows<2> : split_rows<1>;
  run(panel, source, stride, count, width, depth, seen);
}
void split_left_any(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                    int width, std::int64_t depth, int parts, Magnitudes& seen) {
  const auto run = parts == 3 ? split_left<3> : parts == 2 ? split_left<2> : split_left<1>;
  run(panel, source, stride, count, width, depth, seen);
}
void split_right_any(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                     int width, std::int64_t depth, int parts, Magnitudes& seen) {
  const auto run = parts == 3 ? split_right<3> : parts == 2 ? split_right<2> : split_right<1>;
  run(panel, source, stride, count, width, depth, seen);
}
void split_turned_any(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                      int width, std::int64_t depth, int parts, Magnitudes& seen) {
  const auto run = parts == 3 ? split_turned<3> : parts == 2 ? split_turned<2> : split_turned<1>;
  run(panel, source, stride, count, width, depth, seen);
}

}  // namespace

const AmxKernels& kernels() {
  static constexpr AmxKernels table{&begin,
                                    &end,
                                    &split_rows_any,
                                    &split_left_any,
                                    &split_right_any,
                                    &split_turned_any,
                                    &split_pairs_any,
                                    &split_row_any,
                                    &multiply_any,
                                    &multiply_row_any,
                                    &multiply_into_any,
                                    &pack_rows,
                                    &pack_left,
                                    &pack_right,
                                    &pack_turned,
                                    &multiply_digits,
                                    &look_along,
                                    &digits_row,
                                    &digits_turned,
                                    &multiply_shifted};
  return table;
}

}  // namespace pyfast::amx
