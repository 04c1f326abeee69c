#include "core/parallel.h"
#include "gemm/kernel.h"
#include "ops/conv/band.h"
#include "ops/conv/correlate.h"

namespace pyfast {

namespace {

template <class T>
class Direct {
 public:
  explicit Direct(const Correlation<T>& c)
      : c_(c), layout_(c.y, c.x), offsets_(layout_.offsets()), kernels_(conv_kernels<T>()) {
    in_place_ = c.activation == Activation::none && !c.linear && c.x.target_step == 1 &&
                c.target.column == 1;
  }

  void run() const {
    const std::int64_t items = c_.batch * c_.groups * c_.out * layout_.blocks();
    const std::int64_t cost = c_.in * layout_.block_size() * (c_.taps() / 4 + 2);
    parallel_for(items, grain_for(cost), [&](std::int64_t begin, std::int64_t end) {
      const Workspace<T> band(layout_.size()), sums(layout_.block_size()), weights(c_.taps());
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
    const T bias = c_.bias ? c_.bias[channel] : T{0};
    for (std::int64_t i = 0; i < c_.in; ++i) {
      const T* plane =
          c_.source.data + n * c_.source.sample + (group * c_.in + i) * c_.source.channel;
      const auto rows = layout_.fill(scratch.band, plane, c_.source, block, offsets_.data());
      gather_weights(scratch.weights, group, channel % c_.out, i);
      kernels_.direct(rows, scratch.weights, bias, i > 0, sums, stride);
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
    for (std::int64_t ty = 0; ty < c_.y.taps; ++ty)
      for (std::int64_t tx = 0; tx < c_.x.taps; ++tx) *weights++ = from[c_.tap_offset(ty, tx)];
  }

  const Correlation<T>& c_;
  BandLayout layout_;
  Workspace<std::int64_t> offsets_;
  const ConvKernels<T>& kernels_;
  bool in_place_;
};

}  // namespace

template <class T>
bool prefers_direct(const Correlation<T>& c) {
  return c.out <= 2 && c.in > 0 && BandLayout::fits(c.y, c.x);
}

template <class T>
void correlate_direct(const Correlation<T>& c) {
  Direct<T>(c).run();
}

template bool prefers_direct(const Correlation<float>&);
template bool prefers_direct(const Correlation<double>&);
template void correlate_direct(const Correlation<float>&);
template void correlate_direct(const Correlation<double>&);

}  // namespace pyfast
