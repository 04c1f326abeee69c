// The gradient of a convolution's weight on AMX tiles. Depth runs over the pixels of a stretch of
// the grid, laid out as a band (band_plan.h): the image's rows, split into bfloat16 parts once,
// serve every tap, as the left operand may begin at any element; the maps' gradient, split once as
// the right operand, has zeros where the band has what lies between rows.
#include <algorithm>
#include <atomic>

#include "core/parallel.h"
#include "gemm/amx.h"
#include "gemm/kernel.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/weight_gradient.h"

namespace pyfast {

namespace {

constexpr std::int64_t kTile = 2 * kAmxTile;
constexpr std::int64_t kPoints = 400;            // of a stretch: no longer sum on the tiles
constexpr std::int64_t kItemBytes = 1536 << 10;  // operands and sums, in L2
constexpr std::int64_t kMostPanels = 24;         // of an item's channels, or maps
constexpr std::int64_t kItems = 8;               // that keep several threads busy
constexpr double kMostProducts = 1e9;            // of an item, before signals are looked for

std::int64_t round_up(std::int64_t n, std::int64_t unit) { return ceil_div(n, unit) * unit; }

// A 1 x 1 kernel over whole planes without gaps sees each as one row.
bool is_flat(const ConvGeometry& g, const Image<const float>& image) {
  const auto whole = [](const ConvAxis& a) {
    return a.kernel == 1 && a.stride == 1 && a.padding == 0 && a.maps == a.image;
  };
  return whole(g.y) && whole(g.x) && image.row == g.x.image * image.column;
}

AxisPlan line(std::int64_t points) { return {points, points, 1, 1, 0, 1, 0, 1, 0, 1}; }

class AmxWeights {
 public:
  AmxWeights(const ConvGeometry& g, const Image<const float>& image, const Image<const float>& maps)
      : g_(g),
        image_(image),
        maps_(maps),
        kernels_(amx::kernels()),
        parts_(gemm::amx_parts()),
        flat_(is_flat(g, image)),
        y_(flat_ ? line(1) : gather_axis(g.y)),
        x_(flat_ ? line(g.pixels()) : gather_axis(g.x)),
        plan_(y_, x_, g.batch, kPoints, false),
        depth_(round_up(plan_.widest(), kAmxDepth)),
        pitch_((ceil_div(plan_.channel_pitch() + kAmxDepth, kAmxDepth) | 1) * kAmxDepth),
        map_pitch_(round_up(std::max(depth_, plan_.samples() * plan_.sample_pitch()), 16)) {
    cut();
  }

  // False where the magnitudes do not suit the tiles; what is written then is of no use.
  bool run(float* result) const {
    const std::int64_t items = g_.groups * c_blocks_ * o_blocks_ * splits_;
    const bool alone = splits_ * rounds_ == 1;  // an item's sums are the result
    const Workspace<float> sums(alone ? 0 : items * block_sums());
    std::atomic<bool> fits{true};
    for (std::int64_t round = 0; round < rounds_ && fits; ++round)
      parallel_for(items, 1, [&](std::int64_t begin, std::int64_t end) {
        const gemm::AmxTiles tiles;
        const Workspace<float> own(alone ? block_sums() : 0);
        for (std::int64_t i = begin; i < end; ++i) {
          float* const to = alone ? own.data() : sums.data() + i * block_sums();
          if (!add(item(i), round, to)) fits = false;
          if (alone) write_block(item(i), to, result);
        }
      });
    if (fits && !alone) write_all(items, sums.data(), result);
    return fits;
  }

 private:
  struct Item {
    std::int64_t group, c, o, split;  // first channel and map, of the group
  };
  Item item(std::int64_t i) const {
    const std::int64_t split = i % splits_, o = i / splits_ % o_blocks_;
    const std::int64_t c = i / splits_ / o_blocks_ % c_blocks_;
    return {i / splits_ / o_blocks_ / c_blocks_, c * block_c_, o * block_o_, split};
  }
  std::int64_t block_sums() const { return block_c_ * block_o_ * g_.taps(); }

