// The gradient of a convolution's weight on AMX tiles. Depth runs over the pixels of a stretch of
// the grid, laid out as a band (band_plan.h): the image's rows, split once, serve every tap, as the
// left operand may begin at any element; the maps' gradient, split once as the right operand, has
// zeros where the band has what lies between rows.
//
// At the highest precision both are split into digits (gemm/amx_digits.h), each channel and each
// map of a stretch in units of its own. A stretch that digits would not suit, and any at less than
// the highest precision, is split into bfloat16 parts.
#include <algorithm>
#include <atomic>

#include "core/parallel.h"
#include "gemm/amx.h"
#include "gemm/kernel.h"
#include "ops/conv/weight_cut.h"
#include "ops/conv/weight_gradient.h"
#include "ops/conv/weight_rows.h"

namespace pyfast {

namespace {

constexpr std::int64_t kTile = WeightRows::kRows;
// Of a stretch: no longer sum of parts on the tiles. Sums of digits are exact, but 16 columns of
// maps should lie in L1 beside the rows of 16 channels.
constexpr std::int64_t kPoints = 400, kDigitPoints = 512;
// What digits are held against (amx_digit_products): PyTorch's sums run over all the points of a
// thread, save those of 1 x 1 kernels.
constexpr std::int64_t kLongestSum = 1024, kLongestOfOneTap = 192;
constexpr std::int64_t kMostPanels = 24;  // of an item's channels, or maps
constexpr double kMostProducts = 1e9;     // of an item, before signals are looked for

class AmxWeights {
 public:
  AmxWeights(const ConvGeometry& g, const Image<const float>& image, const Image<const float>& maps)
      : g_(g),
        kernels_(amx::kernels()),
        parts_(gemm::amx_parts()),
        digits_(parts_ == kMostParts),
        rows_(g, image, maps, digits_ ? kDigitPoints : kPoints,
              digits_ ? kAmxDigitDepth : kAmxDepth),
        plan_(rows_.plan()),
        depth_(round_up(plan_.widest(), digits_ ? kAmxDigitDepth : kAmxDepth)),
        pitch_(pitch_of(kAmxDepth)),
        digit_pitch_(pitch_of(kAmxDigitDepth)),
        summed_(std::min(ceil_div(g.batch * g.pixels(), 2),
                         g.taps() > 1 ? kLongestSum : kLongestOfOneTap)),
        cut_(cut()) {}

  // False where the magnitudes do not suit the tiles; what is written then is of no use.
  bool run(float* result) const {
    const std::int64_t items = cut_.items();
    const bool alone = cut_.splits() * cut_.rounds() == 1;  // an item's sums are the result
    const Workspace<float> sums(alone ? 0 : items * block_sums());
    std::atomic<bool> fits{true};
    for (std::int64_t round = 0; round < cut_.rounds() && fits; ++round)
      parallel_for(items, 1, [&](std::int64_t begin, std::int64_t end) {
        const gemm::AmxTiles tiles;
        const Workspace<float> own(alone ? block_sums() : 0);
        for (std::int64_t i = begin; i < end; ++i) {
          float* const to = alone ? own.data() : sums.data() + i * block_sums();
          if (!add(cut_.item(i), round, to)) fits = false;
          if (alone) write_block(cut_.item(i), to, result);
        }
      });
    if (fits && !alone) write_all(items, sums.data(), result);
    return fits;
  }

 private:
  static constexpr int kMostParts = 3;  // at the highest precision

  using Item = WeightCut::Item;
  std::int64_t block_sums() const { return cut_.block_sums(); }

  // Between the rows of the image's parts: an odd number of cache lines of so many elements.
  std::int64_t pitch_of(std::int64_t line) const {
    return (ceil_div(plan_.channel_pitch() + line, line) | 1) * line;
  }

  // As little as possible is split more than once.
  WeightCut cut() const {
    const std::int64_t c = ceil_div(g_.channels, kTile), o = ceil_div(g_.maps, kTile);
    const std::int64_t bytes_c = digits_ ? kAmxDigits * digit_pitch_ : 2 * parts_ * pitch_;
    const std::int64_t bytes_o = digits_ ? kAmxDigits * depth_ : 2 * parts_ * depth_;
    WeightCut cut(g_, c, o, kMostPanels, [&](std::int64_t cs, std::int64_t os) {
      return WeightCut::Block{
          cs * kTile, os * kTile,
          kTile * (cs * bytes_c + os * bytes_o) + 4 * kTile * kTile * cs * os * g_.taps(),
          ceil_div(o, os) * c * pitch_ + ceil_div(c, cs) * o * depth_};
    });
    cut.share(plan_.blocks(), depth_, kMostProducts);
    return cut;
  }

