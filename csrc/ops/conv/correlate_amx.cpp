// correlate_band on AMX tiles: the band is split into bfloat16 parts once (gemm/amx_kernel.h), and
// every tap reads its tiles from there. A step of the product is one tap of 32 channels.
//
// Of several taps, entries of the band are the left operand: 32 channels side by side, a cache line
// each, so that a tap's shift leaves every row of a tile one line (with entries side by side, rows
// that cross lines cost a third of the speed). Tiles are turned as they are stored. Of one tap,
// nothing is shifted: entries are the columns, as they lie in memory.
#include "core/parallel.h"
#include "gemm/amx.h"
#include "gemm/kernel.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/band_sink.h"
#include "ops/conv/correlate.h"
#include "ops/conv/weights.h"

namespace pyfast {

namespace {

constexpr std::int64_t kTile = 2 * kAmxTile;
// Of a stretch of the sum. At twice the depth the error on inputs behind a ReLU was 1.14 times
// PyTorch's.
constexpr std::int64_t kDepth = 288, kMostChannels = 256, kFmaDepth = 64;
constexpr std::int64_t kBandBytes = 400 << 10;  // of a stretch, in L2 beside a panel
constexpr std::int64_t kSumsBytes = 768 << 10;
// Items that keep several threads busy, if none computes fewer output channels than it takes to pay
// for filling its band.
constexpr std::int64_t kItems = 8, kLeastOut = 128;
constexpr double kMostProducts = 256e6;  // of an item
constexpr std::int64_t kRow = 4;         // tiles that are computed in a row,
constexpr std::int64_t kLeastSteps = 8;  // where a tile's store is not most of its time
constexpr std::int64_t kLeastRow = 20;   // of grid points, under a stride
constexpr int kMostParts = 3;            // at the highest precision
constexpr std::int64_t kLeastUses = 40;  // of a weight, as digits

class AmxBand {
 public:
  explicit AmxBand(const Correlation<float>& c)
      : c_(c),
        parts_(gemm::amx_parts()),
        kept_parts_(c.panels ? kMostParts : parts_),
        turned_(c.taps() > 1),
        taps_in_order_(c.y.tap_step == 1 && c.x.tap_step == 1 && c.tap_offset(0, 0) == 0 &&
                       (c.y.taps == 1 || c.kernel_width == c.x.taps)),
        channels_(stretch_channels(c)),
        plan_(c.y, c.x, c.batch,
              std::clamp<std::int64_t>(kBandBytes / (channels_ * 2 * parts_), 128, 1024)),
        stretches_(ceil_div(c.in, channels_)),
        panels_(ceil_div(c.out, kTile)),
        steps_(channels_ / kAmxDepth * c.taps()),
        panel_(kTile * kAmxDepth * kept_parts_ * steps_),
        in_rows_(stretches_ > 1 || steps_ >= kLeastSteps),
        offsets_(steps_) {
    const std::int64_t group = kAmxDepth / 2 * parts_ * plan_.channel_pitch();
    const std::int64_t entry = turned_ ? kAmxDepth / 2 : 1;
    for (std::int64_t s = 0; s < steps_; ++s)
      offsets_[s] = 4 * (s / c.taps() * group + entry * plan_.offset(0, s % c.taps()));
    cut_output();
  }

  void run() const {
    if (c_.panels) return run(&c_.panels->tiles.get([&] { return pack(); }));
    if (plan_.blocks() == 1) return run(nullptr);
    const TilePanels weights = pack();
    run(&weights);
  }

 private:
  struct Item {
    std::int64_t group;
    BandBlock block;
    std::int64_t first, out;  // output channels of the group
  };

  // `weights`: null where each panel is used by one item only, and split there.
  void run(const TilePanels* weights) const {
    const std::int64_t out_parts = ceil_div(c_.out, part_), blocks = plan_.blocks();
    const std::int64_t cost = std::min(part_, c_.out) * plan_.widest() * c_.in * c_.taps();
    parallel_for(c_.groups * blocks * out_parts, grain_for(cost / 64 + 1),
                 [&](std::int64_t begin, std::int64_t end) {
                   const gemm::AmxTiles tiles;
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t first = i % out_parts * part_;
                     compute({i / out_parts / blocks, plan_.block(i / out_parts % blocks), first,
                              std::min(part_, c_.out - first)},
                             weights);
                   }
                 });
  }

