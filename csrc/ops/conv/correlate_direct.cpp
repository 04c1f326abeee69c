#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "gemm/kernel.h"
#include "ops/conv/band.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/correlate.h"

namespace pyfast {

namespace {

template <class T>
class Direct {
 public:
  explicit Direct(const Correlation<T>& c)
      : c_(c),
        layout_(c.y, c.x),
        offsets_(layout_.offsets()),
        taps_(c.taps()),
        kernels_(conv_kernels<T>()),
        together_(even_pieces(c.in, c.chain() / c.taps())) {
    for (std::int64_t t = 0; t < c.taps(); ++t)
      taps_[t] = c.tap_offset(layout_.tap(t) / c.x.taps, layout_.tap(t) % c.x.taps);
    in_place_ = c.activation == Activation::none && !c.linear && c.x.target_step == 1 &&
                c.target.column == 1;
  }

  void run() const {
    const std::int64_t items = c_.batch * c_.groups * c_.out * layout_.blocks();
    const std::int64_t cost = c_.in * layout_.block_size() * (c_.taps() / 4 + 2);
    parallel_for(items, grain_for(cost), [&](std::int64_t begin, std::int64_t end) {
      const Workspace<T> band(layout_.size()), sums(2 * layout_.block_size()), weights(c_.taps());
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t plane = i / layout_.blocks();
        compute(plane / (c_.groups * c_.out), plane % (c_.groups * c_.out),
                layout_.block(i % layout_.blocks()), {band.data(), sums.data(), weights.data()});
      }
    });
  }

 private:
  struct Scratch {
    T *band, *sums, *weights;
  };

  // One block of output channel `channel` (of all groups) of sample n.
  void compute(std::int64_t n, std::int64_t channel, const GridBlock& block,
               const Scratch& scratch) const {
    const std::int64_t group = channel / c_.out;
    const std::int64_t offset = c_.target_offset(n, block.y, block.x) + channel * c_.target.channel;
    const std::int64_t row_step = c_.y.target_step * c_.target.row;
    T* sums = in_place_ ? c_.target.data + offset : scratch.sums;
    const std::int64_t stride = in_place_ ? row_step : block.cols;
    T* const chain = scratch.sums + layout_.block_size();
    const T bias = c_.bias ? c_.bias[channel] : T{0};
    for (std::int64_t i = 0; i < c_.in; ++i) {
      const T* plane =
          c_.source.data + n * c_.source.sample + (group * c_.in + i) * c_.source.channel;
      const auto rows = layout_.fill(scratch.band, plane, c_.source, block, offsets_.data());
      gather_weights(scratch.weights, group, channel % c_.out, i);
      if (i < together_) {
        kernels_.direct(rows, scratch.weights, bias, i > 0, sums, stride);
        continue;
      }
      kernels_.direct(rows, scratch.weights, T{0}, i % together_ > 0, chain, block.cols);
      if (i % together_ == together_ - 1 || i == c_.in - 1)
        for (std::int64_t y = 0; y < block.rows; ++y)
          gemm_kernels<T>().add(sums + y * stride, chain + y * block.cols, block.cols);
    }
    if (in_place_) return;
    gemm::Epilogue<T> e;
    e.c = c_.target.data + offset;
    e.row_stride = row_step;
    e.col_stride = c_.x.target_step * c_.target.column;
    e.activation = c_.activation;
    e.linear = c_.linear ? c_.linear + offset : nullptr;
    gemm_kernels<T>().store(e, sums, stride, 0, block.rows, 0, block.cols);
  }

  void gather_weights(T* weights, std::int64_t group, std::int64_t o, std::int64_t i) const {
    const T* from = c_.weight + group * c_.weight_group + o * c_.weight_out + i * c_.weight_in;
    for (std::int64_t t = 0; t < c_.taps(); ++t) weights[t] = from[taps_[t]];
  }

