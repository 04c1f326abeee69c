// A matrix product of the weights with the source's patches: blocks of the source are copied into a
// band, and the tiles read every tap from there. No patch is formed, except where the rows are so
// short that the zeros between them would cost more: there the band holds the patches of a block,
// a stretch of the sum at a time.
#include "core/parallel.h"
#include "gemm/gemm.h"
#include "gemm/kernel.h"
#include "gemm/plan.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/band_sink.h"
#include "ops/conv/correlate.h"
#include "ops/conv/weights.h"

namespace pyfast {

namespace {

constexpr std::int64_t kColumns = 384;          // grid points of a block
constexpr std::int64_t kDepth = 160;            // of a stretch of the sum
constexpr std::int64_t kSumsBytes = 768 << 10;  // of an item, in L2 beside the band
constexpr std::int64_t kWeightBytes = 8 << 20;  // packed at a time
// Items that keep several threads busy, if none computes fewer output channels than it takes to pay
// for filling its band.
constexpr std::int64_t kItems = 8, kLeastOut = 128;
// Output channels whose products cost as much as gathering a patch does.
constexpr double kGather = 20;

template <class T>
class Band {
 public:
  explicit Band(const Correlation<T>& c)
      : c_(c),
        kernels_(conv_kernels<T>()),
        gemm_(gemm_kernels<T>()),
        plan_(c.y, c.x, c.batch, kColumns),
        dense_((plan_.waste() - 1) * static_cast<double>(c.out) > kGather),
        rows_(even_pieces(c.out, gemm_.rows)),
        deep_(c.taps() * even_pieces(c.in, std::max<std::int64_t>(1, kDepth / c.taps()))),
        offsets_(deep_) {
    const std::int64_t vector = gemm_.width * gemm_.vectors, points = c.batch * c.grid();
    width_ = dense_ ? round_up(even_pieces(points, kColumns), vector) : plan_.widest();
    blocks_ = dense_ ? ceil_div(points, width_) : plan_.blocks();
    pitch_ = (ceil_div(width_, 16) | 1) * 16;  // as BandPlan's channel pitch
    if (dense_)
      for (std::int64_t i = 0; i < deep_; ++i) offsets_[i] = i * pitch_;
    else
      list_offsets(plan_, c.y.taps, c.x.taps, offsets_);
    cut_output();
  }

  void run() const {
    if (c_.panels) return run(0, c_.out, c_.panels->band.get([&] { return packed(0, c_.out); }));
    for (std::int64_t o = 0; o < c_.out; o += block_) {
      const std::int64_t out = std::min(block_, c_.out - o);
      run(o, out, fresh_ ? Workspace<T>() : packed(o, out));
    }
  }

 private:
  struct Item {
    std::int64_t group, block;
    std::int64_t first, out;  // output channels of the group
  };
  // Panels of `out` output channels, those of a stretch of the depth together; `at`: an item's
  // first one among them.
  struct Packed {
    const T* data;
    std::int64_t out, at;
    const T* stretch(std::int64_t k, std::int64_t depth) const {
      return data + k * out + at * depth;
    }
  };
  struct Stretch {
    const T* a;  // null: the weights are packed as they are used
    const T* band;
    std::int64_t begin, depth;
    bool first, last;
  };

  // Output channels [o, o + out) of every group.
  void run(std::int64_t o, std::int64_t out, const Workspace<T>& packed) const {
    const std::int64_t parts = ceil_div(out, part_);
    const std::int64_t cost = std::min(part_, out) * width_ * depth();
    parallel_for(c_.groups * blocks_ * parts, grain_for(cost / 32 + 1),
                 [&](std::int64_t begin, std::int64_t end) {
                   const Workspace<T> band(band_size() + sums_size());
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t at = i % parts * part_, g = i / parts / blocks_;
                     const Item item{g, i / parts % blocks_, o + at, std::min(part_, out - at)};
                     compute(item, {packed.data() + g * out * depth(), out, at}, band.data());
                   }
                 });
  }

  std::int64_t depth() const { return c_.in * c_.taps(); }
  std::int64_t even_rows(std::int64_t limit, std::int64_t total) const {
    return rows_ * even_pieces(ceil_div(total, rows_), limit / rows_);
  }

