// 3 x 3 kernels of stride 1 by F(2 x 2, 3 x 3) (winograd.h): a block of tiles is transformed, all
// of its channels; panel after panel of filters is multiplied with it, product by product, and its
// sums turned into outputs. Blocks whose numbers don't suit (winograd_fit.h) are left to other
// ways.
#include <algorithm>

#include "core/parallel.h"
#include "gemm/kernel.h"
#include "gemm/plan.h"
#include "ops/conv/band_sink.h"
#include "ops/conv/correlate.h"
#include "ops/conv/piece.h"
#include "ops/conv/weights.h"
#include "ops/conv/winograd_fit.h"
#include "ops/conv/winograd_plan.h"

namespace pyfast {

namespace {

using Otherwise = void(const Correlation<float>&);

constexpr std::int64_t kSourceBytes = 640 << 10;  // of a block's transform, in L2 beside the sums
constexpr std::int64_t kMostTiles = 256;          // of a block
constexpr std::int64_t kWeightBytes = 16 << 20;   // transformed at a time
constexpr std::int64_t kChannels = 8;             // of the source, copied at a time
constexpr std::int64_t kSlack = 64;               // that transforms may read behind a copy
constexpr std::int64_t kSampled = 32;             // rows that tell in advance what suits nowhere
constexpr std::int64_t kPoints = 64;              // that are stored at a time, at least
// Items that keep several threads busy, if none computes fewer output channels than it takes to pay
// for its transform.
constexpr std::int64_t kItems = 8, kLeastOut = 128;
constexpr std::int64_t kWidePanels = 4;  // whose sums lie in L2, where there are many channels

// Of so many channels that L2 holds the transform of few tiles, and filters, 16 numbers for 9,
// would be read too often: a block's transform is then shared, and read from beyond L2 product by
// product.
bool is_wide(const Correlation<float>& c) {
  constexpr std::int64_t kMostIn = 384, kVector = 16;
  return c.in * gemm_kernels<float>().width > kMostIn * kVector;
}

class Winograd {
 public:
  explicit Winograd(const Correlation<float>& c)
      : c_(c),
        kernels_(winograd_kernels<float>()),
        conv_(conv_kernels<float>()),
        gemm_(gemm_kernels<float>()),
        panel_(gemm_.width * gemm_.vectors),
        panels_(ceil_div(c.out, panel_)),
        wide_(is_wide(c)),
        plan_(c, wide_ ? kMostTiles
                       : std::min(kMostTiles, kSourceBytes / (kWinogradProducts * 4 * c.in))) {
    const std::int64_t y = c.y.step < 0 ? -3 : 3, x = c.x.step < 0 ? -1 : 1;
    for (int k = 0; k < 9; ++k)
      order_[k] = static_cast<int>((y < 0 ? 6 : 0) + (x < 0 ? 2 : 0) + k / 3 * y + k % 3 * x);
    cut_output();
  }

  void run(Otherwise otherwise) const {
    if (c_.panels) {
      const WinogradPanels& all = c_.panels->winograd.get([&] { return pack(0, panels_); });
      for (std::int64_t p = 0; p < panels_; p += block_)
        run(p, std::min(block_, panels_ - p), all, p, otherwise);
      return;
    }
    for (std::int64_t p = 0; p < panels_; p += block_) {
      const std::int64_t count = std::min(block_, panels_ - p);
      run(p, count, pack(p, count), 0, otherwise);
    }
  }

 private:
  struct Item {
    std::int64_t group;
    BandBlock block;
    std::int64_t first, panels;  // panels of the group
  };

  // ---- cutting

  std::int64_t panel_items() const { return kWinogradProducts * c_.in * panel_; }
  std::int64_t outputs(std::int64_t first, std::int64_t panels) const {
    return std::min(c_.out, (first + panels) * panel_) - first * panel_;
  }

  void cut_output() {
    const std::int64_t tiles = plan_.tiles();
    block_ = even_pieces(panels_, kWeightBytes / (4 * panel_items()));
    const double most = gemm::kMaxChunk * gemm_.width / 4 /
                        static_cast<double>(tiles * kWinogradProducts * c_.in * panel_);
    const std::int64_t wanted = ceil_div(kItems, plan_.blocks() * c_.groups);
    const std::int64_t least = std::max(kLeastOut / panel_, ceil_div(block_, wanted));
    part_ = even_pieces(block_, std::min(static_cast<std::int64_t>(most), least));
    if (wide_) part_ = std::min(block_, kWidePanels);
  }

  // ---- weights