  // ---- one item's share of a round

  // What a thread needs for it.
  struct Operands {
    std::int64_t c, o, channels, maps;  // first of all, and how many
    Workspace<float> plain;
    Workspace<std::uint16_t> left, right;  // parts, or digits
    Workspace<float> left_units, right_units;
    Workspace<AmxShifted> lefts;  // every tap of every 16 channels
    std::int8_t* left_digits() const { return reinterpret_cast<std::int8_t*>(left.data()); }
    std::int8_t* right_digits() const { return reinterpret_cast<std::int8_t*>(right.data()); }
  };
  Operands operands(const Item& item) const {
    const std::int64_t channels = cut_.channels(item);
    const std::int64_t maps = cut_.maps(item);
    return {item.group * g_.channels + item.c,
            item.group * g_.maps + item.o,
            channels,
            maps,
            Workspace<float>(rows_.scratch()),
            Workspace<std::uint16_t>(
                round_up(channels, kAmxTile) *
                std::max(parts_ * pitch_, digits_ ? kAmxDigits * digit_pitch_ / 2 : 0)),
            Workspace<std::uint16_t>(round_up(maps, kTile) * parts_ * depth_),
            Workspace<float>(round_up(channels, kTile)),
            Workspace<float>(round_up(maps, kTile)),
            Workspace<AmxShifted>(ceil_div(channels, kAmxTile) * g_.taps())};
  }

  bool add(const Item& item, std::int64_t round, float* sums) const {
    const auto [begin, end] = cut_.stretches(item, round);
    const Operands x = operands(item);
    if (round == 0 && begin == end) std::fill_n(sums, block_sums(), 0.0f);
    for (std::int64_t i = begin; i < end; ++i) {
      const bool accumulate = round > 0 || i > begin;
      if (!(digits_ && add_digits(plan_.block(i), x, accumulate, sums)) &&
          !add_parts(plan_.block(i), x, accumulate, sums))
        return false;
    }
    return true;
  }

  // ---- in digits

  // False, and nothing written, where these would lose precision.
  bool add_digits(const BandBlock& b, const Operands& x, bool accumulate, float* sums) const {
    const std::int64_t steps = ceil_div(plan_.width(b), kAmxDigitDepth);
    DigitSpread image_seen, maps_seen;
    split_image(b, x, image_seen);
    split_maps(b, x, maps_seen);
    const int products = gemm::amx_digit_products(image_seen, maps_seen, plan_.width(b), summed_);
    if (products == 0) return false;
    for (std::int64_t o = 0; o < x.maps; o += kAmxTile) {
      AmxShifted* left = x.lefts.data();
      for (std::int64_t c = 0; c < x.channels; c += kAmxTile)
        for (std::int64_t t = 0; t < g_.taps(); ++t)
          *left++ = {x.left_digits() + c * digit_pitch_ + plan_.offset(0, t),
                     x.left_units.data() + c, tile(sums, c, t, o, x.maps)};
      kernels_.multiply_shifted(steps, x.lefts.data(), left - x.lefts.data(), digit_pitch_,
                                left_digit(x), x.right_digits() + o * kAmxDigits * depth_,
                                x.right_units.data() + o, products,
                                map_width(x.maps - o / kTile * kTile), accumulate);
    }
    return true;
  }
  std::int64_t left_digit(const Operands& x) const {
    return round_up(x.channels, kAmxTile) * digit_pitch_;
  }
  void split_image(const BandBlock& b, const Operands& x, DigitSpread& seen) const {
    std::int64_t length = 1;
    rows_.each_image(b, x.c, x.channels, x.plain.data(),
                     [&](std::int64_t c, std::int64_t count, const float* rows, std::int64_t stride,
                         std::int64_t n) {
                       float* const units = x.left_units.data() + c;
                       kernels_.look_along(units, rows, stride, static_cast<int>(count), n, seen);
                       for (std::int64_t r = 0; r < count; ++r)
                         kernels_.digits_row(x.left_digits() + (c + r) * digit_pitch_,
                                             left_digit(x), rows + r * stride, n, units[r]);
                       length = n;
                     });
    // Rows are as long as all phases of a stride; the product is not.
    const std::int64_t width = plan_.width(b);
    seen.filled = seen.filled * width / length;
    seen.least = seen.least < length ? seen.least * width / length : seen.least;
  }
  void split_maps(const BandBlock& b, const Operands& x, DigitSpread& seen) const {
    rows_.each_maps(b, x.o, x.maps, x.plain.data(),
                    [&](std::int64_t o, std::int64_t count, const float* rows, std::int64_t stride,
                        std::int64_t n) {
                      float* const units = x.right_units.data() + o;
                      kernels_.look_along(units, rows, stride, static_cast<int>(count), n, seen);
                      for (std::int64_t r = 0; r < count; r += kAmxTile)
                        kernels_.digits_turned(x.right_digits() + (o + r) * kAmxDigits * depth_,
                                               rows + r * stride, stride,
                                               static_cast<int>(count - r), n, units + r);
                    });
  }

