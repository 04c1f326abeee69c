// A correlation's weights as the left operand of a product.
#pragma once

#include "gemm/kernel.h"
#include "ops/conv/correlate.h"

namespace pyfast {

// The weights of one group by output channel; depth runs over (input channel, tap).
template <class T>
class WeightSource {
 public:
  WeightSource(const Correlation<T>& c, std::int64_t group)
      : c_(c),
        weight_(c.weight + group * c.weight_group),
        pack_(gemm_kernels<T>().pack),
        plain_(c.weight_in == c.taps() && c.y.tap_step == 1 && c.x.tap_step == 1) {}

  // gemm::Source::pack
  void pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const {
    const T* first = weight_ + row * c_.weight_out;
    if (plain_) return pack_(panel, first + k, c_.weight_out, 1, rows, tile, depth);
    std::int64_t channel = k / c_.taps(), ty = k % c_.taps() / c_.x.taps, tx = k % c_.x.taps;
    for (std::int64_t d = 0; d < depth; ++d, panel += tile) {
      const T* from = first + channel * c_.weight_in + c_.tap_offset(ty, tx);
      for (int r = 0; r < rows; ++r) panel[r] = from[r * c_.weight_out];
      for (int r = rows; r < tile; ++r) panel[r] = T{0};
      if (++tx == c_.x.taps) tx = 0, ++ty;
      if (ty == c_.y.taps) ty = 0, ++channel;
    }
  }

 private:
  const Correlation<T>& c_;
  const T* weight_;
  decltype(GemmKernels<T>::pack) pack_;
  bool plain_;
};

}  // namespace pyfast