  // Channels and maps of an item: operands and sums within L2, and as little as possible split more
  // than once.
  void cut() {
    const std::int64_t c = ceil_div(g_.channels, kTile), o = ceil_div(g_.maps, kTile);
    std::int64_t best = -1;
    for (std::int64_t most_c = 1; most_c <= std::min(c, kMostPanels); ++most_c)
      for (std::int64_t most_o = 1; most_o <= std::min(o, kMostPanels); ++most_o) {
        const std::int64_t cs = even_pieces(c, most_c), os = even_pieces(o, most_o);
        const std::int64_t bytes = 2 * parts_ * kTile * (cs * pitch_ + os * depth_) +
                                   4 * kTile * kTile * cs * os * g_.taps();
        const std::int64_t cost = ceil_div(o, os) * c * pitch_ + ceil_div(c, cs) * o * depth_;
        if (best >= 0 && (bytes > kItemBytes || cost >= best)) continue;
        best = cost;
        block_c_ = cs * kTile, block_o_ = os * kTile;
      }
    c_blocks_ = ceil_div(g_.channels, block_c_), o_blocks_ = ceil_div(g_.maps, block_o_);
    splits_ = std::min(ceil_div(kItems, g_.groups * c_blocks_ * o_blocks_), plan_.blocks());
    const double products =
        static_cast<double>(block_sums() * plan_.blocks() * depth_) / static_cast<double>(splits_);
    const std::int64_t share = ceil_div(plan_.blocks(), splits_);
    rounds_ = std::min(static_cast<std::int64_t>(products / kMostProducts) + 1, share);
  }

  // ---- one item's share of a round

  bool add(const Item& item, std::int64_t round, float* sums) const {
    const std::int64_t share = ceil_div(plan_.blocks(), splits_), step = ceil_div(share, rounds_);
    const std::int64_t first = item.split * share;
    const std::int64_t last = std::min(first + share, plan_.blocks());
    const std::int64_t begin = std::min(first + round * step, last);
    const std::int64_t end = std::min(begin + step, last);
    const std::int64_t channels = std::min(block_c_, g_.channels - item.c);
    const std::int64_t maps = std::min(block_o_, g_.maps - item.o);
    const Workspace<std::uint16_t> left(round_up(channels, kAmxTile) * parts_ * pitch_);
    const Workspace<std::uint16_t> right(round_up(maps, kTile) * parts_ * depth_);
    const Workspace<float> plain(kTile * std::max(plan_.channel_pitch(), map_pitch_));
    if (round == 0 && begin == end) std::fill_n(sums, block_sums(), 0.0f);
    std::fill_n(left.data(), left.size(), std::uint16_t{0});
    for (std::int64_t i = begin; i < end; ++i) {
      const BandBlock block = plan_.block(i);
      Magnitudes image_seen, maps_seen;
      split_image(item, block, channels, plain.data(), left.data(), image_seen);
      split_maps(item, block, maps, plain.data(), right.data(), maps_seen);
      if (!gemm::amx_fits(image_seen, maps_seen, kPoints)) return false;
      multiply(block, channels, maps, left.data(), right.data(), round > 0 || i > begin, sums);
    }
    return true;
  }

  bool lies_flat(const BandBlock& b, std::int64_t column) const {
    return flat_ && b.samples == 1 && column == 1;
  }

  void split_image(const Item& item, const BandBlock& b, std::int64_t channels, float* plain,
                   std::uint16_t* left, Magnitudes& seen) const {
    Image<const float> from = image_;
    from.data += (item.group * g_.channels + item.c) * from.channel;
    const bool direct = lies_flat(b, from.column);
    for (std::int64_t c = 0; c < channels; c += kTile) {
      const std::int64_t count = std::min(kTile, channels - c);
      if (!direct) conv_kernels<float>().fill_planes(plan_.fill(from, count, b), plain);
      for (std::int64_t r = 0; r < count; ++r) {
        const float* row = direct ? from.data + b.n * from.sample + r * from.channel + b.x
                                  : plain + r * plan_.channel_pitch();
        kernels_.split_row(left + (c + r) * pitch_, part_left(channels), row,
                           direct ? b.cols : plan_.channel_pitch(), parts_, seen);
      }
      from.data += kTile * from.channel;
    }
  }
  std::int64_t part_left(std::int64_t channels) const {
    return round_up(channels, kAmxTile) * pitch_;
  }

  void split_maps(const Item& item, const BandBlock& b, std::int64_t maps, float* plain,
                  std::uint16_t* right, Magnitudes& seen) const {
    const std::int64_t depth = plan_.width(b);
    Image<const float> from = maps_;
    from.data += (item.group * g_.maps + item.o) * from.channel;
    const bool direct = lies_flat(b, from.column);
    for (std::int64_t o = 0; o < maps; o += kTile, right += kTile * parts_ * depth_) {
      const std::int64_t count = std::min(kTile, maps - o);
      if (!direct) conv_kernels<float>().fill_planes(maps_fill(from, count, b), plain);
      const float* rows = direct ? from.data + b.n * from.sample + b.x : plain;
      kernels_.split_turned(right, rows, direct ? from.channel : map_pitch_,
                            static_cast<int>(count), map_width(maps - o), depth, parts_, seen);
      from.data += kTile * from.channel;
    }
  }
  // Maps where the band has the pixels of the image, zeros between.
  BandFill<float> maps_fill(const Image<const float>& from, std::int64_t count,
                            const BandBlock& b) const {
    const std::int64_t row = flat_ ? 0 : from.row, pitch = plan_.pitch();
    const std::int64_t rows = b.samples > 1 ? plan_.sample_pitch() / pitch : b.rows;
    return {from.data + b.n * from.sample,
            from.sample,
            from.channel,
            row,
            from.column,
            {b.y, 1, b.y + b.rows, 1, rows},
            {b.x, 1, b.x + b.cols, 1, pitch},
            b.samples,
            count,
            map_pitch_,
            b.samples * rows * pitch,
            plan_.sample_pitch(),
            pitch};
  }