  // ---- in parts

  // False where the magnitudes do not suit the tiles.
  bool add_parts(const BandBlock& b, const Operands& x, bool accumulate, float* sums) const {
    const std::int64_t part = round_up(x.channels, kAmxTile) * pitch_;
    Magnitudes image_seen, maps_seen;
    std::fill_n(x.left.data(), x.left.size(), std::uint16_t{0});  // digits may have been there
    rows_.each_image(b, x.c, x.channels, x.plain.data(),
                     [&](std::int64_t c, std::int64_t count, const float* rows, std::int64_t stride,
                         std::int64_t n) {
                       for (std::int64_t r = 0; r < count; ++r)
                         kernels_.split_row(x.left.data() + (c + r) * pitch_, part,
                                            rows + r * stride, n, parts_, image_seen);
                     });
    rows_.each_maps(b, x.o, x.maps, x.plain.data(),
                    [&](std::int64_t o, std::int64_t count, const float* rows, std::int64_t stride,
                        std::int64_t n) {
                      kernels_.split_turned(x.right.data() + o * parts_ * depth_, rows, stride,
                                            static_cast<int>(count), map_width(x.maps - o), n,
                                            parts_, maps_seen);
                    });
    if (!gemm::amx_fits(image_seen, maps_seen, plan_.width(b))) return false;
    multiply_parts(b, x, part, accumulate, sums);
    return true;
  }

  void multiply_parts(const BandBlock& b, const Operands& x, std::int64_t part, bool accumulate,
                      float* sums) const {
    const std::int64_t all = ceil_div(plan_.width(b), kAmxDepth), row = 2 * pitch_;
    const std::int64_t steps = even_pieces(all, kPoints / kAmxDepth);
    for (std::int64_t c = 0; c < x.channels; c += kTile)
      for (std::int64_t o = 0; o < x.maps; o += kTile) {
        const int a_tiles = x.channels - c > kAmxTile ? 2 : 1;
        const int b_tiles = map_width(x.maps - o) / kAmxTile;
        auto y = AmxOperand::panel(x.right.data() + o * parts_ * depth_, b_tiles, parts_);
        for (std::int64_t s = 0; s < all; s += steps) {
          for (std::int64_t t = 0; t < g_.taps(); ++t) {
            const AmxOperand from{x.left.data() + c * pitch_ + plan_.offset(0, t) + s * kAmxDepth,
                                  row, kAmxTile * row, 2 * part, 2 * kAmxDepth};
            kernels_.multiply(std::min(steps, all - s), from, a_tiles, y, b_tiles, parts_,
                              slot(sums, c, t, o), accumulate || s > 0, nullptr, 0);
          }
          y.data = static_cast<const char*>(y.data) + steps * y.step;
        }
      }
  }

  // ---- the sums

