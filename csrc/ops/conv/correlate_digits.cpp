// correlate_band on AMX tiles in fixed point (band_digits.h): the band is taken apart into digits
// once, and every tap reads its tiles from there. A step of the product is one tap of 64 channels.
//
// Of several taps, entries of the band are the left operand: 64 channels side by side, a cache line
// each, so that a tap's shift leaves every row of a tile one line. They share a scale, since taps
// share entries; tiles are turned as they are stored. Of one tap nothing is shifted: entries are
// the columns, as they lie in memory, each with its own scale.
//
// Blocks of the grid whose numbers lie too far below their scale are left to other ways.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "core/parallel.h"
#include "core/precision.h"
#include "gemm/amx.h"
#include "gemm/kernel.h"
#include "ops/conv/band_digits.h"
#include "ops/conv/band_pixels.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/band_sink.h"
#include "ops/conv/correlate.h"
#include "ops/conv/piece.h"

namespace pyfast {

namespace {

constexpr std::int64_t kTile = kAmxTile, kLine = 64;
// Channels of a stretch of the sum. A panel of weights should stay in L1 beside a tile's entries:
// 64 channels of 3 x 3 are 36 KiB, 256 of one tap 16.
constexpr std::int64_t kDepth = 640, kMostChannels = 256, kMostTaps = 16;
constexpr std::int64_t kBandBytes = 400 << 10;  // of a stretch, in L2 beside a panel
constexpr std::int64_t kSumsBytes = 768 << 10;
// Items that keep several threads busy, if none computes fewer output channels than it takes to pay
// for filling its band.
constexpr std::int64_t kItems = 8, kLeastOut = 128;
constexpr double kMostProducts = 256e6;  // of an item
constexpr std::int64_t kRow = 8;         // tiles that are computed in a row
// Of both operands' spreads multiplied: what the digits leave out stays below half of the error of
// float32 multiply-adds.
constexpr float kMostSpread = 512.0f * 512.0f;

constexpr float kUnfit = std::numeric_limits<float>::infinity();

// Every filter's own scale. A filter of one number is exact where it multiplies; it would be here
// only where the band is.
float filter_spread(const DigitFit& fit) { return fit.lone > 0.9f ? kUnfit : fit.spread; }
// A band most of whose entries have one channel each leaves no sum to hide the weights' rounding.
float band_spread(const DigitFit& fit) {
  return fit.peaks > 0.5f * fit.energy ? kUnfit : fit.spread;
}

class DigitBand {
 public:
  explicit DigitBand(const Correlation<float>& c)
      : c_(c),
        turned_(c.taps() > 1),
        channels_(stretch_channels(c)),
        plan_(c.y, c.x, c.batch,
              std::clamp<std::int64_t>(kBandBytes / (channels_ * kDigits), 128, 1024)),
        stretches_(ceil_div(c.in, channels_)),
        panels_(ceil_div(c.out, kTile)),
        steps_(channels_ / kDigitDepth * c.taps()),
        offsets_(steps_),
        taps_(c.taps()) {
    for (std::int64_t t = 0; t < c.taps(); ++t) taps_[t] = c.tap_offset(t / c.x.taps, t % c.x.taps);
    const std::int64_t group = kDigits * plane_lines() * kLine;
    for (std::int64_t s = 0; s < steps_; ++s)
      offsets_[s] = s / c.taps() * group + kLine * plan_.offset(0, s % c.taps());
    cut_output();
  }

  // What does not fit, block by block, is computed by `otherwise`.
  using Otherwise = void(const Correlation<float>&);
  void run(Otherwise otherwise) const {
    if (c_.panels) return run(&c_.panels->digits.get([&] { return pack(); }), otherwise);
    if (plan_.blocks() == 1) return run(nullptr, otherwise);
    const DigitPanels weights = pack();
    run(&weights, otherwise);
  }

 private:
  struct Item {
    std::int64_t group;
    BandBlock block;
    std::int64_t first, out;  // output channels of the group
  };
  struct Band {
    Workspace<std::int8_t> planes;
    Workspace<float> scales, factors;  // of each entry, or 16 times the band's
    Workspace<float> room;
    const BandPixels* pixels;  // null: rows are copied first
  };