  static std::int64_t stretch_channels(const Correlation<float>& c) {
    const std::int64_t most = std::min(kMostChannels, kDepth / c.taps()) / kAmxDepth;
    return kAmxDepth * even_pieces(ceil_div(c.in, kAmxDepth), most);
  }

  void cut_output() {
    std::int64_t part = c_.out;
    if (stretches_ > 1) part = kSumsBytes / (4 * round_up(plan_.widest(), kTile));
    const double products = static_cast<double>(plan_.widest() * c_.in * c_.taps());
    part = std::min(part, static_cast<std::int64_t>(kMostProducts / products));
    const std::int64_t wanted = ceil_div(kItems, plan_.blocks() * c_.groups);
    part = std::min(part, std::max(kLeastOut, ceil_div(c_.out, wanted)));
    part_ = kTile * even_pieces(panels_, part / kTile);
  }

  // ---- weights

  TilePanels pack() const {
    const std::int64_t stretches = c_.groups * stretches_;
    TilePanels w{Workspace<std::uint16_t>(stretches * panels_ * panel_),
                 Workspace<Magnitudes>(stretches * panels_)};
    parallel_for(stretches * panels_, grain_for(2 * kTile * kAmxDepth * steps_),
                 [&](std::int64_t begin, std::int64_t end) {
                   const Workspace<float> rows(c_.taps() * kTile * kAmxDepth);
                   for (std::int64_t i = begin; i < end; ++i) {
                     w.seen[i] = {};
                     pack_panel(i / panels_ / stretches_, i / panels_ % stretches_,
                                i % panels_ * kTile, rows.data(), w.items.data() + i * panel_,
                                w.seen[i]);
                   }
                 });
    return w;
  }

  int panel_width(std::int64_t row) const { return c_.out - row > kAmxTile ? kTile : kAmxTile; }

  void pack_panel(std::int64_t group, std::int64_t stretch, std::int64_t row, float* rows,
                  std::uint16_t* panel, Magnitudes& seen) const {
    const int width = panel_width(row);
    const std::int64_t count = std::min<std::int64_t>(width, c_.out - row);
    const float* weight = c_.weight + group * c_.weight_group + row * c_.weight_out;
    const std::int64_t end = std::min(c_.in, (stretch + 1) * channels_);
    if (c_.taps() == 1 && std::min(c_.weight_in, c_.weight_out) == 1)
      return split_weights(weight, stretch, static_cast<int>(count), width, panel, seen);
    const auto split = turned_ ? amx::kernels().split_turned : amx::kernels().split_rows;
    for (std::int64_t k = 0; k < channels_ / kAmxDepth; ++k) {
      const std::int64_t i = stretch * channels_ + k * kAmxDepth;
      const std::int64_t depth = std::clamp<std::int64_t>(end - i, 0, kAmxDepth);
      for (std::int64_t r = 0; r < count && depth > 0; ++r)
        gather(weight + r * c_.weight_out + i * c_.weight_in, static_cast<int>(depth),
               rows + r * c_.taps() * kAmxDepth);
      for (std::int64_t t = 0; t < c_.taps(); ++t, panel += width * kAmxDepth * kept_parts_)
        split(panel, rows + t * kAmxDepth, c_.taps() * kAmxDepth,
              depth > 0 ? static_cast<int>(count) : 0, width, kAmxDepth, kept_parts_, seen);
    }
  }

  // Of one tap, channels of the input or of the output side by side: as they lie in memory.
  void split_weights(const float* weight, std::int64_t stretch, int count, int width,
                     std::uint16_t* panel, Magnitudes& seen) const {
    const std::int64_t first = stretch * channels_;
    const std::int64_t depth = std::min(channels_, c_.in - first);
    const bool along = c_.weight_in == 1;
    const auto split = along ? amx::kernels().split_rows : amx::kernels().split_left;
    split(panel, weight + first * c_.weight_in + c_.tap_offset(0, 0),
          along ? c_.weight_out : c_.weight_in, count, width, depth, kept_parts_, seen);
    const std::int64_t item = width * kept_parts_, whole = round_up(depth, kAmxDepth);
    std::fill(panel + whole * item, panel + channels_ * item, std::uint16_t{0});
  }

