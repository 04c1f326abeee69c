// Products of digits on AMX tiles whose left operands lie anywhere in rows that share their memory:
// weight gradients of convolutions, where a tap is a shift of the image's rows.
#include "gemm/amx_digits.h"
#include "gemm/amx_kernel_digits.h"

namespace pyfast::amx {

namespace {

// The digits of 64 neighbours in depth, in their order.
PYFAST_AMX_INLINE DigitPlanes digits_of(const float* from, std::int64_t depth, __m512 scale) {
  const auto digits = [&](int i) PYFAST_AMX_INLINED {
    return amx::to_digits(_mm512_maskz_loadu_ps(first_lanes(depth - 16 * i), from + 16 * i), scale);
  };
  return amx::join(digits(0), digits(1), digits(2), digits(3));
}

// What is left to do for a tile of C whose levels' sums lie in memory.
struct Finished {
  const AmxShifted* left;
  const std::int32_t (*sums)[kAmxTile][16];
};

template <int products>
PYFAST_AMX_INLINE void finish(const Finished& tile, __m512 units, std::int64_t ld, bool accumulate,
                              std::int64_t from, std::int64_t end) {
  for (std::int64_t r = from; r < end; ++r) {
    float* const to = tile.left->tile + r * ld;
    const __m512 before = accumulate ? _mm512_loadu_ps(to) : _mm512_setzero_ps();
    const __m512 both = _mm512_mul_ps(_mm512_set1_ps(tile.left->units[r]), units);
    _mm512_storeu_ps(to, _mm512_fmadd_ps(amx::digit_sum<products>(tile.sums, r), both, before));
  }
}

// Levels of a tile are summed up during the next one's products.
template <int products>
void multiply(std::int64_t steps, const AmxShifted* lefts, std::int64_t count, std::int64_t row,
              std::int64_t digit, const std::int8_t* b, const float* b_units, std::int64_t ld,
              bool accumulate) {
  constexpr int levels = digit_levels(products);
  alignas(64) std::int32_t sums[2][levels][kAmxTile][16];
  const AmxOperand y = AmxOperand::digits(b, 1);
  const __m512 units = _mm512_loadu_ps(b_units);
  for (std::int64_t t = 0; t < count; ++t) {
    const AmxOperand x{lefts[t].data, row, 0, digit, kAmxDigitDepth};
    const char *at = reinterpret_cast<const char*>(lefts[t].data),
               *right = static_cast<const char*>(y.data);
    const Finished last{lefts + t - 1, sums[(t + 1) % 2]};
    unroll<levels>([](auto c) { tile_zero<c>(); });
    for (std::int64_t s = 0; s < steps; ++s, at += x.step, right += y.step) {
      amx::digit_products<products>(x, at, y, right);
      if (t > 0)
        finish<products>(last, units, ld, accumulate, kAmxTile * s / steps,
                         kAmxTile * (s + 1) / steps);
    }
    unroll<levels>([&](auto c) { tile_store<c>(sums[t % 2][c]); });
  }
  finish<products>({lefts + count - 1, sums[(count + 1) % 2]}, units, ld, accumulate, 0, kAmxTile);
}

}  // namespace

void digits_row(std::int8_t* items, std::int64_t digit, const float* row, std::int64_t n,
                float unit) {
  const __m512 scale = amx::digit_scale(_mm512_set1_ps(unit));
  for (std::int64_t i = 0; i < n; i += kAmxDigitDepth) {
    const DigitPlanes digits = amx::digits_of(row + i, n - i, scale);
    unroll<kAmxDigits>(
        [&](auto k) { _mm512_storeu_si512(items + k * digit + i, digits.plane[k]); });
  }
}

void digits_turned(std::int8_t* panel, const float* rows, std::int64_t stride, int count,
                   std::int64_t depth, const float* units) {
  alignas(64) float planes[kAmxDigits][kAmxTile * kAmxTile], scales[kAmxTile];
  _mm512_store_ps(scales, amx::digit_scale(_mm512_loadu_ps(units)));
  for (std::int64_t d = 0; d < depth; d += kAmxDigitDepth, panel += kAmxDigits * kAmxDigitTile) {
    for (int r = 0; r < kAmxTile; ++r) {
      const DigitPlanes digits = amx::digits_of(rows + r * stride + d, r < count ? depth - d : 0,
                                                _mm512_set1_ps(scales[r]));
      unroll<kAmxDigits>(
          [&](auto k) { _mm512_store_si512(planes[k] + r * kAmxTile, digits.plane[k]); });
    }
    for (int k = 0; k < kAmxDigits; ++k)
      transpose(reinterpret_cast<float*>(panel + k * kAmxDigitTile), kAmxTile, planes[k], kAmxTile,
                kAmxTile, 0xffff);
  }
}

void multiply_shifted(std::int64_t steps, const AmxShifted* lefts, std::int64_t count,
                      std::int64_t row, std::int64_t digit, const std::int8_t* b,
                      const float* b_units, int products, std::int64_t ld, bool accumulate) {
  const auto run = products == 8 ? multiply<8> : products == 7 ? multiply<7> : multiply<6>;
  run(steps, lefts, count, row, digit, b, b_units, ld, accumulate);
}

}  // namespace pyfast::amx