  static int map_width(std::int64_t rest) {
    return static_cast<int>(rest > kAmxTile ? kTile : kAmxTile);
  }

  void multiply(const BandBlock& b, std::int64_t channels, std::int64_t maps,
                const std::uint16_t* left, const std::uint16_t* right, bool accumulate,
                float* sums) const {
    const std::int64_t steps = ceil_div(plan_.width(b), kAmxDepth), row = 2 * pitch_;
    for (std::int64_t c = 0; c < channels; c += kTile)
      for (std::int64_t o = 0; o < maps; o += kTile) {
        const int a_tiles = channels - c > kAmxTile ? 2 : 1;
        const int b_tiles = map_width(maps - o) / kAmxTile;
        const auto y = AmxOperand::panel(right + o * parts_ * depth_, b_tiles, parts_);
        for (std::int64_t t = 0; t < g_.taps(); ++t) {
          const AmxOperand x{left + c * pitch_ + plan_.offset(0, t), row, kAmxTile * row,
                             2 * part_left(channels), 2 * kAmxDepth};
          kernels_.multiply(steps, x, a_tiles, y, b_tiles, parts_, slot(sums, c, t, o), accumulate,
                            nullptr, 0);
        }
      }
  }
  // 32 channels by 32 maps of a tap.
  template <class Float>
  Float* slot(Float* sums, std::int64_t c, std::int64_t t, std::int64_t o) const {
    return sums + ((c / kTile * (block_o_ / kTile) + o / kTile) * g_.taps() + t) * kTile * kTile;
  }

  // ---- the result: 32 maps of an item, the sums of its splits added in order

  void write_all(std::int64_t items, float* sums, float* result) const {
    const std::int64_t panels = block_o_ / kTile;
    parallel_for(items / splits_ * panels, grain_for(kTile * block_c_ * g_.taps()),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i)
                     write(item(i / panels * splits_), i % panels * kTile,
                           sums + i / panels * splits_ * block_sums(), result);
                 });
  }
  void write_block(const Item& item, float* sums, float* result) const {
    for (std::int64_t o = 0; o < block_o_; o += kTile) write(item, o, sums, result);
  }

  void write(const Item& item, std::int64_t o, float* sums, float* result) const {
    const auto& gemm = gemm_kernels<float>();
    const std::int64_t maps = std::min(block_o_, g_.maps - item.o);
    const std::int64_t channels = std::min(block_c_, g_.channels - item.c);
    const std::int64_t width = map_width(maps - o);
    const Workspace<float> total(g_.taps() * kTile * kTile);
    for (std::int64_t c = 0; c < channels && o < maps; c += kTile) {
      const std::int64_t rows = std::min(kTile, channels - c);  // turned: total[tap][map][channel]
      for (std::int64_t t = 0; t < g_.taps(); ++t) {
        float* const whole = slot(sums, c, t, o);
        for (std::int64_t s = 1; s < splits_; ++s)
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
  const Image<const float>& image_;
  const Image<const float>& maps_;
  const AmxKernels& kernels_;
  int parts_;
  bool flat_;
  AxisPlan y_, x_;
  BandPlan plan_;
  std::int64_t depth_;      // of a stretch at most, whole steps
  std::int64_t pitch_;      // between the rows of the image's parts: an odd number of cache lines
  std::int64_t map_pitch_;  // between the maps of a stretch
  std::int64_t block_c_ = 0, block_o_ = 0, c_blocks_ = 0, o_blocks_ = 0;
  std::int64_t splits_ = 0, rounds_ = 0;  // of the stretches: side by side, one after the other
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
  const std::int64_t deep = g.y.stride * g.x.stride == 1 ? 8 : 32;
  const bool pays = least >= kLeast && fills(g.channels) && fills(g.maps) &&
                    least * g.taps() >= kUses && g.batch * g.pixels() >= deep * most;
  if (!pays || g.taps() > kTaps || !fits(g.y) || !fits(g.x) || !gemm::amx_ready()) return false;
  return AmxWeights(g, image, maps).run(result);
}

}  // namespace pyfast