  // Of one output channel: to[tap * 32 + i], zeros from `depth` on.
  void gather(const float* weight, int depth, float* to) const {
    if (taps_in_order_)
      return gemm_kernels<float>().pack(to, weight, c_.weight_in, 1, depth, kAmxDepth, c_.taps());
    for (std::int64_t ty = 0; ty < c_.y.taps; ++ty)
      for (std::int64_t tx = 0; tx < c_.x.taps; ++tx, to += kAmxDepth)
        for (int i = 0; i < kAmxDepth; ++i)
          to[i] = i < depth ? weight[i * c_.weight_in + c_.tap_offset(ty, tx)] : 0.0f;
  }

  // ---- an item

  void compute(const Item& item, const TilePanels* weights) const {
    const std::int64_t group = kAmxDepth / 2 * parts_ * plan_.channel_pitch();
    const Workspace<std::uint32_t> band(channels_ / kAmxDepth * group + 2 * kTile);
    const std::int64_t cols = ceil_div(plan_.width(item.block), kTile);
    const std::int64_t panels = ceil_div(item.out, kTile);
    const std::int64_t kept = stretches_ > 1 ? panels * cols : in_rows_ ? kRow : 1;
    const Workspace<float> sums(kept * kTile * kTile);
    const Workspace<std::uint16_t> fresh(weights ? 0 : panels * panel_);
    const Workspace<float> rows(weights ? 0 : c_.taps() * kTile * kAmxDepth);
    for (std::int64_t k = 0; k < stretches_; ++k) {
      Magnitudes seen, weights_seen;
      fill(item, k * channels_, band.data(), seen);
      const std::int64_t at = (item.group * stretches_ + k) * panels_ + item.first / kTile;
      for (std::int64_t p = 0; p < panels; ++p)
        if (weights)
          weights_seen = gemm::join(weights_seen, weights->seen[at + p]);
        else
          pack_panel(item.group, k, item.first + p * kTile, rows.data(), fresh.data() + p * panel_,
                     weights_seen);
      if (gemm::amx_fits(weights_seen, seen, channels_ * c_.taps()))
        multiply(item, k, weights ? weights->items.data() + at * panel_ : fresh.data(), band.data(),
                 sums.data());
      else
        multiply_by_fma(item, k, sums.data());
    }
  }

  Image<const float> channels_from(const Item& item, std::int64_t channel) const {
    Image<const float> s = c_.source;
    s.data += (item.group * c_.in + channel) * s.channel;
    return s;
  }

  // The band under the stretch that begins at `channel`.
  void fill(const Item& item, std::int64_t channel, std::uint32_t* band, Magnitudes& seen) const {
    const std::int64_t pitch = plan_.channel_pitch(), end = std::min(c_.in, channel + channels_);
    const bool direct = lies_as_needed();
    const Workspace<float> plain(direct ? 0 : kAmxDepth * pitch);
    for (std::int64_t i = channel; i < channel + channels_; i += kAmxDepth) {
      const std::int64_t count = std::clamp<std::int64_t>(end - i, 0, kAmxDepth);
      const Image<const float> s = channels_from(item, i);
      const BandBlock& b = item.block;
      const float* rows = direct ? s.data + b.n * s.sample + b.x : plain.data();
      if (!direct && count > 0)
        conv_kernels<float>().fill_planes(plan_.fill(s, count, b), plain.data());
      if (turned_)
        amx::kernels().split_left(reinterpret_cast<std::uint16_t*>(band), rows, pitch,
                                  static_cast<int>(pitch), static_cast<int>(pitch), count, parts_,
                                  seen);
      else
        amx::kernels().split_pairs(band, pitch, rows, direct ? s.channel : pitch, count,
                                   kAmxDepth / 2, direct ? plan_.width(b) : pitch, parts_, seen);
      band += kAmxDepth / 2 * parts_ * pitch;
    }
  }
  // A 1 x 1 kernel over one long row (flattened()): the image is the band.
  bool lies_as_needed() const {
    return c_.taps() == 1 && c_.y.grid == 1 && c_.y.offset == 0 && c_.x.offset == 0 &&
           c_.x.stride == 1 && c_.source.column == 1 && c_.x.grid == c_.x.source &&
           (plan_.samples() == 1 || c_.source.sample == plan_.sample_pitch());
  }

