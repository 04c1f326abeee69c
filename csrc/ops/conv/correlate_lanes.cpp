// correlate_band with output channels in the lanes (kernel_lanes.h): blocks of the source are
// copied into a band, a stretch of the sum at a time, and every panel of weights passes over it.
// Tiles come out point by point and are turned on their way to the target, a panel of a block at a
// time where their points may be any.
#include "core/parallel.h"
#include "gemm/gemm.h"
#include "gemm/kernel.h"
#include "gemm/plan.h"
#include "ops/conv/band_sink.h"
#include "ops/conv/correlate.h"
#include "ops/conv/lanes_plan.h"
#include "ops/conv/weights.h"

namespace pyfast {

namespace {

constexpr std::int64_t kPoints = 400;                   // of a block
constexpr std::int64_t kDepth = 160, kDepthOfOne = 96;  // of a stretch of the sum
constexpr std::int64_t kRun = 40, kRunOfSmall = 16;     // run(),
constexpr std::int64_t kLeastCut = 64, kSmallMap = 400, kFewStretches = 512;  // where it cuts
constexpr std::int64_t kSumsBytes = 768 << 10;  // of an item, in L2 beside the band
constexpr std::int64_t kWeightBytes = 8 << 20;  // packed at a time
// Items that keep several threads busy, if none computes fewer output channels than it takes to pay
// for filling its band.
constexpr std::int64_t kItems = 8, kLeastOut = 128;

template <class T>
class Lanes {
 public:
  explicit Lanes(const Correlation<T>& c)
      : c_(c),
        kernels_(conv_kernels<T>()),
        gemm_(gemm_kernels<T>()),
        panel_(gemm_.width * gemm_.vectors),
        plan_(c.y, c.x, c.batch, c.source, kPoints, gemm_.rows),
        deep_(c.taps() *
              even_pieces(c.in, std::max<std::int64_t>(
                                    1, (c.taps() == 1 ? kDepthOfOne : kDepth) / c.taps()))),
        offsets_(deep_) {
    list_offsets(plan_, c.y.taps, c.x.taps, offsets_);
    tile_size_ =
        (kernels_.lanes_anywhere ? gemm_.rows : plan_.tile_rows() * plan_.tile_cols()) * panel_;
    cut_output();
  }

  void run() const {
    if (c_.panels) return run(0, c_.out, c_.panels->lanes.get([&] { return packed(0, c_.out); }));
    for (std::int64_t o = 0; o < c_.out; o += block_) {
      const std::int64_t out = std::min(block_, c_.out - o);
      run(o, out, fresh_ ? Workspace<T>() : packed(o, out));
    }
  }

 private:
  struct Item {
    std::int64_t group;
    BandBlock block;
    std::int64_t first, out;  // output channels of the group
  };
  struct Tile {
    std::int64_t n, y, x;  // in the block
    int rows, cols;
  };
  struct Stretch {
    std::int64_t begin, depth;
    bool first, last;
  };

  // Output channels [o, o + out) of every group.
  void run(std::int64_t o, std::int64_t out, const Workspace<T>& packed) const {
    const std::int64_t parts = ceil_div(out, part_), blocks = plan_.blocks();
    const std::int64_t cost = std::min(part_, out) * plan_.points() * depth();
    parallel_for(
        c_.groups * blocks * parts, grain_for(cost / 32 + 1),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t at = i % parts * part_, g = i / parts / blocks;
            const Item item{g, plan_.block(i / parts % blocks), o + at, std::min(part_, out - at)};
            const T* weights = fresh_ ? nullptr : packed.data() + g * padded(out) * depth();
            compute(item, weights, padded(out), at);
          }
        });
  }

  std::int64_t depth() const { return c_.in * c_.taps(); }
  std::int64_t padded(std::int64_t out) const { return round_up(out, gemm_.width); }
  // Of the panel at output channel r of `out`.
  int width(std::int64_t r, std::int64_t out) const {
    return static_cast<int>(std::min(panel_, padded(out) - r));
  }

  // Output channels are packed block by block, and a block cut in parts: by the sums' room in L2,
  // by the time an item may take, and into enough items.
  void cut_output() {
    const std::int64_t size = static_cast<std::int64_t>(sizeof(T)), width = plan_.points();
    const auto panels = [&](std::int64_t limit, std::int64_t total) {
      return panel_ * even_pieces(ceil_div(total, panel_), limit / panel_);
    };
    block_ = panels(kWeightBytes / (depth() * size), c_.out);
    const double most = gemm::kMaxChunk * gemm_.width / 4 / static_cast<double>(width * depth());
    std::int64_t part = std::min(kSumsBytes / (width * size), static_cast<std::int64_t>(most));
    const std::int64_t wanted = ceil_div(kItems, plan_.blocks() * c_.groups);
    part = std::min(part, std::max(kLeastOut, ceil_div(block_, wanted)));
    part_ = panels(part, block_);
    // Every panel of weights is used by one item only: it is packed where it is used.
    fresh_ = plan_.blocks() == 1 && !c_.panels;
    if (fresh_) block_ = round_up(c_.out, part_);
  }

