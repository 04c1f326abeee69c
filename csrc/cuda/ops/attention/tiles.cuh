// Tiles of attention in shared memory and in registers: how they are read, multiplied and masked.
// A tile's rows are kDepth elements, 0 beyond the operand's width, tile_pitch apart.
#pragma once

#include "cuda/core/warp_product.cuh"
#include "cuda/ops/attention/problem.h"

namespace pyfast::cuda {

// One element's matrix.
template <class T>
struct MatrixRows {
  const T* data;
  std::int64_t row, column;
  int width;
  bool vectors;

  __device__ __forceinline__ MatrixRows(const AttentionOperand& x, std::int64_t index, int columns)
      : data(static_cast<const T*>(x.data) + x.axes.offset(index)),
        row(x.row),
        column(x.column),
        width(columns),
        vectors(x.vectors) {}
  __device__ __forceinline__ const T* at(int r) const { return data + r * row; }
};

// Rows of several heads, one after another.
template <class T>
struct HeadRows : MatrixRows<T> {
  const SharedRows& heads;

  __device__ __forceinline__ HeadRows(const AttentionOperand& x, std::int64_t index, int columns,
                                      const SharedRows& shared)
      : MatrixRows<T>(x, index, columns), heads(shared) {}
  __device__ __forceinline__ const T* at(int r) const {
    return MatrixRows<T>::at(heads.query(r)) + heads.head(r) * heads.query_head;
  }
};

// Rows begin ... begin + kRows; those from `end` on are 0. What is copied must be waited for. The
// loops are not unrolled: nothing waits for a copy, and the sums' registers are alive here.
template <int kRows, int kDepth, int kThreads, class T, class Rows>
__device__ __forceinline__ void load_tile(T* tile, const Rows& from, int begin, int end) {
  constexpr int kPitch = tile_pitch<T>(kDepth);
  const int rows = end - begin;
  if (from.vectors) {
    constexpr int kPacks = kDepth / kVector<T>;
    static_assert(kThreads % kPacks == 0 && kRows * kPacks % kThreads == 0);
    const int c = static_cast<int>(threadIdx.x) % kPacks * kVector<T>;
    int r = static_cast<int>(threadIdx.x) / kPacks;
#pragma unroll 1
    for (; r < kRows; r += kThreads / kPacks) {
      const bool inside = r < rows && c < from.width;
      copy_async(tile + r * kPitch + c, inside ? from.at(begin + r) + c : from.data,
                 inside ? 16 : 0);
    }
  } else {
#pragma unroll 1
    for (int p = static_cast<int>(threadIdx.x); p < kRows * kDepth; p += kThreads) {
      const int r = p / kDepth, c = p % kDepth;
      const bool inside = r < rows && c < from.width;
      tile[r * kPitch + c] = inside ? from.at(begin + r)[c * from.column] : from_float<T>(0);
    }
  }
}

// The product of two rows of n elements, the same in every lane of the warp.
template <class T>
__device__ __forceinline__ float warp_dot(const T* a, std::int64_t a_step, const T* b,
                                          std::int64_t b_step, int n) {
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x) % 32; c < n; c += 32)
    sum = fmaf(to_float(a[c * a_step]), to_float(b[c * b_step]), sum);
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) sum += from_lane_xor(sum, bits);
  return sum;
}

template <class T>
__device__ __forceinline__ std::uint32_t packed(float low, float high) {
  const Pack<T, 2> pair{{from_float<T>(low), from_float<T>(high)}};
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// c += p b: p (16 kTiles, kInner) as an earlier product left it in registers, rounded to T; b
// (kInner, kColumns) in shared memory.
template <class T, int kTiles, int kInner, int kColumns>
__device__ __forceinline__ void multiply_columns(WarpTile<kColumns> (&c)[kTiles],
                                                 const WarpTile<kInner> (&p)[kTiles], const T* b) {
  constexpr int kPitch = tile_pitch<T>(kColumns);
  const int lane = WarpTile<kColumns>::lane();
  if constexpr (sizeof(T) == 2) {
    b += lane % 16 * kPitch + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < kInner; k += 16) {
      std::uint32_t left[kTiles][4];
#pragma unroll
      for (int t = 0; t < kTiles; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float (&four)[4] = p[t].at[k / 8 + i / 2];
          left[t][i] = packed<T>(four[i % 2 * 2], four[i % 2 * 2 + 1]);
        }
#pragma unroll
      for (int n = 0; n < kColumns; n += 16) {
        std::uint32_t right[4];
        load_transposed(right, b + k * kPitch + n);
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          multiply_add<T>(c[t].at[n / 8], left[t], {right[0], right[1]});
          multiply_add<T>(c[t].at[n / 8 + 1], left[t], {right[2], right[3]});
        }
      }
    }
  } else {
    b += 2 * (lane % 4);
#pragma unroll
    for (int k = 0; k < kInner; k += 8)
#pragma unroll 1
      for (int s = 0; s < 4; ++s)  // the lane of four that holds p's columns k + 2 s and the next
#pragma unroll
        for (int e = 0; e < 2; ++e)
#pragma unroll
          for (int t = 0; t < kTiles; ++t) {
            const float up = from_lane(p[t].at[k / 8][e], lane / 4 * 4 + s);
            const float low = from_lane(p[t].at[k / 8][e + 2], lane / 4 * 4 + s);
            const T* row = b + (k + 2 * s + e) * kPitch;
#pragma unroll
            for (int n = 0; n < kColumns / 8; ++n) {
              const auto two = *reinterpret_cast<const Pack<T, 2>*>(row + 8 * n);
#pragma unroll
              for (int i = 0; i < 2; ++i) {
                c[t].at[n][i] = fmaf(up, two.at[i], c[t].at[n][i]);
                c[t].at[n][i + 2] = fmaf(low, two.at[i], c[t].at[n][i + 2]);
              }
            }
          }
  }
}