  // `weights`: null where each panel is used by one item only, and packed there.
  void run(const DigitPanels* weights, Otherwise otherwise) const {
    const std::int64_t parts = ceil_div(c_.out, part_), blocks = plan_.blocks();
    const std::int64_t items = c_.groups * blocks * parts;
    const std::int64_t cost = std::min(part_, c_.out) * plan_.widest() * c_.in * c_.taps();
    const Workspace<std::uint8_t> done(items);
    parallel_for(items, grain_for(cost / 64 + 1), [&](std::int64_t begin, std::int64_t end) {
      const gemm::AmxTiles tiles;
      for (std::int64_t i = begin; i < end; ++i) done[i] = compute(item(i, parts), weights);
    });
    // Each item left would prepare the weights anew.
    const std::int64_t left = std::count(done.data(), done.data() + items, 0);
    if (4 * left >= items) return otherwise(c_);
    for (std::int64_t i = 0; i < items; ++i)
      if (!done[i]) otherwise(rest(item(i, parts)));
  }

  Item item(std::int64_t i, std::int64_t parts) const {
    const std::int64_t first = i % parts * part_, block = i / parts;
    return {block / plan_.blocks(), plan_.block(block % plan_.blocks()), first,
            std::min(part_, c_.out - first)};
  }

  Correlation<float> rest(const Item& item) const {
    return piece_of(c_, item.group, item.block, item.first, item.out);
  }