  // The weights of output channels [o, o + out) of every group: by stretch, panel, depth.
  Workspace<T> packed(std::int64_t o, std::int64_t out) const {
    Workspace<T> all(c_.groups * padded(out) * depth());
    const std::int64_t panels = ceil_div(out, panel_), stretches = ceil_div(depth(), deep_);
    parallel_for(
        c_.groups * stretches * panels, grain_for(panel_ * deep_ / 2),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t r = i % panels * panel_, k = i / panels % stretches * deep_;
            const std::int64_t g = i / panels / stretches, d = std::min(deep_, depth() - k);
            T* panel = all.data() + (g * depth() + k) * padded(out) + r * d;
            WeightSource<T>(c_, g).pack(panel, o + r, static_cast<int>(std::min(panel_, out - r)),
                                        width(r, out), k, d);
          }
        });
    return all;
  }

  // `weights`: packed panels of `out` output channels, of which the item's begin at `at`; null
  // where they are packed here.
  void compute(const Item& item, const T* weights, std::int64_t out, std::int64_t at) const {
    const bool one = deep_ == depth(), anywhere = kernels_.lanes_anywhere;
    const std::int64_t step = one ? 0 : tile_size_, all = sums_of_panel();
    const std::int64_t panel_sums = one ? 0 : all, panels = ceil_div(item.out, panel_);
    const Workspace<T> sums(!one ? panels * all : anywhere ? all : tile_size_);
    const Workspace<std::int64_t> points(anywhere ? plan_.points() : 0);
    if (anywhere) locate_points(item.block, points);
    const Workspace<T> band(plan_.in_place() ? 0 : deep_ / c_.taps() * plan_.channel_pitch());
    std::fill_n(band.data(), band.size(), T{0});
    const Workspace<T> fresh(weights ? 0 : panel_ * deep_);
    const WeightSource<T> source(c_, item.group);
    for (std::int64_t k = 0; k < depth(); k += deep_) {
      const Stretch s{k, std::min(deep_, depth() - k), k == 0, k + deep_ >= depth()};
      const T* data = source_of(item, s, band.data());
      for (std::int64_t r = 0; r < item.out; r += panel_) {
        const T* panel = weights ? weights + k * out + (at + r) * s.depth : fresh.data();
        if (!weights)
          source.pack(fresh.data(), item.first + r,
                      static_cast<int>(std::min(panel_, item.out - r)), width(r, item.out), k,
                      s.depth);
        T* const to = sums.data() + r / panel_ * panel_sums;
        if (anywhere)
          multiply_anywhere(item, s, r, panel, data, points, to);
        else
          multiply(item, s, r, panel, data, to, step);
      }
    }
  }

  // Elements of a panel's sums over a block.
  std::int64_t sums_of_panel() const {
    if (!kernels_.lanes_anywhere) return plan_.tiles() * tile_size_;
    return plan_.points() * panel_;
  }

  // Where a block's points lie, one after the other.
  void locate_points(const BandBlock& b, const Workspace<std::int64_t>& points) const {
    std::int64_t* to = points.data();
    for (std::int64_t n = 0; n < b.samples; ++n)
      for (std::int64_t y = 0; y < b.rows; ++y)
        for (std::int64_t x = 0; x < b.cols; ++x) *to++ = plan_.point(n, y, x);
  }

  // A block's source, from depth s.begin on: where it lies, or copied into the band.
  const T* source_of(const Item& item, const Stretch& s, T* band) const {
    Image<const T> source = c_.source;
    source.data += (item.group * c_.in + s.begin / c_.taps()) * source.channel;
    if (plan_.in_place()) return source.data + plan_.begin(source, item.block);
    kernels_.fill_inside(plan_.fill(source, s.depth / c_.taps(), item.block), band);
    return band;
  }

  // Many stretches are sums of sums anyway. One chain of 147, a first layer's, had up to 1.25
  // times PyTorch's error, and takes 3 % longer cut in four. PyTorch itself cuts sums of groups,
  // and those of 1 x 1 kernels over some small maps: chains of 144 and 70 had 1.7 and 2.5 times its
  // error. 3 x 3 kernels of stride 1 come here for numbers that Winograd's way does not suit.
  std::int64_t run(const Stretch& s) const {
    const bool small = c_.taps() == 1 && c_.grid() < kSmallMap;
    const bool refused = c_.y.taps == 3 && c_.x.taps == 3 && c_.y.stride * c_.x.stride == 1;
    const bool few = c_.taps() > 1 ? depth() >= kLeastCut && depth() <= kFewStretches
                                   : s.first && s.last && (small || s.depth > kLeastCut);
    if (c_.spreads()) return even_pieces(s.depth, c_.chain());
    if (!few && !refused && c_.groups == 1) return s.depth;
    return even_pieces(s.depth, small ? kRunOfSmall : kRun);
  }

  // All tiles of a panel; their sums lie `step` apart.
  void multiply(const Item& item, const Stretch& s, std::int64_t r, const T* panel, const T* data,
                T* sums, std::int64_t step) const {
    const BandBlock& b = item.block;
    const int vectors = width(r, item.out) / gemm_.width;
    const std::int64_t strided = (plan_.col_step() - 1) * (gemm_.rows + gemm_.rows / 2);
    const std::int64_t tile_rows = plan_.tile_rows(), tile_cols = plan_.tile_cols();
    LanesSource<T> source{data, offsets_.data(), plan_.row_step(), 2 * tile_cols * plan_.col_step(),
                          run(s)};
    Tile t{};
    for (t.n = 0; t.n < b.samples; ++t.n)
      for (t.y = 0; t.y < b.rows; t.y += tile_rows)
        for (t.x = 0; t.x < b.cols; t.x += tile_cols, sums += step) {
          t.rows = static_cast<int>(std::min(tile_rows, b.rows - t.y));
          t.cols = static_cast<int>(std::min(tile_cols, b.cols - t.x));
          source.data = data + plan_.point(t.n, t.y, t.x);
          const std::int64_t kind = strided + (t.rows - 1) * gemm_.rows + t.cols - 1;
          kernels_.lanes_micro[kind * gemm_.vectors + vectors - 1](s.depth, source, panel, sums,
                                                                   !s.first);
          if (s.last) store(item, r, t, vectors * gemm_.width, sums);
        }
  }

  // The same where a tile's points may be any: rows and samples follow each other in the sums.
  void multiply_anywhere(const Item& item, const Stretch& s, std::int64_t r, const T* panel,
                         const T* data, const Workspace<std::int64_t>& points, T* sums) const {
    const BandBlock& b = item.block;
    const std::int64_t count = b.samples * b.rows * b.cols;
    const int lanes = width(r, item.out), vectors = lanes / gemm_.width;
    LanesSource<T> source{data, offsets_.data(), 0, 2 * gemm_.rows * plan_.col_step(), run(s)};
    for (std::int64_t p = 0; p < count; p += gemm_.rows) {
      source.points = points.data() + p;
      const std::int64_t n = std::min<std::int64_t>(gemm_.rows, count - p);
      kernels_.lanes_micro[(n - 1) * gemm_.vectors + vectors - 1](s.depth, source, panel,
                                                                  sums + p * lanes, !s.first);
    }
    if (!s.last) return;
    const int rows = static_cast<int>(std::min<std::int64_t>(lanes, item.out - r));
    const std::int64_t channel = item.group * c_.out + item.first;
    band_sink(c_, b, channel, b.cols, b.rows * b.cols).store_turned(sums, lanes, r, rows, 0, count);
  }

  // Of row y of a tile, in the target, of channel 0.
  std::int64_t target(const Item& item, const Tile& t, std::int64_t y) const {
    return c_.target_offset(item.block.n + t.n, item.block.y + t.y + y, item.block.x + t.x);
  }

  // A finished tile of `width` lanes, the item's output channels from r on.
  void store(const Item& item, std::int64_t r, const Tile& t, int width, const T* tile) const {
    const int rows = static_cast<int>(std::min<std::int64_t>(width, item.out - r));
    for (std::int64_t y = 0; y < t.rows; ++y, tile += t.cols * width)
      kernels_.lanes_store(
          epilogue_at(c_, item.group * c_.out + item.first + r, target(item, t, y)), tile, width,
          t.cols, rows);
  }

  const Correlation<T>& c_;
  const ConvKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  std::int64_t panel_;  // output channels of a panel
  LanesPlan plan_;
  std::int64_t deep_;                // depth of a stretch, whole channels
  Workspace<std::int64_t> offsets_;  // of a stretch's depths in the band
  std::int64_t tile_size_;           // elements
  std::int64_t block_, part_;        // output channels packed at a time, and of an item
  bool fresh_ = false;               // weights are packed where they are used
};

}  // namespace

template <class T>
bool prefers_lanes(const Correlation<T>& c) {
  // Turning what comes out costs as much as it saves where a point's sum is short and tiles are
  // small.
  constexpr std::int64_t kLongRow = 400;
  const bool shallow = c.taps() == 1 && c.grid() >= kLongRow && 2 * c.out >= c.in;
  if (shallow && conv_kernels<T>().lanes_anywhere) return false;
  return prefers_band(c) && c.out >= gemm_kernels<T>().width && (c.x.stride <= 2 || c.x.grid == 1);
}

template <class T>
void correlate_lanes(const Correlation<T>& correlation) {
  const Correlation<T> c = flattened(correlation);
  Lanes<T>(c).run();
}

template bool prefers_lanes(const Correlation<float>&);
template bool prefers_lanes(const Correlation<double>&);
template void correlate_lanes(const Correlation<float>&);
template void correlate_lanes(const Correlation<double>&);

}  // namespace pyfast