// The mask's elements that belong to a lane's: allowed(element, score) for each.
template <class E, int kColumns, class Allowed>
__device__ __forceinline__ void look_at_mask(WarpTile<kColumns>& s, const void* mask,
                                             const MaskLine (&line)[2], Allowed allowed) {
  const int first = WarpTile<kColumns>::lane() % 4 * 2;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const MaskLine& l = line[h];
    const E* at = static_cast<const E*>(mask) + l.at + first * l.step;
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n, at += 8 * l.step)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& v = s.at[n][2 * h + i];
        if (!l.holds(8 * n + first + i) || !allowed(at[i * l.step], v)) v = -INFINITY;
      }
  }
}

// What the masks leave of a lane's scores, in units of log 2; -inf where they forbid. line[h] is
// that of the lane's row h.
template <class T, int kColumns>
__device__ __forceinline__ void apply_mask(WarpTile<kColumns>& s, const AttentionProblem& p,
                                           const MaskLine (&line)[2]) {
  if (p.mask_kind == AttentionMask::boolean) {
    look_at_mask<std::uint8_t>(s, p.mask.data, line,
                               [](std::uint8_t element, float&) { return element != 0; });
  } else if (p.mask_kind == AttentionMask::additive) {
    look_at_mask<T>(s, p.mask.data, line, [](T element, float& v) {
      const float term = to_float(element);
      v = fmaf(term, kLog2e, v);
      return term != -INFINITY;
    });
  } else {
    const int first = WarpTile<kColumns>::lane() % 4 * 2;
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (!line[e / 2].holds(8 * n + first + e % 2)) s.at[n][e] = -INFINITY;
  }
}

// Which of a lane's elements dropout keeps, element 4 n + e in bit 4 n + e. Columns are keys from
// key_begin on, rows[h] the lane's row h of all scores.
template <int kColumns>
__device__ __forceinline__ std::uint64_t keep_by_query(const AttentionProblem& p,
                                                       const std::int64_t (&rows)[2],
                                                       int key_begin) {
  const int q = WarpTile<kColumns>::lane() % 4;
  std::uint64_t bits = 0;
#pragma unroll 1
  for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const auto four = philox_block(p.seed, p.offset, p.draws(rows[h], key_begin + 8 * n + 2 * q));
      const std::uint32_t low = q % 2 ? four.word[2] : four.word[0];
      const std::uint32_t high = q % 2 ? four.word[3] : four.word[1];
      const std::uint64_t two = (low >= p.threshold ? 1u : 0u) | (high >= p.threshold ? 2u : 0u);
      bits |= two << (4 * n + 2 * h);
    }
  return bits;
}

// The same where columns are queries, of which the first is row `row` of all scores, and the lane's
// rows the keys `key` and key + 8.
template <int kColumns>
__device__ __forceinline__ std::uint64_t keep_by_key(const AttentionProblem& p, std::int64_t row,
                                                     int key) {
  const int first = WarpTile<kColumns>::lane() % 4 * 2;
  std::uint64_t bits = 0;
#pragma unroll 1
  for (int e = 0; e < kColumns / 2; ++e) {
    const std::int64_t r = row + e / 4 * 8 + first + e % 2;
    bits |= std::uint64_t{p.keeps(r, key + e % 4 / 2 * 8)} << e;
  }
  return bits;
}

template <int kColumns>
__device__ __forceinline__ void drop(WarpTile<kColumns>& x, std::uint64_t keep, float scale) {
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) x.at[n][e] *= (keep >> (4 * n + e)) & 1 ? scale : 0.0f;
}

// A warp's sums to `rows` rows of `width` columns at `to`, by way of as many bytes of shared memory
// as the warp's rows of T take up, so that neighbours write to neighbouring addresses.
template <class T, class Out, int kTiles, int kColumns>
__device__ __forceinline__ void write_sums(WarpTile<kColumns> (&sums)[kTiles], float* stage,
                                           Out* to, int rows, int width) {
  constexpr int kPasses = 4 / static_cast<int>(sizeof(T)), kPass = kColumns / kPasses;
  constexpr int kPitch = tile_pitch<T>(kColumns) / kPasses;
  const int lane = WarpTile<kColumns>::lane();
  float* mine = stage + lane / 4 * kPitch + lane % 4 * 2;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    sync_warp();
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
#pragma unroll
      for (int n = 0; n < kPass / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          mine[(16 * t + e / 2 * 8) * kPitch + 8 * n + e % 2] = sums[t].at[pass * kPass / 8 + n][e];
    sync_warp();
#pragma unroll 1
    for (int i = lane; i < 16 * kTiles * kPass; i += 32) {
      const int r = i / kPass, c = pass * kPass + i % kPass;
      if (r < rows && c < width)
        to[static_cast<std::int64_t>(r) * width + c] =
            from_float<Out>(stage[r * kPitch + i % kPass]);
    }
  }
}

}  // namespace pyfast::cuda
