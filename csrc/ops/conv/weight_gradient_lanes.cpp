// The gradient of a convolution's weight with maps in the lanes (kernel_lanes.h): a stretch of the
// grid at a time the image lies in a band, where every tap of every channel is a row that begins
// somewhere, and the maps' gradient is turned so that those of a point stand side by side. A tile
// sums a few rows times vectors of maps over the points of the stretch; nothing is gathered.
#include <algorithm>

#include "core/parallel.h"
#include "gemm/kernel.h"
#include "ops/conv/lanes_plan.h"
#include "ops/conv/weight_cut.h"
#include "ops/conv/weight_gradient.h"

namespace pyfast {

namespace {

constexpr std::int64_t kPoints = 448;  // of a stretch
constexpr std::int64_t kDepth = 128;   // of it summed at a time: a panel of maps in L1,
constexpr std::int64_t kChain = 32;    // as sums of chains of products
constexpr double kMostProducts = 5e8;  // of an item, before signals are looked for

template <class T>
class LanesWeights {
 public:
  LanesWeights(const ConvGeometry& g, const Image<const T>& image, const Image<const T>& maps)
      : g_(g),
        image_(image),
        maps_(maps),
        kernels_(conv_kernels<T>()),
        gemm_(gemm_kernels<T>()),
        lanes_(std::min<std::int64_t>(kernels_.weight_vectors * gemm_.width,
                                      round_up(g.maps, gemm_.width))),
        plan_(gather_axis(g.y), gather_axis(g.x), g.batch, image, kPoints, 1),
        cut_(cut()) {}

  void run(T* result) const {
    const std::int64_t items = cut_.items();
    const bool alone = cut_.splits() * cut_.rounds() == 1;  // an item's sums are the result
    const Workspace<T> sums(alone ? 0 : items * block_sums());
    for (std::int64_t round = 0; round < cut_.rounds(); ++round)
      parallel_for(items, 1, [&](std::int64_t begin, std::int64_t end) {
        const Workspace<T> own(alone ? block_sums() : 0);
        for (std::int64_t i = begin; i < end; ++i) {
          T* const to = alone ? own.data() : sums.data() + i * block_sums();
          add(cut_.item(i), round, to);
          if (alone) write(cut_.item(i), 0, cut_.block_o(), to, result);
        }
      });
    if (!alone) write_all(items, sums.data(), result);
  }

 private:
  using Item = WeightCut::Item;
  std::int64_t block_sums() const { return cut_.block_sums(); }

  // As little as possible is copied or turned more than once.
  WeightCut cut() const {
    const std::int64_t size = static_cast<std::int64_t>(sizeof(T)), points = plan_.points();
    const std::int64_t unit = std::min<std::int64_t>(16, g_.channels);
    const std::int64_t c = ceil_div(g_.channels, unit), o = ceil_div(g_.maps, lanes_);
    WeightCut cut(g_, c, o, std::max(c, o), [&](std::int64_t cs, std::int64_t os) {
      const std::int64_t channels = std::min(cs * unit, g_.channels), maps = os * lanes_;
      return WeightCut::Block{
          channels, maps,
          size * (channels * plan_.channel_pitch() + maps * points + channels * g_.taps() * maps),
          ceil_div(o, os) * g_.channels * plan_.channel_pitch() +
              ceil_div(c, cs) * g_.maps * points};
    });
    cut.share(plan_.blocks(), points, kMostProducts);
    return cut;
  }

  // ---- one item's share of a round

  struct Operands {
    std::int64_t c, o, channels, maps;  // first of all, and how many
    Workspace<T> band, turned;
    Workspace<std::int64_t> rows, points;  // where they begin
  };

  void add(const Item& item, std::int64_t round, T* sums) const {
    const auto [begin, end] = cut_.stretches(item, round);
    if (round == 0 && begin == end) std::fill_n(sums, block_sums(), T{0});
    const std::int64_t channels = cut_.channels(item);
    const std::int64_t maps = cut_.maps(item);
    const Operands x{item.group * g_.channels + item.c,
                     item.group * g_.maps + item.o,
                     channels,
                     maps,
                     Workspace<T>(plan_.in_place() ? 0 : channels * plan_.channel_pitch()),
                     Workspace<T>(round_up(maps, lanes_) * plan_.points()),
                     Workspace<std::int64_t>(channels * g_.taps()),
                     Workspace<std::int64_t>(plan_.points())};
    list_offsets(plan_, g_.y.kernel, g_.x.kernel, x.rows);
    for (std::int64_t i = begin; i < end; ++i)
      add_block(plan_.block(i), x, round > 0 || i > begin, sums);
  }

  void add_block(const BandBlock& b, const Operands& x, bool accumulate, T* sums) const {
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < b.samples; ++n)
      for (std::int64_t y = 0; y < b.rows; ++y)
        for (std::int64_t c = 0; c < b.cols; ++c) x.points[count++] = plan_.point(n, y, c);
    const T* const source = source_of(b, x);
    turn(b, x, count);
    const std::int64_t depth = even_pieces(count, kDepth);
    for (std::int64_t d = 0; d < count; d += depth)
      multiply(x, source, d, std::min(depth, count - d), count, accumulate || d > 0, sums);
  }

  // The image under a block: where it lies, or copied into the band.
  const T* source_of(const BandBlock& b, const Operands& x) const {
    Image<const T> from = image_;
    from.data += x.c * from.channel;
    if (plan_.in_place()) return from.data + plan_.begin(from, b);
    std::fill_n(x.band.data(), x.band.size(), T{0});
    kernels_.fill_inside(plan_.fill(from, x.channels, b), x.band.data());
    return x.band.data();
  }

