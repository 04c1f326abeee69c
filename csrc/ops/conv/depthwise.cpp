#include "ops/conv/depthwise.h"

#include <algorithm>
#include <optional>

#include "core/parallel.h"
#include "gemm/kernel.h"
#include "ops/conv/band.h"
#include "ops/conv/flat.h"

namespace pyfast {

namespace {

constexpr std::int64_t kChannels = 16;  // of an item; channels-last ones are turned together
constexpr std::int64_t kItems = 8;      // that keep several threads busy
constexpr double kMostProducts = 64e6;  // of an item
constexpr std::int64_t kLongSum = 256;  // vectors in float, before double

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The image's pixels along an axis by residue class, with what scatter_axis() says of each; no taps
// where none meets it.
struct Phases {
  struct Phase {
    AxisPlan plan;
    std::int64_t before;  // taps of the phases before it
  };
  Workspace<Phase> phase;
  std::int64_t lowest = 0, highest = 0;  // that a tap reads for grid point 0

  explicit Phases(const ConvAxis& a) : phase(std::min(a.stride, a.image)) {
    for (std::int64_t r = 0; r < phase.size(); ++r)
      phase[r].plan = {a.maps, (a.image - r - 1) / a.stride + 1, 1, 0, 0, 1, 0, 1, r, a.stride};
    bool first = true;
    for (std::int64_t t = 0; t < scatter_phases(a); ++t) {
      const AxisPlan plan = scatter_axis(a, t);
      if (plan.grid == 0) continue;
      phase[plan.first_target].plan = plan;
      const std::int64_t last = plan.offset + (plan.taps - 1) * plan.step;
      lowest = std::min({first ? last : lowest, plan.offset, last});
      highest = std::max({first ? last : highest, plan.offset, last});
      first = false;
    }
    std::int64_t before = 0;
    for (std::int64_t r = 0; r < phase.size(); ++r) {
      phase[r].before = before;
      before += phase[r].plan.taps;
    }
  }
  std::int64_t size() const { return phase.size(); }
  // All of them seen as one correlation of stride 1.
  AxisPlan whole() const {
    const AxisPlan& longest = phase[0].plan;
    return {longest.source, longest.grid, 1, highest - lowest + 1, lowest, 1, 0, 1, 0, 1};
  }
};

// The gradient of the image, a block of a plane at a time: for each phase a correlation of the
// maps, all from one band.
template <class T>
class ImageGradient {
 public:
  explicit ImageGradient(const ConvGeometry& g)
      : g_(g),
        kernels_(conv_kernels<T>()),
        y_(g.y),
        x_(g.x),
        layout_(y_.whole(), x_.whole()),
        offsets_(g.taps()),
        taps_(g.taps()),
        row_step_(g.y.stride * g.x.image) {
    std::fill_n(taps_.data(), taps_.size(), 0);  // of those that meet no pixel: any
    for (std::int64_t py = 0; py < y_.size(); ++py)
      for (std::int64_t px = 0; px < x_.size(); ++px) order_taps(py, px);
  }

  const BandLayout& layout() const { return layout_; }
  std::int64_t scratch() const {
    return g_.taps() + (g_.x.stride > 1 ? 2 * layout_.block_size() : 0);
  }

  // `out`: the plane of the gradient.
  void compute(const T* band, const GridBlock& block, const T* weight, T* out, T* scratch,
               const Ahead<T>& ahead) const {
    if (spreads(g_.y) && spreads(g_.x)) return spread(band, block, weight, out);
    for (std::int64_t t = 0; t < g_.taps(); ++t) scratch[t] = weight[taps_[t]];
    for (std::int64_t py = 0; py < y_.size(); ++py) {
      T* to = out + (py + block.y * g_.y.stride) * g_.x.image + block.x * g_.x.stride;
      if (g_.x.stride == 1)
        correlate(band, py, 0, block, scratch, to, row_step_, ahead);
      else
        join(band, py, block, scratch, to);
    }
  }