  const Correlation<T>& c_;
  BandLayout layout_;
  Workspace<std::int64_t> offsets_, taps_;  // of every tap: in the band, and in the weights
  const ConvKernels<T>& kernels_;
  std::int64_t together_;  // channels of one chain of products
  bool in_place_;
};

// Small planes that keep their size, as one row each: a tap is a shift of the whole plane. What it
// shifts over the ends of the rows is zero in the copy of the plane that the column of taps reads.
template <class T>
class Flat {
 public:
  explicit Flat(const Correlation<T>& c)
      : c_(c),
        size_(c.grid()),
        slack_(reach(c.y) * c.x.grid + reach(c.x) + kDirectSlack),
        copy_(size_ + 2 * slack_),
        offsets_(c.taps()),
        taps_(c.taps()),
        masks_(c.x.taps * size_),
        kernels_(conv_kernels<T>()) {
    for (std::int64_t t = 0; t < c.taps(); ++t) {
      const std::int64_t ty = t / c.x.taps, tx = t % c.x.taps;
      offsets_[t] = tx * copy_ + slack_ + shift(c.y, ty) * c.x.grid + shift(c.x, tx);
      taps_[t] = c.tap_offset(ty, tx);
    }
    for (std::int64_t t = 0; t < c.x.taps; ++t)
      for (std::int64_t i = 0; i < size_; ++i) {
        const std::int64_t reader = i % c.x.grid - shift(c.x, t);
        const bool inside = reader >= 0 && reader < c.x.grid;
        std::memset(&masks_[t * size_ + i], inside ? 0xff : 0, sizeof(T));
      }
  }

  static bool fits(const Correlation<T>& c) {
    constexpr std::int64_t kWidth = 40, kSize = 1600, kTaps = 7;
    const auto same = [](const AxisPlan& a) {
      return a.stride == 1 && a.source == a.grid && a.target_step == 1 && a.taps <= kTaps &&
             reach(a) <= a.grid;
    };
    const auto gapless = [&](const auto& image) {
      return image.column == 1 && image.row == c.x.grid;
    };
    return c.in == 1 && c.x.grid <= kWidth && c.grid() <= kSize && same(c.y) && same(c.x) &&
           gapless(c.source) && gapless(c.target);
  }

  void run() const {
    const std::int64_t planes = c_.batch * c_.groups * c_.out;
    const std::int64_t cost = size_ * (c_.taps() + 2 * c_.x.taps) / 4;
    parallel_for(planes, grain_for(cost + 16), [&](std::int64_t begin, std::int64_t end) {
      const Workspace<T> copies(c_.x.taps * copy_), weights(c_.taps()), sums(size_);
      std::fill_n(copies.data(), copies.size(), T{0});
      for (std::int64_t i = begin; i < end; ++i)
        compute(i / (c_.groups * c_.out), i % (c_.groups * c_.out), copies.data(), weights.data(),
                sums.data());
    });
  }

 private:
  // Of the source against the grid.
  static std::int64_t shift(const AxisPlan& a, std::int64_t tap) { return a.offset + tap * a.step; }
  static std::int64_t reach(const AxisPlan& a) {
    return std::max(std::abs(shift(a, 0)), std::abs(shift(a, a.taps - 1)));
  }

  void compute(std::int64_t n, std::int64_t channel, T* copies, T* weights, T* sums) const {
    const std::int64_t group = channel / c_.out;
    const T* plane = c_.source.data + n * c_.source.sample + group * c_.source.channel;
    kernels_.copy_masked(copies + slack_, copy_, plane, masks_.data(), c_.x.taps, size_);
    const T* from = c_.weight + group * c_.weight_group + channel % c_.out * c_.weight_out;
    for (std::int64_t t = 0; t < c_.taps(); ++t) weights[t] = from[taps_[t]];
    const bool plain = c_.activation == Activation::none && !c_.linear;
    const std::int64_t at = c_.target_offset(n, 0, 0) + channel * c_.target.channel;
    T* out = plain ? c_.target.data + at : sums;
    kernels_.direct({copies, 0, 1, size_, offsets_.data(), static_cast<int>(c_.taps())}, weights,
                    c_.bias ? c_.bias[channel] : T{0}, false, out, 0);
    if (plain) return;
    gemm::Epilogue<T> e;
    e.c = c_.target.data + at;
    e.activation = c_.activation;
    e.linear = c_.linear ? c_.linear + at : nullptr;
    gemm_kernels<T>().store(e, sums, size_, 0, 1, 0, size_);
  }

  const Correlation<T>& c_;
  std::int64_t size_, slack_, copy_;        // of a plane, the zeros at its ends, and both
  Workspace<std::int64_t> offsets_, taps_;  // of every tap: in the copies, and in the weights
  Workspace<T> masks_;
  const ConvKernels<T>& kernels_;
};

}  // namespace

template <class T>
bool prefers_direct(const Correlation<T>& c) {
  return c.out <= 2 && c.in > 0 && BandLayout::fits(c.y, c.x);
}

template <class T>
void correlate_direct(const Correlation<T>& c) {
  Flat<T>::fits(c) ? Flat<T>(c).run() : Direct<T>(c).run();
}

template bool prefers_direct(const Correlation<float>&);
template bool prefers_direct(const Correlation<double>&);
template void correlate_direct(const Correlation<float>&);
template void correlate_direct(const Correlation<double>&);

}  // namespace pyfast