  // The maps of each point side by side, a panel of lanes after the other.
  void turn(const BandBlock& b, const Operands& x, std::int64_t count) const {
    const bool whole = b.cols == g_.x.maps;
    const std::int64_t runs = whole ? 1 : b.rows, run = whole ? b.rows * b.cols : b.cols;
    for (std::int64_t o = 0; o < x.maps; o += lanes_) {
      const int rows = static_cast<int>(std::min(lanes_, x.maps - o));
      const std::int64_t lanes = width(x.maps - o);
      T* to = x.turned.data() + o * count;
      for (std::int64_t n = 0; n < b.samples; ++n)
        for (std::int64_t y = 0; y < runs; ++y, to += run * lanes)
          gemm_.pack(to, &maps_.at(b.n + n, x.o + o, b.y + y, b.x), maps_.channel, 1, rows,
                     static_cast<int>(lanes), run);
    }
  }
  // Lanes of a panel where so many maps are left.
  std::int64_t width(std::int64_t rest) const {
    return std::min(lanes_, round_up(rest, gemm_.width));
  }

  void multiply(const Operands& x, const T* source, std::int64_t d, std::int64_t depth,
                std::int64_t count, bool accumulate, T* sums) const {
    const std::int64_t all = x.rows.size(), most = kernels_.weight_rows;
    for (std::int64_t o = 0; o < x.maps; o += lanes_) {
      const std::int64_t lanes = width(x.maps - o), vectors = lanes / gemm_.width;
      LanesSource<T> from{source, x.points.data() + d, 0, plan_.channel_pitch(),
                          even_pieces(depth, kChain)};
      T* const to = sums + o * cut_.block_c() * g_.taps();
      for (std::int64_t r = 0; r < all; r += most) {
        from.points = x.rows.data() + r;
        const std::int64_t rows = std::min(most, all - r);
        kernels_.weight_micro[(rows - 1) * kernels_.weight_vectors + vectors - 1](
            depth, from, x.turned.data() + o * count + d * lanes, to + r * lanes, accumulate);
      }
    }
  }

  // ---- the result, the sums of an item's splits added in order

  void write_all(std::int64_t items, T* sums, T* result) const {
    const std::int64_t panels = ceil_div(cut_.block_o(), lanes_);
    parallel_for(items / cut_.splits() * panels, grain_for(lanes_ * cut_.block_c() * g_.taps()),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t o = i % panels * lanes_;
                     write(cut_.item(i / panels * cut_.splits()), o, o + lanes_,
                           sums + i / panels * cut_.splits() * block_sums(), result);
                   }
                 });
  }

  // Maps [begin, end) of an item.
  void write(const Item& item, std::int64_t begin, std::int64_t end, T* sums, T* result) const {
    const std::int64_t maps = std::min(end, g_.maps - item.o);
    const std::int64_t channels = cut_.channels(item);
    const std::int64_t rows = channels * g_.taps(), ld = g_.channels * g_.taps();
    for (std::int64_t o = begin; o < maps; o += lanes_) {
      T* const to = sums + o * cut_.block_c() * g_.taps();
      const std::int64_t lanes = width(cut_.maps(item) - o);
      for (std::int64_t s = 1; s < cut_.splits(); ++s)
        gemm_.add(to, to + s * block_sums(), rows * lanes);
      gemm::Epilogue<T> e;
      e.c = result + (item.group * g_.maps + item.o + o) * ld + item.c * g_.taps();
      e.row_stride = ld;
      kernels_.lanes_store(e, to, static_cast<int>(lanes), static_cast<int>(rows),
                           static_cast<int>(std::min(lanes, maps - o)));
    }
  }

  const ConvGeometry& g_;
  const Image<const T>& image_;
  const Image<const T>& maps_;
  const ConvKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  std::int64_t lanes_;  // maps of a panel
  LanesPlan plan_;
  WeightCut cut_;
};

}  // namespace

template <class T>
bool prefers_lanes(const ConvGeometry& g) {
  // More maps repay the engine's gathering and packing of patches; fewer points, or strides without
  // taps, do not repay the copies and the sums in memory here.
  constexpr std::int64_t kTaps = 400, kReach = 256, kMostMaps = 128, kPointsThatPay = 512;
  const auto fits = [](const ConvAxis& a) {
    return (a.kernel - 1) * a.dilation < kReach && a.stride < kReach;
  };
  return 2 * g.maps >= gemm_kernels<T>().width && g.maps <= kMostMaps && g.channels > 0 &&
         g.batch * g.pixels() >= kPointsThatPay && g.taps() > 0 && g.taps() <= kTaps &&
         (g.taps() > 1 || g.y.stride * g.x.stride == 1) && fits(g.y) && fits(g.x);
}

template <class T>
void lanes_weight_gradient(const ConvGeometry& g, const Image<const T>& image,
                           const Image<const T>& maps, T* result) {
  LanesWeights<T>(g, image, maps).run(result);
}

template bool prefers_lanes<float>(const ConvGeometry&);
template bool prefers_lanes<double>(const ConvGeometry&);
template void lanes_weight_gradient(const ConvGeometry&, const Image<const float>&,
                                    const Image<const float>&, float*);
template void lanes_weight_gradient(const ConvGeometry&, const Image<const double>&,
                                    const Image<const double>&, double*);

}  // namespace pyfast
