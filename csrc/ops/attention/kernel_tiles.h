// What attention on AMX tiles is made of, forward and backward: queries and keys come 32 at a time,
// each operand split into three bfloat16 parts (gemm/amx_kernel.h), and products leave their sums
// in the tile registers, with other work done between their instructions. Included by this folder's
// kernel_*.cpp only; everything here belongs to their namespace.
#pragma once

#include "gemm/amx_kernel.h"
#include "ops/attention/kernel_exponent.h"

#ifdef PYFAST_ISA_AVX512

#include "gemm/amx_tile.h"

namespace pyfast::PYFAST_ISA {
namespace {

struct Tiles {
  static constexpr int kParts = 3, kTile = 2 * kAmxTile;
  static constexpr Index w = vec<float>::size;
  static_assert(kTile == kAmxDepth && kAmxDepth == 2 * w);

  // Of what is no larger; smaller ones lose nothing there that a float would hold.
  static Magnitudes up_to(float bound) {
    const auto bits = __builtin_bit_cast(std::uint32_t, bound);
    return {bits, bits - 1};
  }
  static float largest_weight(const AttentionHead<float>& head) {
    return head.dropout ? head.keep_scale : 1.0f;
  }

  // fill_keep, and 0 for the keys beyond the block's.
  static void fill_whole_keep(const AttentionHead<float>& head, Index i, Index j, Index columns,
                              float* keep) {
    fill_keep(head, i, j, columns, keep);
    for (Index k = columns; k < kAttentionKeys; ++k) keep[k] = 0;
  }

  static Index whole(Index n) { return ceil_div(n, kAmxDepth) * kAmxDepth; }
  static int wide(Index left) { return left > kAmxTile ? kTile : kAmxTile; }
  static int count(Index left) { return static_cast<int>(least(kTile, left)); }
  // A panel whose rows (or columns) are the first of `rows`.
  static AmxOperand panel(const std::uint16_t* data, Index rows) {
    return AmxOperand::panel(data, wide(rows) / kAmxTile, kParts);
  }

  // Where sums of tiles 0 ... 3 go. A store waits for its tile's last product, and while more than
  // a few wait the processor takes nothing else in: each is written just before the next product
  // needs its tile.
  struct Leaving {
    void* to[4];
    Index row;  // bytes

    template <int c>
    PYFAST_INLINE void leave() const {
      amx::tile_store<c>(to[c], row);
    }
    PYFAST_INLINE void finish() const {
      amx::unroll<4>([&](auto c) PYFAST_INLINED { leave<c>(); });
    }
  };

  static constexpr int kFirstA = amx::kProducts<kParts>[0].a, kFirstB = amx::kProducts<kParts>[0].b;

  // 2 x 2 tiles, when `last` has left them; `beside` advances after every four products.
  template <class Beside>
  PYFAST_INLINE static void multiply(Index steps, const AmxOperand& a, const AmxOperand& b,
                                     const Leaving& last, Beside& beside) {
    for (Index s = 0; s < steps; ++s) {
      const char *left = amx::at_step(a, s), *right = amx::at_step(b, s);
      if (s == 0) {
        const char *from = left + kFirstA * a.part, *beneath = right + kFirstB * b.part;
        amx::unroll<2>([&](auto i) PYFAST_INLINED {
          amx::tile_load<4 + i>(from + i * a.tile, a.row);
          amx::tile_load<6 + i>(beneath + i * b.tile, b.row);
        });
        amx::unroll<4>([&](auto c) PYFAST_INLINED {
          last.leave<c>();
          amx::tile_zero<c>();
          amx::tile_multiply<c, 4 + c / 2, 6 + c % 2>();
        });
      } else {
        amx::product<kParts, 2, 2, false, 0>(a, left, b, right);
      }
      beside.advance(4);
      amx::unroll<5>([&](auto p) PYFAST_INLINED {
        amx::product<kParts, 2, 2, false, p + 1>(a, left, b, right);
        beside.advance(4);
      });
    }
  }

  // Sums of tiles 0 ... 3; `beside` advances after every few products.
  template <int a_tiles, int b_tiles, class Beside>
  PYFAST_INLINE static void multiply(Index steps, const AmxOperand& a, const AmxOperand& b,
                                     Beside& beside) {
    amx::unroll<4>([](auto c) PYFAST_INLINED { amx::tile_zero<c>(); });
    for (Index s = 0; s < steps; ++s)
      amx::unroll<6>([&](auto p) PYFAST_INLINED {
        amx::product<kParts, a_tiles, b_tiles, false, p>(a, amx::at_step(a, s), b,
                                                         amx::at_step(b, s));
        beside.advance(a_tiles * b_tiles);
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

  // Queries, keys and values of the head that comes next, row after row into L2.
  class FetchAhead {
   public:
    explicit FetchAhead(const AttentionHead<float>* head) {
      if (!head) return;
      add(head->query, head->queries, head->width);
      add(head->key, head->keys, head->width);
      add(head->value, head->keys, head->value_width);
    }
    // As much of it as a row of weights leaves time for.
    PYFAST_INLINE void fetch() {
      for (Index row = 0; at_ < count_ && row < kRows; ++row) fetch_row();
    }

   private:
    static constexpr Index kRows = 3;

    struct Rows {
      const float* data;
      Index stride, rows, width;
    };
    void add(const Strided<float>& x, Index rows, Index width) {
      if (x.column == 1) matrices_[count_++] = {x.data, x.row, rows, width};
    }
    void fetch_row() {
      const Rows& x = matrices_[at_];
      const float* from = x.data + row_ * x.stride;
      for (Index i = 0; i < x.width; i += w) __builtin_prefetch(from + i, 0, 2);
      if (++row_ == x.rows) ++at_, row_ = 0;
    }

    Rows matrices_[3];
    Index count_ = 0, at_ = 0, row_ = 0;
  };

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