  float* slot(float* sums, std::int64_t r, std::int64_t c, std::int64_t cols) const {
    return stretches_ > 1 ? sums + (r / kTile * ceil_div(cols, kTile) + c / kTile) * kTile * kTile
                          : sums;
  }

  // work(r, c, columns of a tile, first tile, tiles) for rows of tiles; what is finished is stored.
  template <class Work>
  void each_tile(const Item& item, std::int64_t stretch, float* sums, Work work) const {
    const auto sink = band_sink(c_, item.block, item.group * c_.out + item.first, plan_.pitch(),
                                plan_.sample_pitch());
    const std::int64_t width = plan_.width(item.block);
    const bool last = stretch + 1 == stretches_;
    const std::int64_t half = width % kTile, narrow = half > 0 && half <= kAmxTile ? 1 : 0;
    const std::int64_t whole = ceil_div(width, kTile) - narrow;
    for (std::int64_t r = 0; r < item.out; r += kTile)
      for (std::int64_t t = 0, count; t < whole + narrow; t += count) {
        count = t < whole && in_rows_ ? std::min(kRow, whole - t) : 1;
        const int wide = t < whole ? kTile : kAmxTile;
        const std::int64_t rows = std::min(kTile, item.out - r), c = t * kTile;
        const std::int64_t cols = std::min(count * kTile, width - c);
        float* tile = slot(sums, r, c, width);
        if (last) sink.prefetch(r, rows, c, cols);
        work(r, c, wide, tile, count);
        for (std::int64_t i = 0; last && i < cols; i += kTile, tile += kTile * kTile) {
          const std::int64_t here = std::min(kTile, cols - i);
          if (turned_)
            sink.store_turned(tile, panel_width(item.first + r), r, static_cast<int>(rows), c + i,
                              here);
          else
            sink.store(tile, wide, r, rows, c + i, here);
        }
      }
  }

  // `panels`: the item's.
  void multiply(const Item& item, std::int64_t stretch, const std::uint16_t* panels,
                const std::uint32_t* band, float* sums) const {
    const std::int64_t row = 4 * plan_.channel_pitch(), part = kAmxDepth / 2 * row;
    AmxOperand entries{band, row, 64, part, 0, offsets_.data()};
    if (turned_) entries.row = 64, entries.tile = 64 * kAmxTile;
    const std::int64_t next = 4 * kTile * (turned_ ? kAmxDepth / 2 : 1);  // in the band
    each_tile(
        item, stretch, sums,
        [&](std::int64_t r, std::int64_t c, int cols, float* tile, std::int64_t count) {
          const int tiles = panel_width(item.first + r) / kAmxTile, across = cols / kAmxTile;
          const auto* panel = panels + r / kTile * panel_;
          const auto weights = AmxOperand::panel(panel, tiles, kept_parts_);
          entries.data = band + c * (turned_ ? kAmxDepth / 2 : 1);
          if (turned_)
            amx::kernels().multiply_row(steps_, entries, across, next, weights, tiles, 0, parts_,
                                        count, tile, kTile * kTile, stretch > 0, nullptr, 0);
          else
            amx::kernels().multiply_row(steps_, weights, tiles, 0, entries, across, next, parts_,
                                        count, tile, kTile * kTile, stretch > 0, nullptr, 0);
        });
  }

