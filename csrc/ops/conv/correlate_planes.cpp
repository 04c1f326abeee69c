// Depthwise 3 x 3 correlation, read where the source lies (kernel_plane.h).
#include <algorithm>

#include "core/parallel.h"
#include "gemm/kernel.h"
#include "ops/conv/correlate.h"
#include "ops/conv/kernel.h"

namespace pyfast {

namespace {

template <class T>
class Planes {
 public:
  explicit Planes(const Correlation<T>& c)
      : c_(c), plain_(c.activation == Activation::none && !c.linear), zeros_(c.x.source) {
    constexpr std::int64_t kPoints = 16384, kSums = 4096;  // of a block; sums wait in L1
    std::fill_n(zeros_.data(), zeros_.size(), T{0});
    rows_ = std::max<std::int64_t>((plain_ ? kPoints : kSums) / c.x.grid / 4 * 4, 4);
    blocks_ = (c.y.grid + rows_ - 1) / rows_;
  }

  void run() const {
    const std::int64_t items = c_.batch * c_.groups * c_.out * blocks_;
    const std::int64_t cost = std::min(rows_, c_.y.grid) * c_.x.grid * 4;
    parallel_for(items, grain_for(cost), [&](std::int64_t begin, std::int64_t end) {
      const Workspace<T> sums(plain_ ? 0 : rows_ * c_.x.grid);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t plane = i / blocks_, channels = c_.groups * c_.out;
        compute(plane / channels, plane % channels, i % blocks_ * rows_, sums.data());
      }
    });
  }

  static std::int64_t outside(const AxisPlan& a) {  // before the source, under the first output
    return -(a.offset + std::min<std::int64_t>(a.step, 0) * (a.taps - 1));
  }

 private:
  PlaneRows<T> rows_of(const T* image) const {
    return {image,         c_.y.source,   c_.x.source, c_.source.row,
            outside(c_.y), outside(c_.x), c_.x.grid,   static_cast<int>(c_.x.stride),
            zeros_.data()};
  }
  void gather_weights(std::int64_t channel, T* weights) const {
    const T* from =
        c_.weight + channel / c_.out * c_.weight_group + channel % c_.out * c_.weight_out;
    for (std::int64_t t = 0; t < 9; ++t) {
      const std::int64_t at = c_.x.step < 0 ? 8 - t : t;
      weights[t] = from[c_.tap_offset(at / 3, at % 3)];
    }
  }

  // Rows from y on of output channel `channel` (of all groups) of sample n.
  void compute(std::int64_t n, std::int64_t channel, std::int64_t y, T* sums) const {
    const std::int64_t end = std::min(y + rows_, c_.y.grid), width = c_.x.grid;
    const std::int64_t offset = c_.target_offset(n, y, 0) + channel * c_.target.channel;
    const std::int64_t out_row = c_.y.target_step * c_.target.row;
    T weights[9];
    gather_weights(channel, weights);
    conv_kernels<T>().plane_3x3(rows_of(&c_.source.at(n, channel / c_.out, 0, 0)), y, end, weights,
                                c_.bias ? c_.bias[channel] : T{0},
                                plain_ ? c_.target.data + offset : sums, plain_ ? out_row : width);
    if (plain_) return;
    gemm::Epilogue<T> e;
    e.c = c_.target.data + offset;
    e.row_stride = out_row;
    e.activation = c_.activation;
    e.linear = c_.linear ? c_.linear + offset : nullptr;
    gemm_kernels<T>().store(e, sums, width, 0, end - y, 0, width);
  }

  const Correlation<T>& c_;
  bool plain_;
  Workspace<T> zeros_;
  std::int64_t rows_, blocks_;  // rows of outputs in a block, and blocks of a plane
};

}  // namespace

template <class T>
bool prefers_planes(const Correlation<T>& c) {
  const auto fits = [](const AxisPlan& a) {
    const std::int64_t outside = Planes<T>::outside(a);
    return a.taps == 3 && std::abs(a.step) == 1 && a.grid > 0 && outside >= 0 && outside <= 1 &&
           (a.grid - 1) * a.stride + 2 - outside <= a.source;
  };
  return c.in == 1 && c.out <= 2 && fits(c.y) && fits(c.x) && c.y.step == c.x.step &&
         c.y.stride == c.x.stride && c.x.stride <= 2 && c.x.target_step == 1 &&
         c.source.column == 1 && c.target.column == 1;
}

template <class T>
void correlate_planes(const Correlation<T>& c) {
  Planes<T>(c).run();
}

template bool prefers_planes(const Correlation<float>&);
template bool prefers_planes(const Correlation<double>&);
template void correlate_planes(const Correlation<float>&);
template void correlate_planes(const Correlation<double>&);

}  // namespace pyfast
