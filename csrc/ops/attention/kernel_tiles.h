// What attention on AMX tiles is made of, forward and backward: queries and keys come 32 at a time,
// each operand split into three bfloat16 parts (gemm/amx_kernel.h), and products leave their sums
// in the tile registers, with other work done between their instructions. Included by this folder's
// kernel_*.cpp only; everything here belongs to their namespace.
#pragma once

#include "gemm/amx_kernel.h"
#include "ops/attention/kernel_mask.h"

#ifdef PYFAST_ISA_AVX512

#include "gemm/amx_tile.h"

namespace pyfast::PYFAST_ISA {
namespace {

struct Tiles {
  static constexpr int kParts = 3, kTile = 2 * kAmxTile;
  static constexpr Index w = vec<float>::size;
  static_assert(kTile == kAmxDepth && kAmxDepth == 2 * w);

  // Of weights, as far as the tiles are concerned: 0 or 1. What a smaller one loses there is below
  // every float.
  static constexpr Magnitudes kWeights{0x3f800000u, 0x3f800000u - 1};

  static Index whole(Index n) { return ceil_div(n, kAmxDepth) * kAmxDepth; }
  static int wide(Index left) { return left > kAmxTile ? kTile : kAmxTile; }
  static int count(Index left) { return static_cast<int>(least(kTile, left)); }
  // A panel whose rows (or columns) are the first of `rows`.
  static AmxOperand panel(const std::uint16_t* data, Index rows) {
    return AmxOperand::panel(data, wide(rows) / kAmxTile, kParts);
  }

  // Sums of tiles 0 ... 3; `beside` advances after every four products.
  template <int a_tiles, int b_tiles, class Beside>
  PYFAST_INLINE static void multiply(Index steps, const AmxOperand& a, const AmxOperand& b,
                                     Beside& beside) {
    amx::unroll<4>([](auto c) PYFAST_INLINED { amx::tile_zero<c>(); });
    for (Index s = 0; s < steps; ++s)
      amx::unroll<6>([&](auto p) PYFAST_INLINED {
        amx::product<kParts, a_tiles, b_tiles, false, p>(a, amx::at_step(a, s), b,
                                                         amx::at_step(b, s));
        beside.advance();
      });
  }

  // store(row, column, vector): what multiply left.
  template <int a_tiles, int b_tiles, class Store>
  PYFAST_INLINE static void each_sum(Store store) {
    alignas(64) float sums[4][kAmxTile * kAmxTile];
    amx::unroll<a_tiles * b_tiles>([&](auto c) PYFAST_INLINED { amx::tile_store<c>(sums[c]); });
    for (Index r = 0; r < a_tiles * kAmxTile; ++r)
      amx::unroll<b_tiles>([&](auto j) PYFAST_INLINED {
        store(r, j * w, vec<float>::load(sums[r / kAmxTile * b_tiles + j] + r % kAmxTile * w));
      });
  }

  // body.operator()<tiles of a, tiles of b>().
  template <class Body>
  PYFAST_INLINE static void with_tiles(Index rows, Index columns, Body body) {
    if (rows > kAmxTile)
      columns > kAmxTile ? body.template operator()<2, 2>() : body.template operator()<2, 1>();
    else
      columns > kAmxTile ? body.template operator()<1, 2>() : body.template operator()<1, 1>();
  }

  // Keys of block j ... j + columns that queries i ... i + rows, at most a tile of them, see, by
  // whole steps (none: begin >= end), and whether each sees each of them.
  struct Seen {
    Keys keys;
    bool all;
  };
  static Seen seen_by(const AttentionHead<float>& head, const Block& b) {
    Keys seen{b.columns, 0};
    const bool masked = head.mask != AttentionMask::none;
    bool all = band_covers(head, b);
    for (Index r = 0; r < b.rows;) {
      const Block part = b.part(r, masked ? span_rows(b, r) : b.rows);
      const Keys keys = visible(head, part);
      if (keys.begin < keys.end) seen = {least(seen.begin, keys.begin), most(seen.end, keys.end)};
      if (masked) all = all && span_of(head, part.i, b.j).all;
      r += part.rows;
    }
    if (seen.begin >= seen.end) return {{0, 0}, false};
    return {{seen.begin / kTile * kTile, whole(seen.end)}, all};
  }
};

}  // namespace
}  // namespace pyfast::PYFAST_ISA

#endif