  // As correlate_band does, into the same tiles.
  void multiply_by_fma(const Item& item, std::int64_t stretch, float* sums) const {
    const auto& gemm = gemm_kernels<float>();
    const auto& kernels = conv_kernels<float>();
    const std::int64_t channel = stretch * channels_;
    const std::int64_t count = std::min(channels_, c_.in - channel), depth = count * c_.taps();
    const Workspace<float> band(count * plan_.channel_pitch() + 2 * kMaxTile);
    std::fill_n(band.data() + count * plan_.channel_pitch(), 2 * kMaxTile, 0.0f);
    kernels.fill_planes(plan_.fill(channels_from(item, channel), count, item.block), band.data());
    const Workspace<std::int64_t> offsets(depth);
    for (std::int64_t d = 0; d < depth; ++d)
      offsets[d] = plan_.offset(d / c_.taps(), d % c_.taps());
    // Short sums: those of all of the depth had 1.38 times PyTorch's error.
    const std::int64_t piece = even_pieces(depth, kFmaDepth);
    const Workspace<float> panel(gemm.rows * piece), part(gemm.rows * kTile);
    const WeightSource<float> weights(c_, item.group);
    const auto one = [&](std::int64_t r, std::int64_t c, int cols, float* tile) {
      const std::int64_t rows = std::min(kTile, item.out - r);
      for (std::int64_t i = 0; i < rows; i += gemm.rows) {
        const int here = static_cast<int>(std::min<std::int64_t>(gemm.rows, rows - i));
        const auto micro = kernels.band_micro[(here - 1) * gemm.vectors + cols / gemm.width - 1];
        float* to = turned_ ? part.data() : tile + i * cols;
        for (std::int64_t k = 0, n; k < depth; k += n) {
          n = std::min(piece, depth - k);
          weights.pack(panel.data(), item.first + r + i, here, here, channel * c_.taps() + k, n);
          micro(n, panel.data(), band.data() + c, offsets.data() + k, to,
                k > 0 || (!turned_ && stretch > 0));
        }
        const int lanes = panel_width(item.first + r);
        for (int j = 0; turned_ && j < cols * here; ++j) {
          float& sum = tile[j % cols * lanes + i + j / cols];
          sum = to[j] + (stretch > 0 ? sum : 0.0f);
        }
      }
    };
    each_tile(item, stretch, sums,
              [&](std::int64_t r, std::int64_t c, int cols, float* tile, std::int64_t count) {
                for (std::int64_t i = 0; i < count; ++i)
                  one(r, c + i * kTile, cols, tile + i * kTile * kTile);
              });
  }

  const Correlation<float>& c_;
  int parts_;
  int kept_parts_;         // of the weights; the first of three are those of a split into fewer
  bool turned_;            // entries of the band are the rows of the tiles
  bool taps_in_order_;     // in the weights' memory
  std::int64_t channels_;  // of a stretch, whole steps
  BandPlan plan_;
  std::int64_t stretches_, panels_, steps_, panel_;  // panel_: items of a panel in a stretch
  bool in_rows_;                                     // tiles are computed kRow at a time
  Workspace<std::int64_t> offsets_;                  // of a stretch's steps in the band, in bytes
  std::int64_t part_ = 0;                            // output channels of an item
};

}  // namespace

namespace {

// `uses`: of a weight, that pay for preparing it.
bool many_enough(const Correlation<float>& c, std::int64_t uses) {
  return c.out >= 24 && c.batch * c.grid() >= uses && prefers_band(c) && gemm::amx_ready();
}

bool prefers_parts(const Correlation<float>& c) {
  // Short rows taken apart by the stride fill tiles badly, and cost much to fill.
  const bool apart = c.taps() > 1 && (c.y.stride > 1 || c.x.stride > 1) && c.x.grid < kLeastRow;
  const std::int64_t padded = round_up(c.in, kAmxDepth);
  return !apart && c.in >= 24 && 4 * padded <= 6 * c.in && c.taps() <= kDepth / kAmxDepth &&
         many_enough(c, c.taps() == 1 ? 180 : 96);  // few taps make little of the band, too
}

void correlate_parts(const Correlation<float>& c) { AmxBand(c).run(); }

// What digits don't suit.
void correlate_otherwise(const Correlation<float>& c) {
  prefers_parts(c) ? correlate_parts(c) : correlate_vectors(c);
}

}  // namespace

bool prefers_amx(const Correlation<float>& c) {
  return prefers_parts(c) || (prefers_digits(c) && many_enough(c, kLeastUses));
}

void correlate_amx(const Correlation<float>& correlation) {
  const Correlation<float> c = flattened(correlation);
  prefers_digits(c) ? correlate_digits(c, &correlate_otherwise) : correlate_parts(c);
}

}  // namespace pyfast
