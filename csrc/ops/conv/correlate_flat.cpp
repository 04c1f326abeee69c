// Depthwise correlation of small planes, each taken as one row (kernel_flat.h).
#include "core/parallel.h"
#include "gemm/kernel.h"
#include "ops/conv/correlate.h"
#include "ops/conv/flat.h"

namespace pyfast {

namespace {

constexpr std::int64_t kChannels = 16;  // of an item

template <class T>
class Flat {
 public:
  explicit Flat(const Correlation<T>& c)
      : c_(c), layout_(c.y, c.x), masks_(layout_.masks<T>()), shape_(layout_.shape(masks_)) {}

  void run() const {
    const std::int64_t blocks = (c_.groups + kChannels - 1) / kChannels;
    const std::int64_t cost = kChannels * layout_.size() * c_.taps() / 8;
    parallel_for(c_.batch * blocks, grain_for(cost), [&](std::int64_t begin, std::int64_t end) {
      const bool plain = c_.activation == Activation::none && !c_.linear;
      const Workspace<T> scratch(layout_.scratch()), sums(plain ? 0 : kChannels * layout_.size());
      std::fill_n(scratch.data(), scratch.size(), T{0});
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t n = i / blocks, channel = i % blocks * kChannels;
        T* const out = c_.target.data + n * c_.target.sample + channel * c_.target.channel;
        compute(n, channel, plain ? out : sums.data(), plain ? c_.target.channel : layout_.size(),
                scratch.data());
        if (!plain) store(sums.data(), channel, out);
      }
    });
  }

 private:
  std::int64_t channels_from(std::int64_t channel) const {
    return std::min(kChannels, c_.groups - channel);
  }
  void compute(std::int64_t n, std::int64_t channel, T* out, std::int64_t step, T* scratch) const {
    conv_kernels<T>().flat_planes(
        shape_, channels_from(channel),
        c_.source.data + n * c_.source.sample + channel * c_.source.channel, c_.source.channel,
        c_.weight + channel * c_.weight_group, c_.x.step < 0, c_.bias ? c_.bias + channel : nullptr,
        out, step, scratch);
  }
  void store(const T* sums, std::int64_t channel, T* out) const {
    gemm::Epilogue<T> e;
    e.c = out;
    e.row_stride = c_.target.channel;
    e.activation = c_.activation;
    e.linear = c_.linear ? c_.linear + (out - c_.target.data) : nullptr;
    gemm_kernels<T>().store(e, sums, layout_.size(), 0, channels_from(channel), 0, layout_.size());
  }

  const Correlation<T>& c_;
  FlatLayout layout_;
  Workspace<T> masks_;
  FlatShape<T> shape_;
};

}  // namespace

template <class T>
bool prefers_flat(const Correlation<T>& c) {
  const auto gapless = [&](const auto& image) {
    return image.column == 1 && image.row == c.x.grid;
  };
  const bool depthwise = c.in == 1 && c.out == 1 && c.weight_group == c.taps();
  return depthwise && FlatLayout::fits(c.y, c.x) && c.x.step * c.y.step > 0 && gapless(c.source) &&
         gapless(c.target);
}

template <class T>
void correlate_flat(const Correlation<T>& c) {
  Flat<T>(c).run();
}

template bool prefers_flat(const Correlation<float>&);
template bool prefers_flat(const Correlation<double>&);
template void correlate_flat(const Correlation<float>&);
template void correlate_flat(const Correlation<double>&);

}  // namespace pyfast
