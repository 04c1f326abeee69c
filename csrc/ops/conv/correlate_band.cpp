// A matrix product of the weights with the source's patches, of which no patch is formed: blocks of
// the source are copied into a band once, and the tiles read every tap from there.
#include "core/parallel.h"
#include "gemm/gemm.h"
#include "gemm/kernel.h"
#include "gemm/plan.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/correlate.h"
#include "ops/conv/weights.h"

namespace pyfast {

namespace {

constexpr std::int64_t kColumns = 384;          // grid points of a block
constexpr std::int64_t kDepth = 160;            // of a stretch of the sum
constexpr std::int64_t kSumsBytes = 512 << 10;  // of a chunk, in L2 beside the band
constexpr std::int64_t kWeightBytes = 8 << 20;  // packed at a time
constexpr std::int64_t kItems = 16, kLeastOut = 48;

// Tiles of flattened band entries on their way to the target: what lies between the rows of the
// block is left out.
template <class T>
struct BandSink {
  gemm::Epilogue<T> epilogue;  // at the block's first grid point, the item's first channel
  decltype(GemmKernels<T>::store) store_;
  std::int64_t sample, row, column;  // strides of the grid in the target
  std::int64_t pitch, sample_pitch;  // in the band
  BandBlock block;

  void store(const T* tile, std::int64_t ld, std::int64_t first, std::int64_t rows,
             std::int64_t col, std::int64_t cols) const {
    std::int64_t n = col / sample_pitch, y = col % sample_pitch / pitch, x = col % pitch;
    for (std::int64_t at = 0; at < cols && n < block.samples;) {
      const std::int64_t count = std::min(block.cols - x, cols - at);
      if (count > 0 && y < block.rows) {
        gemm::Epilogue<T> e = epilogue;
        const std::int64_t offset = n * sample + y * row + x * column + first * e.row_stride;
        e.c += offset;
        if (e.linear) e.linear += offset;
        if (e.residual) e.residual += offset;
        if (e.row_bias) e.row_bias += first;
        store_(e, tile + at, ld, 0, rows, 0, count);
      }
      at += pitch - x;
      x = 0;
      if (++y * pitch == sample_pitch) y = 0, ++n;
    }
  }
};

template <class T>
class Band {
 public:
  Band(const Correlation<T>& c)
      : c_(c),
        kernels_(conv_kernels<T>()),
        gemm_(gemm_kernels<T>()),
        plan_(c.y, c.x, c.batch, kColumns),
        rows_(even_pieces(c.out, gemm_.rows)),
        depth_channels_(even_pieces(c.in, std::max<std::int64_t>(1, kDepth / c.taps()))),
        offsets_(depth_channels_ * c.taps()) {
    for (std::int64_t i = 0; i < offsets_.size(); ++i)
      offsets_[i] = plan_.offset(i / c.taps(), i % c.taps());
    const std::int64_t item = static_cast<std::int64_t>(sizeof(T)), depth = c.in * c.taps();
    const std::int64_t width = plan_.widest();
    block_ = even_rows(std::max(rows_, kWeightBytes / (depth * item)), c.out);
    std::int64_t part = std::min(kSumsBytes / (width * item),
                                 static_cast<std::int64_t>(gemm::kMaxChunk) / (width * depth));
    const std::int64_t wanted = ceil_div(kItems, plan_.blocks() * c.groups);
    part = std::min(part, std::max(kLeastOut, ceil_div(block_, wanted)));
    part_ = even_rows(std::max(part, rows_), block_);
  }

  void run() const {
    const std::int64_t depth = c_.in * c_.taps();
    const Workspace<T> packed(c_.groups * std::min(block_, c_.out) * depth);
    for (std::int64_t o = 0; o < c_.out; o += block_) {
      const std::int64_t out = std::min(block_, c_.out - o), parts = ceil_div(out, part_);
      pack(o, out, packed.data());
      const std::int64_t items = c_.groups * plan_.blocks() * parts;
      const std::int64_t cost = std::min(part_, out) * plan_.widest() * depth;
      parallel_for(items, grain_for(cost / 32 + 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t at = i % parts * part_, g = i / parts / plan_.blocks();
          const BandBlock block = plan_.block(i / parts % plan_.blocks());
          const Item item{g, block, o + at, std::min(part_, out - at), at};
          compute(item, out, packed.data() + g * out * depth);
        }
      });
    }
  }

 private:
  struct Item {
    std::int64_t group;
    BandBlock block;
    std::int64_t first, out;  // output channels of the group
    std::int64_t at;          // the first one's place among those packed
  };