  // Output channels are packed block by block, and a block cut in parts: by the sums' room in L2,
  // by the time an item may take, and into enough items.
  void cut_output() {
    const std::int64_t size = static_cast<std::int64_t>(sizeof(T));
    block_ = even_rows(std::max(rows_, kWeightBytes / (depth() * size)), c_.out);
    const double most = gemm::kMaxChunk * gemm_.width / 4 / static_cast<double>(width_ * depth());
    std::int64_t part = std::min(kSumsBytes / (width_ * size), static_cast<std::int64_t>(most));
    const std::int64_t wanted = ceil_div(kItems, blocks_ * c_.groups);
    part = std::min(part, std::max(kLeastOut, ceil_div(block_, wanted)));
    part_ = even_rows(std::max(part, rows_), block_);
    fresh_ = blocks_ == 1 && !c_.panels;  // every panel of weights is used by one item only
    if (fresh_) block_ = round_up(c_.out, part_);
  }

  // The weights of output channels [o, o + out) of every group.
  Workspace<T> packed(std::int64_t o, std::int64_t out) const {
    Workspace<T> all(c_.groups * out * depth());
    const std::int64_t panels = ceil_div(out, rows_), stretches = ceil_div(depth(), deep_);
    parallel_for(c_.groups * stretches * panels, grain_for(rows_ * deep_ / 2),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t r = i % panels * rows_, k = i / panels % stretches * deep_;
                     const std::int64_t g = i / panels / stretches;
                     const int rows = static_cast<int>(std::min(rows_, out - r));
                     const std::int64_t d = std::min(deep_, depth() - k);
                     T* panel = all.data() + g * out * depth() + k * out + r * d;
                     WeightSource<T>(c_, g).pack(panel, o + r, rows, rows, k, d);
                   }
                 });
    return all;
  }

  // Elements of a band, with zeros behind it, and of an item's sums.
  std::int64_t band_size() const {
    const std::int64_t channels = deep_ / c_.taps();
    return round_up((dense_ ? deep_ * pitch_ : channels * plan_.channel_pitch()) + 2 * kMaxTile,
                    16);
  }
  std::int64_t sums_size() const {
    return deep_ == depth() ? kMaxTile : part_ * round_up(width_, gemm_.width);
  }

  // `band`: of band_size() and sums_size().
  void compute(const Item& item, const Packed& packed, T* band) const {
    const std::int64_t points = c_.batch * c_.grid();
    const std::int64_t width = dense_ ? std::min(width_, points - item.block * width_)
                                      : plan_.width(plan_.block(item.block));
    T* const sums = band + band_size();
    std::fill_n(sums - 2 * kMaxTile, 2 * kMaxTile, T{0});
    const BandSink<T> sink = sink_of(item);
    for (std::int64_t k = 0; k < depth(); k += deep_) {
      const std::int64_t d = std::min(deep_, depth() - k);
      fill(item, k, d, width, band);
      const T* a = fresh_ ? nullptr : packed.stretch(k, d);
      multiply({a, band, k, d, k == 0, k + d == depth()}, item, width, sums, sink);
    }
  }

  // Depths [k, k + d): whole channels.
  void fill(const Item& item, std::int64_t k, std::int64_t d, std::int64_t width, T* band) const {
    Image<const T> s = c_.source;
    s.data += item.group * c_.in * s.channel;
    if (dense_) {
      const Patches<T> patches{s.data, s.sample, s.channel, s.row, s.column, c_.y, c_.x};
      kernels_.gather_rows(patches, band, pitch_, k, d, item.block * width_, width);
      // Tiles are whole vectors: what old memory may hold there (denormals) would slow them down.
      const std::int64_t rest = round_up(width, gemm_.width) - width;
      for (std::int64_t i = 0; i < d; ++i) std::fill_n(band + i * pitch_ + width, rest, T{0});
      return;
    }
    s.data += k / c_.taps() * s.channel;
    kernels_.fill_planes(plan_.fill(s, d / c_.taps(), plan_.block(item.block)), band);
  }

  // One stretch of the sum: a register tile for each panel of weights and few vectors of the band.
  // The band's vectors stay in L1 while the weights pass by; where tiles are stored, and where
  // weights are packed on the way, the other way round: rows of the target are written in one go.
  void multiply(const Stretch& s, const Item& item, std::int64_t width, T* sums,
                const BandSink<T>& sink) const {
    const std::int64_t w = gemm_.width;
    const std::int64_t cols = even_pieces(ceil_div(width, w), gemm_.vectors) * w;
    if (s.a && !s.last) {
      for (std::int64_t c = 0; c < width; c += cols)
        for (std::int64_t r = 0; r < item.out; r += rows_)
          tile(s, s.a + r * s.depth, item, r, c, std::min(cols, width - c), sums, sink);
      return;
    }
    const Workspace<T> fresh(s.a ? 0 : rows_ * s.depth);
    const WeightSource<T> weights(c_, item.group);
    for (std::int64_t r = 0; r < item.out; r += rows_) {
      const int rows = static_cast<int>(std::min(rows_, item.out - r));
      const T* a = s.a ? s.a + r * s.depth : fresh.data();
      if (!s.a) weights.pack(fresh.data(), item.first + r, rows, rows, s.begin, s.depth);
      for (std::int64_t c = 0; c < width; c += cols)
        tile(s, a, item, r, c, std::min(cols, width - c), sums, sink);
    }
  }

  // Output channels from r on, `count` entries from c on.
  void tile(const Stretch& s, const T* a, const Item& item, std::int64_t r, std::int64_t c,
            std::int64_t count, T* sums, const BandSink<T>& sink) const {
    const std::int64_t w = gemm_.width, cols = round_up(count, w);
    const std::int64_t rows = std::min(rows_, item.out - r);
    T* const tile = s.first && s.last ? sums : sums + c * item.out + r * cols;
    if (s.last) sink.prefetch(r, rows, column(item) + c, count);
    const auto micro = kernels_.band_micro[(rows - 1) * gemm_.vectors + cols / w - 1];
    const std::int64_t chain = even_pieces(s.depth, c_.chain());
    for (std::int64_t k = 0; k < s.depth; k += chain)
      micro(std::min(chain, s.depth - k), a + k * rows, s.band + c, offsets_.data() + k, tile,
            !s.first || k > 0);
    if (s.last) sink.store(tile, cols, r, rows, column(item) + c, count);
  }

  // Of the block's first entry, as the sink counts them.
  std::int64_t column(const Item& item) const { return dense_ ? item.block * width_ : 0; }

  BandSink<T> sink_of(const Item& item) const {
    const BandBlock whole{0, 0, 0, c_.batch, c_.y.grid, c_.x.grid};
    const std::int64_t channel = item.group * c_.out + item.first;
    if (dense_) return band_sink(c_, whole, channel, c_.x.grid, c_.grid());
    return band_sink(c_, plan_.block(item.block), channel, plan_.pitch(), plan_.sample_pitch());
  }

  const Correlation<T>& c_;
  const ConvKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  BandPlan plan_;
  bool dense_;                           // the band holds patches
  std::int64_t rows_;                    // of a register tile
  std::int64_t deep_;                    // depth of a stretch, whole channels
  Workspace<std::int64_t> offsets_;      // of a stretch's depths in the band
  std::int64_t width_, blocks_, pitch_;  // a block's entries; pitch_ of patches
  std::int64_t block_, part_;            // output channels packed at a time, and of an item
  bool fresh_ = false;                   // weights are packed where they are used
};

}  // namespace

template <class T>
bool prefers_band(const Correlation<T>& c) {
  constexpr std::int64_t kTaps = 400, kReach = 256;
  const auto fits = [](const AxisPlan& a) {
    return (a.taps - 1) * std::abs(a.step) < kReach && a.stride < kReach;
  };
  return c.in > 0 && c.taps() > 0 && c.taps() <= kTaps && fits(c.y) && fits(c.x) && c.batch > 0;
}

template <class T>
void correlate_band(const Correlation<T>& correlation) {
  const Correlation<T> c = flattened(correlation);
  Band<T>(c).run();
}

template bool prefers_band(const Correlation<float>&);
template bool prefers_band(const Correlation<double>&);
template void correlate_band(const Correlation<float>&);
template void correlate_band(const Correlation<double>&);

}  // namespace pyfast