  // Panels [first, first + count) of every group, by (group, panel, product, channel).
  WinogradPanels pack(std::int64_t first, std::int64_t count) const {
    const std::int64_t all = c_.groups * count;
    WinogradPanels w{Workspace<float>(all * panel_items()), Workspace<WinogradFit>(all), count};
    parallel_for(all, grain_for(panel_items() / 2), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        w.fits[i] = pack_panel(i / count, first + i % count, w.items.data() + i * panel_items());
    });
    return w;
  }

  WinogradFit pack_panel(std::int64_t group, std::int64_t panel, float* to) const {
    const int filters = static_cast<int>(outputs(panel, 1)), lanes = static_cast<int>(panel_);
    const WeightSource<float> source(c_, group);
    const Workspace<float> taps(kChannels * 9 * panel_);
    WinogradFilters seen{};
    for (std::int64_t i = 0; i < c_.in; i += kChannels) {
      const std::int64_t n = std::min(kChannels, c_.in - i);
      source.pack(taps.data(), panel * panel_, filters, lanes, 9 * i, 9 * n);
      kernels_.weights(taps.data(), order_, n, lanes, to + i * panel_, c_.in * panel_, seen);
    }
    return winograd_fit(seen, filters, 9 * c_.in);
  }

  // ---- items