  std::int64_t even_rows(std::int64_t limit, std::int64_t total) const {
    return rows_ * even_pieces(ceil_div(total, rows_), limit / rows_);
  }
  std::int64_t stretches() const { return ceil_div(c_.in, depth_channels_); }

  // Output channels [o, o + out) of every group, as panels of rows_, all panels of a stretch
  // together.
  void pack(std::int64_t o, std::int64_t out, T* packed) const {
    const std::int64_t panels = ceil_div(out, rows_), depth = c_.in * c_.taps();
    const std::int64_t deep = depth_channels_ * c_.taps();
    parallel_for(c_.groups * stretches() * panels, grain_for(rows_ * deep / 2),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t r = i % panels * rows_, k = i / panels % stretches() * deep;
                     const std::int64_t g = i / panels / stretches();
                     const int rows = static_cast<int>(std::min(rows_, out - r));
                     const std::int64_t d = std::min(deep, depth - k);
                     WeightSource<T>(c_, g).pack(packed + g * out * depth + k * out + r * d, o + r,
                                                 rows, rows, k, d);
                   }
                 });
  }

  // `packed`: the group's weights for `out` channels.
  void compute(const Item& item, std::int64_t out, const T* packed) const {
    const std::int64_t w = gemm_.width, width = ceil_div(plan_.width(item.block), w) * w;
    const std::int64_t tiles = ceil_div(item.out, rows_) * rows_ * width;
    const std::int64_t size = round_up(depth_channels_ * plan_.channel_pitch() + 2 * kMaxTile);
    const Workspace<T> band(size + (stretches() > 1 ? tiles : kMaxTile));
    // Tiles read beyond a block's end; what they make of it is never stored.
    std::fill_n(band.data(), size, T{0});
    const BandSink<T> sink = sink_of(item);
    Image<const T> source = c_.source;
    source.data += item.group * c_.in * source.channel;
    for (std::int64_t i = 0; i < c_.in; i += depth_channels_) {
      const std::int64_t channels = std::min(depth_channels_, c_.in - i);
      kernels_.fill_planes(plan_.fill(source, channels, item.block), band.data());
      const std::int64_t depth = channels * c_.taps();
      const T* a = packed + i * c_.taps() * out + item.at * depth;
      multiply({a, band.data(), band.data() + size, depth, i == 0, i + channels == c_.in}, item,
               width, sink);
      source.data += channels * source.channel;
    }
  }

  struct Stretch {
    const T* a;
    const T* band;
    T* sums;
    std::int64_t depth;
    bool first, last;
  };

  // The band's entries stay in L1 while the weights pass by.
  void multiply(const Stretch& s, const Item& item, std::int64_t width,
                const BandSink<T>& sink) const {
    const std::int64_t w = gemm_.width;
    const std::int64_t cols = even_pieces(width / w, gemm_.vectors) * w;
    T* tile = s.sums;
    for (std::int64_t c = 0; c < width; c += cols) {
      const std::int64_t count = std::min(cols, width - c);
      for (std::int64_t r = 0; r < item.out; r += rows_) {
        const std::int64_t rows = std::min(rows_, item.out - r);
        const auto micro = kernels_.band_micro[(rows - 1) * gemm_.vectors + count / w - 1];
        micro(s.depth, s.a + r * s.depth, s.band + c, offsets_.data(), tile, !s.first);
        if (s.last) sink.store(tile, count, r, rows, c, count);
        if (!s.first || !s.last) tile += rows * count;
      }
    }
  }

  BandSink<T> sink_of(const Item& item) const {
    const std::int64_t channel = item.group * c_.out + item.first;
    const std::int64_t at =
        c_.target_offset(item.block.n, item.block.y, item.block.x) + channel * c_.target.channel;
    gemm::Epilogue<T> e;
    e.c = c_.target.data + at;
    e.row_stride = c_.target.channel;
    e.col_stride = c_.x.target_step * c_.target.column;
    e.row_bias = c_.bias ? c_.bias + channel : nullptr;
    e.activation = c_.activation;
    e.linear = c_.linear ? c_.linear + at : nullptr;
    return {e,
            gemm_.store,
            c_.target.sample,
            c_.y.target_step * c_.target.row,
            e.col_stride,
            plan_.pitch(),
            plan_.sample_pitch(),
            item.block};
  }

  static std::int64_t round_up(std::int64_t n) { return ceil_div(n, 16) * 16; }

  const Correlation<T>& c_;
  const ConvKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  BandPlan plan_;
  std::int64_t rows_;            // of a register tile
  std::int64_t depth_channels_;  // source channels of a stretch
  Workspace<std::int64_t> offsets_;
  std::int64_t block_, part_;  // output channels packed at a time, and of an item
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