 private:
  static bool spreads(const ConvAxis& a) {
    return a.kernel == 3 && a.stride == 2 && a.dilation == 1 && a.padding == 1 && a.image > 1;
  }
  void spread(const T* band, const GridBlock& block, const T* weight, T* out) const {
    const std::int64_t y = 2 * block.y, x = 2 * block.x;
    kernels_.spread_3x3(band, layout_.length(), weight, out + y * g_.x.image + x, g_.x.image,
                        std::min(2 * block.rows, g_.y.image - y),
                        std::min(2 * block.cols, g_.x.image - x));
  }
  static std::int64_t place(const AxisPlan& a, std::int64_t tap) {  // in the band's order
    return a.step < 0 ? a.taps - 1 - tap : tap;
  }
  static std::int64_t cut(const AxisPlan& a, std::int64_t begin, std::int64_t most) {
    return std::clamp<std::int64_t>(a.grid - begin, 0, most);
  }
  std::int64_t first_tap(std::int64_t py, std::int64_t px) const {
    return y_.phase[py].before * g_.x.kernel + y_.phase[py].plan.taps * x_.phase[px].before;
  }

  void order_taps(std::int64_t py, std::int64_t px) const {
    const AxisPlan &y = y_.phase[py].plan, &x = x_.phase[px].plan;
    std::int64_t at = first_tap(py, px);
    for (std::int64_t i = 0; i < y.taps; ++i)
      for (std::int64_t j = 0; j < x.taps; ++j, ++at) {
        const std::int64_t ty = place(y, i), tx = place(x, j);
        taps_[at] = (y.first_tap + ty * y.tap_step) * g_.x.kernel + x.first_tap + tx * x.tap_step;
        offsets_[at] = (y.offset + ty * y.step - y_.lowest) * layout_.length() + x.offset +
                       tx * x.step - x_.lowest;
      }
  }

  // One phase of both axes, to rows `step` apart.
  void correlate(const T* band, std::int64_t py, std::int64_t px, const GridBlock& block,
                 const T* weights, T* to, std::int64_t step, const Ahead<T>& ahead = {}) const {
    const AxisPlan &y = y_.phase[py].plan, &x = x_.phase[px].plan;
    const std::int64_t rows = cut(y, block.y, block.rows), cols = cut(x, block.x, block.cols);
    const std::int64_t first = first_tap(py, px);
    const bool dense = y.taps == x.taps && std::abs(y.step) == 1 && std::abs(x.step) == 1;
    if (y.taps * x.taps > 0)
      return kernels_.direct(
          {band, layout_.length(), rows, cols, offsets_.data() + first,
           static_cast<int>(y.taps * x.taps), dense ? static_cast<int>(x.taps) : 0, 1, ahead,
           y.step < 0 && x.step < 0},  // as the kernel has its taps
          weights + first, T{0}, false, to, step);
    for (std::int64_t r = 0; r < rows; ++r) std::fill_n(to + r * step, cols, T{0});
  }

  // All phases of the columns, side by side.
  void join(const T* band, std::int64_t py, const GridBlock& block, T* scratch, T* to) const {
    const std::int64_t pitch = block.cols, rows = cut(y_.phase[py].plan, block.y, block.rows);
    T* const own[2] = {scratch + g_.taps(), scratch + g_.taps() + layout_.block_size()};
    std::int64_t width = 0;
    for (std::int64_t px = 0; px < x_.size(); ++px) {
      const std::int64_t cols = cut(x_.phase[px].plan, block.x, block.cols);
      correlate(band, py, px, block, scratch, own[px % 2], pitch);
      width += cols;
      for (std::int64_t r = 0; r < rows && g_.x.stride > 2; ++r)
        for (std::int64_t i = 0; i < cols; ++i)
          to[r * row_step_ + i * g_.x.stride + px] = own[px % 2][r * pitch + i];
    }
    if (g_.x.stride == 2) kernels_.interleave(own[0], own[1], pitch, to, row_step_, rows, width);
  }