  // `count` panels of every group from `first` on, which lie at `at` among the weights'.
  void run(std::int64_t first, std::int64_t count, const WinogradPanels& weights, std::int64_t at,
           Otherwise otherwise) const {
    const std::int64_t parts = ceil_div(count, part_), blocks = plan_.blocks();
    const std::int64_t items = c_.groups * blocks * parts;
    const auto item = [&](std::int64_t i) {
      const std::int64_t part = i % parts * part_;
      return Item{i / parts / blocks, plan_.block(i / parts % blocks), first + part,
                  std::min(part_, count - part)};
    };
    const auto leave = [&](const Item& i) {
      otherwise(piece_of(c_, i.group, i.block, i.first * panel_, outputs(i.first, i.panels)));
    };
    const Workspace<WinogradFit> fits(c_.groups);
    bool suits = true;
    for (std::int64_t g = 0; g < c_.groups; ++g) {
      const WinogradFit* const fit = weights.fits.data() + g * weights.panels + at;
      fits[g] = fit[0];
      for (std::int64_t p = 1; p < count; ++p) fits[g] = worse(fits[g], fit[p]);
      suits = suits && winograd_suits(fits[g]);
    }
    const bool whole = count == panels_;
    suits = suits && seems_to_suit(fits);
    if (!suits && whole) return otherwise(c_);
    const Workspace<std::uint8_t> done(items);
    std::fill_n(done.data(), items, std::uint8_t{0});
    const std::int64_t cost = std::min(part_, count) * panel_ * plan_.tiles() * c_.in;
    const auto compute = [&](std::int64_t begin, std::int64_t end, const float* source) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Item it = item(i);
        const float* panels = weights.items.data() +
                              (it.group * weights.panels + at + it.first - first) * panel_items();
        done[i] = this->compute(it, panels, fits[it.group], source);
      }
    };
    const std::int64_t grain = grain_for(cost / 2 + 1);
    if (suits && !wide_)
      parallel_for(items, grain, [&](auto begin, auto end) { compute(begin, end, nullptr); });
    for (std::int64_t i = 0; suits && wide_ && i < items; i += parts) {
      const Workspace<float> source(kWinogradProducts * product(tiles_of(item(i).block)));
      if (!transform_together(item(i), source.data(), fits[item(i).group])) continue;
      parallel_for(parts, grain,
                   [&](auto begin, auto end) { compute(i + begin, i + end, source.data()); });
    }
    // Each item left would prepare the weights anew.
    const std::int64_t left = std::count(done.data(), done.data() + items, 0);
    if (whole && 4 * left >= items) return otherwise(c_);
    for (std::int64_t i = 0; i < items; ++i)
      if (!done[i]) leave(item(i));
  }

  // Judged by a few rows: spares the transforms of what is mostly zeros, or integers.
  bool seems_to_suit(const Workspace<WinogradFit>& fits) const {
    constexpr double kMargin = 0.9;
    const Image<const float>& s = c_.source;
    if (s.column != 1) return true;
    const std::int64_t channels = c_.groups * c_.in, all = c_.batch * channels * c_.y.source;
    const std::int64_t rows = std::min(kSampled, all);
    WinogradNumbers seen;
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t row = all / rows * i + i % (all / rows);
      kernels_.look(
          &s.at(row / c_.y.source / channels, row / c_.y.source % channels, row % c_.y.source, 0),
          c_.x.source, seen);
    }
    WinogradFit fit = fits[0];
    for (std::int64_t g = 1; g < c_.groups; ++g) fit = worse(fit, fits[g]);
    return winograd_density(fit, seen, rows * c_.x.source) >= kMargin * kWinogradDensity &&
           !winograd_short(fit, seen);
  }

  // `source`: its transform, if that is made already.
  bool compute(const Item& item, const float* weights, const WinogradFit& fit,
               const float* source) const {
    const std::int64_t tiles = tiles_of(item.block), size = kWinogradProducts * panel_;
    const Workspace<float> own(source ? 0 : kWinogradProducts * product(tiles));
    if (!source && !transform(item, own.data(), fit)) return false;
    if (!source) source = own.data();
    const std::int64_t together = wide_ ? item.panels : 1;  // panels
    const Workspace<float> sums(together * tiles * size);
    const Workspace<float> waiting(levels() * gemm_.rows * panel_);
    const Workspace<float> points(points_at_a_time(item.block) * panel_);
    for (std::int64_t p = 0; p < item.panels; p += together, weights += together * panel_items()) {
      multiply(tiles, source, weights, together, sums.data(), waiting.data());
      for (std::int64_t i = 0; i < together; ++i)
        store(item, item.first + p + i, tiles, sums.data() + i * tiles * size, points.data());
    }
    return true;
  }

  static std::int64_t rows_of(const BandBlock& b) { return ceil_div(b.rows, 2); }
  static std::int64_t cols_of(const BandBlock& b) { return ceil_div(b.cols, 2); }
  static std::int64_t tiles_of(const BandBlock& b) { return b.samples * rows_of(b) * cols_of(b); }
  // Between the channels of a product: lines, an odd number of them.
  static std::int64_t pitch(std::int64_t tiles) { return (ceil_div(tiles, 16) | 1) * 16; }
  // Between products: the same.
  std::int64_t product(std::int64_t tiles) const { return (c_.in * pitch(tiles) / 16 | 1) * 16; }
  int levels() const {
    int n = 1;
    for (std::int64_t sums = ceil_div(c_.in, kWinogradDepth); sums > 1; sums /= 2) ++n;
    return n;
  }

  // All channels of a block, if they suit.
  bool transform(const Item& item, float* to, const WinogradFit& fit) const {
    WinogradNumbers seen;
    transform(item, 0, c_.in, to, seen);
    return winograd_suits(fit, seen, c_.in * inside(item.block));
  }
  // The same by several threads.
  bool transform_together(const Item& item, float* to, const WinogradFit& fit) const {
    const std::int64_t pieces = ceil_div(c_.in, kChannels);
    const Workspace<WinogradNumbers> seen(pieces);
    parallel_for(pieces, grain_for(kChannels * 64 * tiles_of(item.block)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     seen[i] = {};
                     transform(item, i * kChannels, std::min((i + 1) * kChannels, c_.in), to,
                               seen[i]);
                   }
                 });
    for (std::int64_t i = 1; i < pieces; ++i) seen[0].add(seen[i]);
    return winograd_suits(fit, seen[0], c_.in * inside(item.block));
  }

  // Channels [first, end) of a block.
  void transform(const Item& item, std::int64_t first, std::int64_t end, float* to,
                 WinogradNumbers& seen) const {
    const BandBlock& b = item.block;
    const std::int64_t tiles = pitch(tiles_of(b)), product = this->product(tiles_of(b));
    const std::int64_t channel = plan_.samples() * plan_.plane(), tile_rows = rows_of(b);
    const Workspace<float> room(kChannels * channel + kSlack);
    std::fill_n(room.data(), room.size(), 0.0f);
    Image<const float> image = c_.source;
    image.data += (item.group * c_.in + first) * image.channel;
    for (std::int64_t i = first; i < end; i += kChannels, image.data += kChannels * image.channel) {
      const std::int64_t n = std::min(kChannels, end - i);
      conv_.fill_inside(plan_.fill(image, n, b), room.data());
      kernels_.look(room.data(), n * channel, seen);
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t s = 0; s < b.samples; ++s)
          kernels_.source(room.data() + j * channel + s * plan_.plane(), plan_.pitch(), tile_rows,
                          cols_of(b), to + (i + j) * tiles + s * tile_rows * cols_of(b), product);
    }
  }

  // Elements of a channel that a block sees.
  std::int64_t inside(const BandBlock& b) const {
    const BandFill<float> f = plan_.fill(c_.source, 1, b);
    const auto count = [](const BandAxis& a) {
      return std::max<std::int64_t>(
          0, std::min(a.size, a.first + a.count) - std::max<std::int64_t>(0, a.first));
    };
    return std::max<std::int64_t>(1, b.samples * count(f.y) * count(f.x));
  }

  // Sums of some panels, by (panel, product, tile): a product of all of them before the next, so
  // that its source is read once.
  void multiply(std::int64_t tiles, const float* source, const float* weights, std::int64_t panels,
                float* sums, float* waiting) const {
    const std::int64_t step = even_pieces(tiles, gemm_.rows), channel = pitch(tiles);
    const std::int64_t size = tiles * panel_;
    for (int p = 0; p < kWinogradProducts; ++p, source += product(tiles))
      for (std::int64_t i = 0; i < panels; ++i) {
        const float* const panel = weights + i * panel_items() + p * c_.in * panel_;
        float* const to = sums + (i * kWinogradProducts + p) * size;
        for (std::int64_t t = 0; t < tiles; t += step) {
          const std::int64_t n = std::min(step, tiles - t);
          kernels_.micro[n * gemm_.vectors - 1](c_.in, source + t, channel, panel, to + t * panel_,
                                                waiting);
        }
      }
  }

  // ---- outputs

  // Rows of tiles that are stored together.
  static std::int64_t rows_at_a_time(const BandBlock& b) {
    return std::min(rows_of(b), ceil_div(kPoints, 2 * b.cols));
  }
  static std::int64_t points_at_a_time(const BandBlock& b) {
    return 2 * rows_at_a_time(b) * b.cols;
  }

  void store(const Item& item, std::int64_t panel, std::int64_t tiles, const float* sums,
             float* points) const {
    const BandBlock& b = item.block;
    const int lanes = static_cast<int>(panel_), filters = static_cast<int>(outputs(panel, 1));
    const auto sink =
        band_sink(c_, b, item.group * c_.out + panel * panel_, b.cols, b.rows * b.cols);
    const std::int64_t step = 2 * rows_at_a_time(b);
    for (std::int64_t n = 0; n < b.samples; ++n)
      for (std::int64_t y = 0; y < b.rows; y += step) {
        const std::int64_t rows = std::min(step, b.rows - y);
        for (std::int64_t i = 0; i < rows; i += 2, sums += cols_of(b) * panel_)
          kernels_.outputs(sums, tiles * panel_, lanes,
                           static_cast<int>(std::min<std::int64_t>(2, rows - i)), b.cols,
                           points + i * b.cols * panel_);
        sink.store_turned(points, lanes, 0, filters, (n * b.rows + y) * b.cols, rows * b.cols);
      }
  }

  const Correlation<float>& c_;
  const WinogradKernels<float>& kernels_;
  const ConvKernels<float>& conv_;
  const GemmKernels<float>& gemm_;
  std::int64_t panel_, panels_;  // output channels of a panel; panels of a group
  bool wide_;                    // is_wide()
  WinogradPlan plan_;
  int order_[9];  // where the weights of a kernel are, row by row of the source
  std::int64_t block_ = 0, part_ = 0;  // panels transformed at a time, and of an item
};

}  // namespace

bool prefers_winograd(const Correlation<float>& c) {
  const auto fits = [](const AxisPlan& a) {
    return a.taps == 3 && a.stride == 1 && (a.step == 1 || a.step == -1) && a.grid >= 4;
  };
  constexpr std::int64_t kLeastIn = 16, kLeastOut = 32, kLeastTiles = 64;
  // Many weights are transformed for many tiles only: 64 of them, 4 samples of 7 x 7, took 8 %
  // longer than tap by tap, on packed weights 20 % less.
  constexpr std::int64_t kMostIn = 1024, kLeastWide = 96;
  // Of groups PyTorch's error is smaller, too: Winograd's was 1.28 of it on 32 normal channels.
  return c.groups == 1 && fits(c.y) && fits(c.x) && c.in >= kLeastIn && c.out >= kLeastOut &&
         c.in <= kMostIn &&
         c.batch * ceil_div(c.y.grid, 2) * ceil_div(c.x.grid, 2) >=
             (is_wide(c) ? kLeastWide : kLeastTiles);
}

void correlate_winograd(const Correlation<float>& c, void (*otherwise)(const Correlation<float>&)) {
  Winograd(c).run(otherwise);
}

}  // namespace pyfast
