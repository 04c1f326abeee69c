// Sums on their way out of the tile registers: while the tiles multiply, those of the product
// before are stored, and those of the one before that are added to where they belong. Nothing then
// waits for a product to end. Included by this folder's kernel_*.cpp only; everything here belongs
// to their namespace.
#pragma once

#include "ops/attention/kernel_tiles.h"

#ifdef PYFAST_ISA_AVX512

namespace pyfast::PYFAST_ISA {
namespace {

class PassingSums : Tiles {
 public:
  // to[r * ld + c] += factor * sum for `rows` x `columns` of 32 x 32.
  struct Target {
    float* to = nullptr;
    Index ld = 0, rows = 0, columns = 0;
    float factor = 0;
  };

  // Products of 2 x 2 tiles, whose sums will be added; `beside` advances after every four.
  template <class Beside>
  PYFAST_INLINE void add(Index steps, const AmxOperand& a, const AmxOperand& b,
                         const Target& target, Beside& beside) {
    float (*sums)[kTileSums] = sums_[at_];
    multiply_beside(steps, a, b, beside);
    leaving_ = {{sums[0], sums[1], sums[2], sums[3]}, kAmxTile * 4};
    in_tiles_ = {target, at_};
    at_ = 1 - at_;
  }

  // Whose sums will be stored, rows ld apart.
  template <class Beside>
  PYFAST_INLINE void store(Index steps, const AmxOperand& a, const AmxOperand& b, float* to,
                           Index ld, Beside& beside) {
    multiply_beside(steps, a, b, beside);
    float* below = to + kAmxTile * ld;
    leaving_ = {{to, to + kAmxTile, below, below + kAmxTile}, ld * 4};
    in_tiles_ = {};
  }

  // Everything gets where it belongs.
  void settle() {
    leaving_.finish();
    leaving_ = nowhere();
    for (const Adding& sums :
         {std::exchange(adding_, {}), std::exchange(stored_, {}), std::exchange(in_tiles_, {})})
      for (Index r = sums.row; r < sums.target.rows; ++r) add_row(sums, r);
  }

 private:
  static constexpr int kTileSums = kAmxTile * kAmxTile;

  struct Adding {
    Target target{};
    int at = 0;  // which of sums_
    Index row = 0;
  };

  template <class Beside>
  struct Both {
    const PassingSums& sums;
    Beside& beside;
    const Adding& adding;
    Index row, pace;
    PYFAST_INLINE void advance(Index products) {
      beside.advance(products);
      for (const Index end = least(adding.target.rows, row + pace); row < end; ++row)
        sums.add_row(adding, row);
    }
  };

  template <class Beside>
  PYFAST_INLINE void multiply_beside(Index steps, const AmxOperand& a, const AmxOperand& b,
                                     Beside& beside) {
    for (; adding_.row < adding_.target.rows; ++adding_.row) add_row(adding_, adding_.row);
    const Adding adding = adding_ = stored_;
    stored_ = in_tiles_;
    Both<Beside> both{*this, beside, adding, 0, ceil_div(kTile, 6 * steps)};
    multiply(steps, a, b, leaving_, both);
    adding_.row = both.row;
  }

  PYFAST_INLINE void add_row(const Adding& adding, Index r) const {
    const Target& target = adding.target;
    const float* from = sums_[adding.at][r / kAmxTile * 2] + r % kAmxTile * w;
    float* to = target.to + r * target.ld;
    const auto add = [&](Index column) PYFAST_INLINED {
      const __mmask16 lanes = amx::first_lanes(target.columns - column);
      const __m512 sum = _mm512_load_ps(from + column * kAmxTile);
      _mm512_mask_storeu_ps(to + column, lanes,
                            _mm512_fmadd_ps(sum, _mm512_set1_ps(target.factor),
                                            _mm512_maskz_loadu_ps(lanes, to + column)));
    };
    add(0);
    add(w);
  }

  Leaving nowhere() { return {{sums_[0][0], sums_[0][1], sums_[0][2], sums_[0][3]}, kAmxTile * 4}; }

  alignas(64) float sums_[2][4][kTileSums];
  Leaving leaving_ = nowhere();
  Adding in_tiles_{}, stored_{}, adding_{};
  int at_ = 0;
};

}  // namespace
}  // namespace pyfast::PYFAST_ISA

#endif
