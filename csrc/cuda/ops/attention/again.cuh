// A forbidden pair has weight 0, but 0 times an infinity or NaN is NaN: in a product of tiles a
// broken key, value, query or gradient reaches rows that must not see it. Rows that come out broken
// where pairs are forbidden are computed again here, allowed pair by allowed pair: a warp a row,
// its lanes side by side along the features. Nothing of a kernel's registers is alive by then.
#pragma once

#include "cuda/ops/attention/plan.h"
#include "cuda/ops/attention/tiles.cuh"

namespace pyfast::cuda {

// Which of a lane's rows hold an infinity or NaN: row 16 t + 8 h + lane / 4 in bit 2 t + h.
template <int kTiles, int kColumns>
__device__ __forceinline__ std::uint32_t broken_rows(WarpTile<kColumns> (&sums)[kTiles]) {
  std::uint32_t bits = 0;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    float taint[2] = {0, 0};
    sums[t].each_by_row([&](int h, float& v) { taint[h] = fmaf(v, 0.0f, taint[h]); });
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      taint[h] += from_lane_xor(taint[h], 1);
      taint[h] += from_lane_xor(taint[h], 2);
      bits |= (taint[h] != 0 ? 1u : 0u) << (2 * t + h);
    }
  }
  return bits;
}

// Whether a row, of a multiple of four elements, holds an infinity or NaN: asked by a whole warp.
template <class T>
__device__ __forceinline__ bool broken_row(const T* row, int width) {
  float taint = 0;
#pragma unroll 1
  for (int c = static_cast<int>(threadIdx.x) % 32 * 4; c < width; c += 128) {
    float four[4];
    load(four, row + c);
#pragma unroll
    for (int i = 0; i < 4; ++i) taint = fmaf(four[i], 0.0f, taint);
  }
  return any_of_warp(taint != 0);
}

// f(row) for the marked ones among a warp's first `rows` rows, at most `most`.
template <class F>
__device__ __forceinline__ void each_broken(std::uint32_t bits, int rows, int most, F f) {
  sync_warp();  // what is written anew has been written by other lanes
#pragma unroll 1
  for (int r = 0; r < lesser(rows, most); ++r)
    if (from_lane(bits, r % 8 * 4) >> (r / 8) & 1) f(r);
}

// A row's statistics. A weight is 2^(score - shift) * inverse.
struct RowScale {
  float shift, inverse;
  __device__ __forceinline__ RowScale(float max, float sum)
      : shift(max == -INFINITY ? 0.0f : max), inverse(sum == 0 ? 0.0f : 1 / sum) {}
};

// The pairs of one element of the batch. Every lane of the warp asks for the same one.
template <class T>
struct Pairs {
  const AttentionProblem& p;
  MatrixRows<T> query, key, value;
  std::int64_t mask_at, first_row;

  __device__ __forceinline__ Pairs(const AttentionProblem& problem, std::int64_t index)
      : p(problem),
        query(problem.query, index, problem.width),
        key(problem.key, index, problem.width),
        value(problem.value, index, problem.value_width),
        mask_at(problem.mask.axes.offset(index)),
        first_row(index * problem.queries) {}

  // False where the pair is forbidden; else its score in units of log 2.
  __device__ __forceinline__ bool score(int i, int j, float& s) const {
    const MaskLine line = p.keys_of(i, j, mask_at, 1);
    float term = 0;
    if (!line.holds(0) || !allows(line.at, term)) return false;
    const float product = warp_dot(query.at(i), query.column, key.at(j), key.column, p.width);
    s = fmaf(term, kLog2e, product * (p.scale * kLog2e));
    return true;
  }
  // What dropout multiplies the pair's weight by.
  __device__ __forceinline__ float kept(int i, int j) const {
    if (!p.dropout) return 1;
    return p.keeps(first_row + i, j) ? p.keep_scale : 0.0f;
  }

 private:
  __device__ __forceinline__ bool allows(std::int64_t at, float& term) const {
    if (p.mask_kind == AttentionMask::boolean)
      return static_cast<const std::uint8_t*>(p.mask.data)[at] != 0;
    if (p.mask_kind == AttentionMask::additive)
      term = to_float(static_cast<const T*>(p.mask.data)[at]);
    return term != -INFINITY;
  }
};

// A row of kDepth features over the lanes of a warp.
template <int kDepth>
struct LaneRow {
  float at[kDepth / 32] = {};

  template <class T>
  __device__ __forceinline__ void add(float factor, const T* row, std::int64_t step, int width) {
    each(width, [&](int c, float& v) { v = fmaf(factor, to_float(row[c * step]), v); });
  }
  template <class T>
  __device__ __forceinline__ void write(float factor, T* row, int width) {
    each(width, [&](int c, float& v) { row[c] = from_float<T>(v * factor); });
  }

 private:
  template <class F>
  __device__ __forceinline__ void each(int width, F f) {
#pragma unroll
    for (int k = 0; k < kDepth / 32; ++k) {
      const int c = 32 * k + static_cast<int>(threadIdx.x) % 32;
      if (c < width) f(c, at[k]);
    }
  }
};

}  // namespace pyfast::cuda