  static std::int64_t stretch_channels(const Correlation<float>& c) {
    const std::int64_t most = std::min(kMostChannels, kDepth / c.taps()) / kDigitDepth;
    return kDigitDepth * even_pieces(ceil_div(c.in, kDigitDepth), most);
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

  std::int64_t panel_bytes() const { return steps_ * kDigitStep; }

  DigitPanels pack() const {
    const std::int64_t stretches = c_.groups * stretches_;
    DigitPanels w{Workspace<std::int8_t>(stretches * panels_ * panel_bytes()),
                  Workspace<float>(stretches * panels_ * kTile),
                  Workspace<float>(stretches * panels_)};
    parallel_for(stretches * panels_, grain_for(2 * kTile * kDigitDepth * steps_),
                 [&](std::int64_t begin, std::int64_t end) {
                   const Workspace<float> rows(room());
                   for (std::int64_t i = begin; i < end; ++i)
                     w.spread[i] = pack_panel(i / panels_ / stretches_, i / panels_ % stretches_,
                                              i % panels_ * kTile, rows.data(),
                                              w.items.data() + i * panel_bytes(),
                                              w.factors.data() + i * kTile);
                 });
    return w;
  }

  // Elements of a channel's kernel, side by side, of which every tap is one.
  std::int64_t kernel_size() const { return std::min(c_.weight_in, c_.weight_out); }
  std::int64_t room() const { return kTile * channels_ * (turned_ ? kernel_size() : 1); }

  // Returns the filters' spread.
  float pack_panel(std::int64_t group, std::int64_t stretch, std::int64_t row, float* room,
                   std::int8_t* panel, float* factors) const {
    const std::int64_t count = std::min<std::int64_t>(kTile, c_.out - row);
    const std::int64_t first = stretch * channels_, depth = std::min(channels_, c_.in - first);
    const float* weight =
        c_.weight + group * c_.weight_group + row * c_.weight_out + first * c_.weight_in;
    const std::int64_t there = ceil_div(depth, kDigitDepth) * c_.taps() * kDigitStep;
    std::fill(panel + there, panel + panel_bytes(), std::int8_t{0});
    DigitFit fit;
    if (turned_)
      amx::digit_kernels().split_filters(panel,
                                         {weight, c_.weight_out, c_.weight_in, depth, count,
                                          kernel_size(), taps_.data(), c_.taps()},
                                         room, factors, fit);
    else
      pack_rows(panel, weight + c_.tap_offset(0, 0), count, depth, room, factors, fit);
    return filter_spread(fit);
  }

  // Of one tap.
  void pack_rows(std::int8_t* panel, const float* weight, std::int64_t count, std::int64_t depth,
                 float* room, float* factors, DigitFit& fit) const {
    const auto& kernels = amx::digit_kernels();
    alignas(64) float scales[kTile];
    if (c_.weight_out == 1) {  // filters side by side
      DigitColumns columns{weight, c_.weight_in, 0, count, count};
      kernels.scale_columns(columns, depth, scales, factors, fit);
      for (std::int64_t d = 0; d < depth; d += kDigitDepth, panel += kDigitStep) {
        kernels.split_left(panel, kDigitStep / kDigits, columns, depth - d, scales, true, nullptr);
        columns.data += kDigitDepth * c_.weight_in;
      }
      return;
    }
    std::int64_t stride = c_.weight_out;
    if (c_.weight_in != 1) {
      for (std::int64_t r = 0; r < count; ++r)
        for (std::int64_t i = 0; i < depth; ++i)
          room[r * depth + i] = weight[r * c_.weight_out + i * c_.weight_in];
      weight = room;
      stride = depth;
    }
    kernels.scale_rows(weight, stride, depth, count, scales, factors, fit);
    kernels.split_rows(panel, weight, stride, depth, count, scales);
  }

  // ---- an item

  // Panels of an item and a stretch, and what is the same for all of them.
  struct Weights {
    const std::int8_t* panels;
    const float* factors;
    float spread = 0;
  };

  // False where the digits do not suit the item; what it has written then means nothing.
  bool compute(const Item& item, const DigitPanels* weights) const {
    const std::int64_t pitch = plan_.channel_pitch(), factors = turned_ ? kTile : pitch + 2 * kTile;
    std::optional<BandPixels> pixels;
    if (turned_) pixels.emplace(plan_.fill(channels_from(item, 0), 1, item.block), pitch);
    const bool direct = pixels && pixels->usable();
    const std::int64_t columns = std::max(pitch, direct ? pixels->count() : 0);
    const Band band{
        Workspace<std::int8_t>(turned_ ? channels_ * kDigits * plane_lines() + 2 * kTile * kLine
                                       : ceil_div(pitch, kTile) * columns_bytes()),
        Workspace<float>(factors), Workspace<float>(factors),
        Workspace<float>(turned_ ? 2 * (columns + 2 * kTile) : 0), direct ? &*pixels : nullptr};
    if (direct) clear(*pixels, band.planes.data());
    const std::int64_t panels = ceil_div(item.out, kTile);
    const std::int64_t tiles = ceil_div(plan_.width(item.block), kTile);
    const Workspace<float> sums((stretches_ > 1 ? panels * tiles : kRow) * kTile * kTile);
    const Workspace<std::int8_t> fresh(weights ? 0 : panels * panel_bytes());
    const Workspace<float> fresh_factors(weights ? 0 : panels * kTile);
    const Workspace<float> rows(weights ? 0 : room());
    for (std::int64_t k = 0; k < stretches_; ++k) {
      const float spread = fill(item, k * channels_, band);
      const std::int64_t at = (item.group * stretches_ + k) * panels_ + item.first / kTile;
      Weights w{fresh.data(), fresh_factors.data()};
      if (weights)
        w = {weights->items.data() + at * panel_bytes(), weights->factors.data() + at * kTile};
      for (std::int64_t p = 0; p < panels; ++p)
        w.spread =
            std::max(w.spread, weights ? weights->spread[at + p]
                                       : pack_panel(item.group, k, item.first + p * kTile,
                                                    rows.data(), fresh.data() + p * panel_bytes(),
                                                    fresh_factors.data() + p * kTile));
      if (!fits(spread, w.spread)) return false;
      multiply(item, k, w, band, sums.data());
    }
    return true;
  }

  static bool fits(float a, float b) {
    return std::isfinite(a) && std::isfinite(b) && a * b <= kMostSpread;
  }

  Image<const float> channels_from(const Item& item, std::int64_t channel) const {
    Image<const float> s = c_.source;
    s.data += (item.group * c_.in + channel) * s.channel;
    return s;
  }

  // The band under the stretch that begins at `channel`; returns its spread.
  float fill(const Item& item, std::int64_t channel, const Band& band) const {
    const std::int64_t pitch = plan_.channel_pitch(), depth = std::min(channels_, c_.in - channel);
    const Image<const float> s = channels_from(item, channel);
    const BandBlock& b = item.block;
    if (lies_as_needed())
      return split_columns({s.data + b.n * s.sample + b.x, s.channel, s.sample,
                            plan_.sample_pitch(), plan_.width(b)},
                           depth, band);
    if (const BandPixels* p = band.pixels)
      return split_entries(depth, band, p->pieces(), [&](std::int64_t i) {
        return Entries{p->columns(s.data + b.n * s.sample, s.channel, i), p->entries(i)};
      });
    const Workspace<float> plain(depth * pitch);
    conv_kernels<float>().fill_planes(plan_.fill(s, depth, b), plain.data());
    const DigitColumns all{plain.data(), pitch, 0, pitch, pitch};
    if (!turned_) return split_columns(all, depth, band);
    return split_entries(depth, band, 1, [&](std::int64_t) { return Entries{all, nullptr}; });
  }

  float split_columns(const DigitColumns& columns, std::int64_t depth, const Band& band) const {
    const auto& kernels = amx::digit_kernels();
    DigitFit fit;
    kernels.scale_columns(columns, depth, band.scales.data(), band.factors.data(), fit);
    const float spread = band_spread(fit);
    if (std::isfinite(spread))
      kernels.split_right(band.planes.data(), columns_bytes(), columns, depth, band.scales.data());
    return spread;
  }

  // Columns, and the entries they go to.
  struct Entries {
    DigitColumns columns;
    const std::int32_t* at;
  };

  template <class Piece>
  float split_entries(std::int64_t depth, const Band& band, std::int64_t pieces,
                      Piece piece) const {
    const auto& kernels = amx::digit_kernels();
    const auto each_group = [&](auto work) {
      for (std::int64_t d = 0; d < depth; d += kDigitDepth)
        for (std::int64_t p = 0; p < pieces; ++p) {
          Entries e = piece(p);
          e.columns.data += d * e.columns.stride;
          work(d, std::min<std::int64_t>(kDigitDepth, depth - d), e);
        }
    };
    std::uint32_t largest = 0;
    float least = kUnfit;
    DigitFit fit;
    each_group([&](std::int64_t, std::int64_t count, const Entries& e) {
      kernels.measure(e.columns, count, band.room.data(), largest, least, fit);
    });
    const float bound = std::bit_cast<float>(largest);
    kernels.scale_columns({&bound, 1, 0, 1, 1}, 1, band.scales.data(), band.factors.data(), fit);
    std::fill_n(band.scales.data(), kTile, band.scales[0]);
    std::fill_n(band.factors.data(), kTile, band.factors[0]);
    // The bound's square over the largest's is what scale_columns has made of it.
    if (largest > 0) fit.spread *= bound * bound / least;
    const float spread = band_spread(fit);
    if (!std::isfinite(spread)) return spread;
    each_group([&](std::int64_t d, std::int64_t count, const Entries& e) {
      kernels.split_left(band.planes.data() + d * kDigits * plane_lines(), plane_lines() * kLine,
                         e.columns, count, band.scales.data(), false, e.at);
    });
    return spread;
  }
  // Of a digit's plane; pixels that no tap meets go to one behind the entries.
  std::int64_t plane_lines() const { return plan_.channel_pitch() + kTile; }

  void clear(const BandPixels& pixels, std::int8_t* planes) const {
    for (std::int64_t p = 0; p < channels_ / kDigitDepth * kDigits;
         ++p, planes += plane_lines() * kLine)
      for (std::int64_t i = 0; i < pixels.empty_count(); ++i)
        std::fill_n(planes + pixels.empty()[i] * kLine, kLine, std::int8_t{0});
  }

  // A 1 x 1 kernel over one long row of each sample (flattened()): the image is the band.
  bool lies_as_needed() const {
    return c_.taps() == 1 && c_.y.grid == 1 && c_.y.offset == 0 && c_.x.offset == 0 &&
           c_.x.stride == 1 && c_.source.column == 1 && c_.x.grid == c_.x.source &&
           (plan_.samples() == 1 || plan_.sample_pitch() >= kTile);
  }
  // Of 16 columns. A line more keeps their panels out of the same sets of the caches.
  std::int64_t columns_bytes() const { return steps_ * kDigitStep + kLine; }

  void multiply(const Item& item, std::int64_t stretch, const Weights& weights, const Band& band,
                float* sums) const {
    const auto sink = band_sink(c_, item.block, item.group * c_.out + item.first, plan_.pitch(),
                                plan_.sample_pitch());
    const std::int64_t width = plan_.width(item.block), tiles = ceil_div(width, kTile);
    const bool last = stretch + 1 == stretches_;
    float* slot = sums;
    for (std::int64_t r = 0; r < item.out; r += kTile)
      for (std::int64_t t = 0, count; t < tiles; t += count) {
        count = std::min(kRow, tiles - t);
        const std::int64_t rows = std::min(kTile, item.out - r), c = t * kTile;
        const std::int64_t cols = std::min(count * kTile, width - c);
        if (last) sink.prefetch(r, rows, c, cols);
        DigitRow now = row(r, t, count, weights, band, slot, stretch > 0);
        if (r + kTile < item.out) {  // the next panel
          const std::int64_t lines = panel_bytes() / kLine, from = lines * t / tiles;
          now.ahead = weights.panels + (r / kTile + 1) * panel_bytes() + from * kLine;
          now.ahead_lines = lines * (t + count) / tiles - from;
        }
        amx::digit_kernels().multiply_row(now);
        if (last && turned_)
          sink.store_turned(slot, kTile, r, static_cast<int>(rows), c, cols);
        else if (last)
          sink.store(slot, count * kTile, r, rows, c, cols);
        if (stretches_ > 1) slot += count * kTile * kTile;
      }
  }

  DigitRow row(std::int64_t r, std::int64_t t, std::int64_t count, const Weights& weights,
               const Band& band, float* tile, bool accumulate) const {
    const std::int64_t plane = plane_lines() * kLine;
    const AmxOperand panel = panel_at(weights.panels + r / kTile * panel_bytes());
    const float* factors = weights.factors + r;
    const std::int8_t* planes = band.planes.data();
    if (turned_)
      return {steps_,
              count,
              {planes + t * kTile * kLine, kLine, 0, plane, 0, offsets_.data()},
              panel,
              kTile * kLine,
              0,
              band.factors.data(),
              factors,
              0,
              tile,
              kTile,
              kTile * kTile,
              accumulate,
              nullptr,
              0};
    return {steps_,
            count,
            panel,
            panel_at(planes + t * columns_bytes()),
            0,
            columns_bytes(),
            factors,
            band.factors.data() + t * kTile,
            kTile,
            tile,
            count * kTile,
            kTile,
            accumulate,
            nullptr,
            0};
  }
  static AmxOperand panel_at(const std::int8_t* data) {
    return {data, kLine, 0, kDigitStep / kDigits, kDigitStep};
  }

  const Correlation<float>& c_;
  bool turned_;            // entries of the band are the rows of the tiles
  std::int64_t channels_;  // of a stretch, whole steps
  BandPlan plan_;
  std::int64_t stretches_, panels_, steps_;
  Workspace<std::int64_t> offsets_;  // of a stretch's steps in the band, in bytes
  Workspace<std::int64_t> taps_;     // each tap's element of a channel's kernel
  std::int64_t part_ = 0;            // output channels of an item
};

}  // namespace

bool prefers_digits(const Correlation<float>& c) {
  // Instructions for the channels, filled up to whole steps, as digits and as bfloat16 parts.
  const bool cheaper = 10 * ceil_div(c.in, kDigitDepth) <= 6 * ceil_div(c.in, kAmxDepth);
  // One tap of few channels is bounded by memory, and the digits' preparation costs more.
  const std::int64_t least = c.taps() == 1 ? kDigitDepth + 1 : kAmxDepth + 1;
  return matmul_precision() == MatmulPrecision::highest && cheaper && c.in >= least &&
         c.taps() <= kMostTaps;
}

void correlate_digits(const Correlation<float>& c, void (*otherwise)(const Correlation<float>&)) {
  DigitBand(c).run(otherwise);
}

}  // namespace pyfast
