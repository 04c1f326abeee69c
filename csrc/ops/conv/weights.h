// A correlation's weights as the left operand of a product.
#pragma once

#include <algorithm>

#include "gemm/kernel.h"
#include "ops/conv/correlate.h"

namespace pyfast {

// The weights of one group by output channel; depth runs over (input channel, tap).
template <class T>
class WeightSource {
 public:
  WeightSource(const Correlation<T>& c, std::int64_t group)
      : c_(c),
        weight_(c.weight + group * c.weight_group + c.tap_offset(0, 0)),
        pack_(gemm_kernels<T>().pack),
        in_order_(c.tap_offset(c.y.taps - 1, c.x.taps - 1) - c.tap_offset(0, 0) + 1 == c.taps()) {}

  // gemm::Source::pack
  void pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const {
    const T* first = weight_ + row * c_.weight_out;
    if (in_order_ && c_.weight_in == c_.taps())
      return pack_(panel, first + k, c_.weight_out, 1, rows, tile, depth);
    if (c_.taps() == 1)
      return pack_(panel, first + k * c_.weight_in, c_.weight_out, c_.weight_in, rows, tile, depth);
    first += k / c_.taps() * c_.weight_in;
    for (std::int64_t tap = k % c_.taps(), n; depth > 0; tap = 0, depth -= n) {
      n = std::min(c_.taps() - tap, depth);
      pack_taps(panel, first, rows, tile, tap, n);
      first += c_.weight_in;
      panel += n * tile;
    }
  }

 private:
  // n taps of a channel.
  void pack_taps(T* panel, const T* channel, int rows, int tile, std::int64_t tap,
                 std::int64_t n) const {
    if (in_order_) return pack_(panel, channel + tap, c_.weight_out, 1, rows, tile, n);
    for (std::int64_t t = tap; t < tap + n; ++t, panel += tile) {
      const T* from = channel + c_.tap_offset(t / c_.x.taps, t % c_.x.taps) - c_.tap_offset(0, 0);
      for (int r = 0; r < rows; ++r) panel[r] = from[r * c_.weight_out];
      std::fill_n(panel + rows, tile - rows, T{0});
    }
  }

  const Correlation<T>& c_;
  const T* weight_;
  decltype(GemmKernels<T>::pack) pack_;
  bool in_order_;  // taps lie one after the other
};

}  // namespace pyfast