  const ConvGeometry& g_;
  const ConvKernels<T>& kernels_;
  Phases y_, x_;
  BandLayout layout_;
  Workspace<std::int64_t> offsets_, taps_;  // phase by phase: in the band, in the kernel
  std::int64_t row_step_;
};

template <class T>
class Gradients {
 public:
  Gradients(const ConvGeometry& g, const Image<const T>& image, const Image<const T>& maps,
            const T* weight, T* grad_image, T* grad_weight)
      : g_(g),
        image_(image),
        maps_(maps),
        weight_(weight),
        grad_image_(grad_image),
        grad_weight_(grad_weight),
        weights_(gather_axis(g.y), gather_axis(g.x)),
        weight_offsets_(weights_.offsets()),
        pixels_(g),
        flat_(gather_axis(g.y), gather_axis(g.x)) {
    is_flat_ = FlatLayout::fits(gather_axis(g.y), gather_axis(g.x)) && lies_flat();
    if (is_flat_) masks_.emplace(flat_.template masks<T>());
    const std::int64_t blocks = std::max(weights_.blocks(), pixels_.layout().blocks());
    pieces_ = g.batch * (is_flat_ ? 1 : blocks);
    const double products = static_cast<double>(g.batch * kChannels * g.pixels() * g.taps());
    const std::int64_t wanted =
        std::max(ceil_div(kItems, channel_blocks()),
                 static_cast<std::int64_t>(2 * products / kMostProducts) + 1);
    parts_ = std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(pieces_, 1));
  }

  void run() const {
    const std::int64_t items = channel_blocks() * parts_, all = g_.groups * g_.taps();
    const Workspace<double> sums(grad_weight_ ? parts_ * all : 0);
    std::fill_n(sums.data(), sums.size(), 0.0);
    const std::int64_t cost = kChannels * g_.pixels() * g_.taps() / 4;
    parallel_for(items, grain_for(cost * ceil_div(pieces_, parts_)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i)
                     compute(i % parts_, i / parts_ * kChannels, sums.data() + i % parts_ * all);
                 });
    for (std::int64_t i = 0; grad_weight_ && i < all; ++i) {
      double total = 0;
      for (std::int64_t part = 0; part < parts_; ++part) total += sums[part * all + i];
      grad_weight_[i] = static_cast<T>(total);
    }
  }

 private:
  std::int64_t channel_blocks() const { return ceil_div(g_.groups, kChannels); }
  bool lies_flat() const {
    const auto rows = [](const Image<const T>& i, const ConvAxis& x) {
      return i.column == 1 && i.row == x.image;
    };
    return rows(maps_, g_.x) && (!grad_weight_ || rows(image_, g_.x));
  }

  // A part of the pieces, for the channels from `channel` on.
  void compute(std::int64_t part, std::int64_t channel, double* sums) const {
    const std::int64_t size = ceil_div(pieces_, parts_), begin = part * size;
    const std::int64_t end = std::min(pieces_, begin + size);
    const std::int64_t channels = std::min(kChannels, g_.groups - channel);
    sums += channel * g_.taps();
    if (is_flat_)
      flat(begin, end, channel, channels, sums);
    else
      blocks(begin, end, channel, channels, sums);
  }

  void flat(std::int64_t begin, std::int64_t end, std::int64_t channel, std::int64_t channels,
            double* sums) const {
    const auto& kernels = conv_kernels<T>();
    const FlatShape<T> shape = flat_.shape(*masks_);
    const std::int64_t lane_count = channels * g_.taps(), width = gemm_kernels<T>().width;
    const Workspace<T> scratch(2 * flat_.scratch()), lanes(lane_count * width);
    std::fill_n(scratch.data(), scratch.size(), T{0});
    std::fill_n(lanes.data(), lanes.size(), T{0});
    const std::int64_t often = std::max<std::int64_t>(kLongSum * width / flat_.size(), 1);
    for (std::int64_t n = begin; n < end; ++n) {
      const T* maps = &maps_.at(n, channel, 0, 0);
      if (grad_image_)
        kernels.flat_planes(shape, channels, maps, maps_.channel, weight_ + channel * g_.taps(),
                            true, nullptr, grad_image_ + (n * g_.groups + channel) * flat_.size(),
                            flat_.size(), scratch.data());
      if (!grad_weight_) continue;
      kernels.flat_weights(shape, channels, &image_.at(n, channel, 0, 0), image_.channel, maps,
                           maps_.channel, lanes.data(), scratch.data() + flat_.scratch());
      if ((n - begin) % often == often - 1 || n + 1 == end)
        kernels.fold_lanes(lanes.data(), lane_count, sums);
    }
  }