  static int map_width(std::int64_t rest) {
    return static_cast<int>(rest > kAmxTile ? kTile : kAmxTile);
  }
  // 32 channels by 32 maps of a tap,
  template <class Float>
  Float* slot(Float* sums, std::int64_t c, std::int64_t t, std::int64_t o) const {
    return sums +
           ((c / kTile * (cut_.block_o() / kTile) + o / kTile) * g_.taps() + t) * kTile * kTile;
  }
  // of which this is the place of 16 by 16.
  float* tile(float* sums, std::int64_t c, std::int64_t t, std::int64_t o,
              std::int64_t maps) const {
    const std::int64_t ld = map_width(maps - o / kTile * kTile);
    return slot(sums, c, t, o) + c % kTile * ld + o % kTile;
  }

  // ---- the result: 32 maps of an item, the sums of its splits added in order

  void write_all(std::int64_t items, float* sums, float* result) const {
    const std::int64_t panels = cut_.block_o() / kTile;
    parallel_for(items / cut_.splits() * panels, grain_for(kTile * cut_.block_c() * g_.taps()),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i)
                     write(cut_.item(i / panels * cut_.splits()), i % panels * kTile,
                           sums + i / panels * cut_.splits() * block_sums(), result);
                 });
  }
  void write_block(const Item& item, float* sums, float* result) const {
    for (std::int64_t o = 0; o < cut_.block_o(); o += kTile) write(item, o, sums, result);
  }

  void write(const Item& item, std::int64_t o, float* sums, float* result) const {
    const auto& gemm = gemm_kernels<float>();
    const std::int64_t maps = cut_.maps(item);
    const std::int64_t channels = cut_.channels(item);
    const std::int64_t width = map_width(maps - o);
    const Workspace<float> total(g_.taps() * kTile * kTile);
    for (std::int64_t c = 0; c < channels && o < maps; c += kTile) {
      const std::int64_t rows = std::min(kTile, channels - c);  // turned: total[tap][map][channel]
      for (std::int64_t t = 0; t < g_.taps(); ++t) {
        float* const whole = slot(sums, c, t, o);
        for (std::int64_t s = 1; s < cut_.splits(); ++s)
          gemm.add(whole, slot(sums + s * block_sums(), c, t, o), rows * width);
        gemm.pack(total.data() + t * kTile * kTile, whole, width, 1, static_cast<int>(rows), kTile,
                  width);
      }
      for (std::int64_t m = 0; m < std::min(kTile, maps - o); ++m) {
        const std::int64_t map = item.group * g_.maps + item.o + o + m;
        join_taps(total.data() + m * kTile, rows,
                  result + (map * g_.channels + item.c + c) * g_.taps());
      }
    }
  }
  void join_taps(const float* from, std::int64_t channels, float* out) const {
    if (g_.taps() == 1) return static_cast<void>(std::copy_n(from, channels, out));
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t t = 0; t < g_.taps(); ++t) *out++ = from[t * kTile * kTile + c];
  }

  const ConvGeometry& g_;
  const AmxKernels& kernels_;
  int parts_;
  bool digits_;
  WeightRows rows_;
  const BandPlan& plan_;
  std::int64_t depth_;                // of a stretch at most, whole steps
  std::int64_t pitch_, digit_pitch_;  // between the rows of the image's parts, or digits
  std::int64_t summed_;
  WeightCut cut_;
};

}  // namespace

bool amx_weight_gradient(const ConvGeometry& g, const Image<const float>& image,
                         const Image<const float>& maps, float* result) {
  constexpr std::int64_t kTaps = 64, kReach = 64, kLeast = 16, kUses = 64;
  const auto fits = [](const ConvAxis& a) {
    return (a.kernel - 1) * a.dilation < kReach && a.stride < kReach;
  };
  const auto fills = [](std::int64_t n) { return 2 * round_up(n, kAmxTile) <= 3 * n; };
  const std::int64_t least = std::min(g.channels, g.maps), most = std::max(g.channels, g.maps);
  // Over fewer points, sums in memory and what is split again for every block of channels cost
  // more than the gemm engine's packing of every tap; strides make bands wider and rows shorter.
  const std::int64_t deep = g.y.stride * g.x.stride == 1 ? 2 : 4;
  const bool pays = least >= kLeast && fills(g.channels) && fills(g.maps) &&
                    least * g.taps() >= kUses && g.batch * g.pixels() >= deep * most;
  if (!pays || g.taps() > kTaps || !fits(g.y) || !fits(g.x) || !gemm::amx_ready()) return false;
  return AmxWeights(g, image, maps).run(result);
}

}  // namespace pyfast