  // Pieces are blocks of planes: the same share of the image's and of the maps' rows.
  void blocks(std::int64_t begin, std::int64_t end, std::int64_t channel, std::int64_t channels,
              double* sums) const {
    const std::int64_t per_sample = pieces_ / g_.batch;
    const Workspace<T> band(std::max(weights_.size(), pixels_.layout().size()));
    const Workspace<T> scratch(pixels_.scratch());
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t n = piece / per_sample, block = piece % per_sample;
      for (std::int64_t c = 0; c < channels; ++c) {
        if (grad_image_ && block < pixels_.layout().blocks())
          add_pixels(n, channel + c, block, band.data(), scratch.data());
        if (grad_weight_ && block < weights_.blocks())
          add_weights(n, channel + c, block, band.data(), sums + c * g_.taps());
      }
    }
  }
  // Rows of a plane from `y` on, to be fetched.
  static Ahead<T> rows_ahead(const Image<const T>& image, std::int64_t n, std::int64_t channel,
                             std::int64_t y, std::int64_t rows) {
    if (image.column != 1) return {};
    return {image.data + n * image.sample + channel * image.channel + y * image.row,
            rows * image.row};
  }
  void add_pixels(std::int64_t n, std::int64_t channel, std::int64_t i, T* band, T* scratch) const {
    const GridBlock block = pixels_.layout().block(i), next = weights_.block(i);
    pixels_.layout().fill(band, &maps_.at(n, channel, 0, 0), maps_, block, nullptr);
    const auto ahead = grad_weight_ ? rows_ahead(image_, n, channel, next.y * g_.y.stride,
                                                 std::max<std::int64_t>(next.rows, 0) * g_.y.stride)
                                    : rows_ahead(maps_, n, channel + 1, block.y, block.rows);
    T* out = grad_image_ + (n * g_.groups + channel) * g_.y.image * g_.x.image;
    pixels_.compute(band, block, weight_ + channel * g_.taps(), out, scratch, ahead);
  }
  void add_weights(std::int64_t n, std::int64_t channel, std::int64_t i, T* band,
                   double* sums) const {
    const GridBlock block = weights_.block(i);
    auto rows =
        weights_.fill(band, &image_.at(n, channel, 0, 0), image_, block, weight_offsets_.data());
    rows.ahead = rows_ahead(maps_, n, channel + 1, block.y, block.rows);
    conv_kernels<T>().direct_weights(rows, &maps_.at(n, channel, block.y, block.x), maps_.row,
                                     sums);
  }

  const ConvGeometry& g_;
  const Image<const T>& image_;
  const Image<const T>& maps_;
  const T* weight_;
  T* grad_image_;
  T* grad_weight_;
  BandLayout weights_;
  Workspace<std::int64_t> weight_offsets_;
  ImageGradient<T> pixels_;
  FlatLayout flat_;
  bool is_flat_;
  std::optional<Workspace<T>> masks_;
  std::int64_t pieces_, parts_;
};

}  // namespace

bool is_depthwise(const ConvGeometry& g) {
  return g.channels == 1 && g.maps == 1 && g.batch > 0 &&
         BandLayout::fits(gather_axis(g.y), gather_axis(g.x));
}

template <class T>
void depthwise_gradients(const ConvGeometry& g, const Image<const T>& image,
                         const Image<const T>& maps, const T* weight, T* grad_image,
                         T* grad_weight) {
  Gradients<T>(g, image, maps, weight, grad_image, grad_weight).run();
}

template void depthwise_gradients(const ConvGeometry&, const Image<const float>&,
                                  const Image<const float>&, const float*, float*, float*);
template void depthwise_gradients(const ConvGeometry&, const Image<const double>&,
                                  const Image<const double>&, const double*, double*, double*);

}  // namespace pyfast
