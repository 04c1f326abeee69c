// Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, CVPR 2016): 16 products for the 36 of a 2 x 2 tile.
//
// Blocks of tiles pass through whole: their input is transformed into L2, multiplied with the
// transformed weights frequency by frequency, and a register tile's 16 results are turned into
// output at once. Sums of 32 products are added up: the error stays about that of a direct sum.
#include <algorithm>

#include "core/parallel.h"
#include "gemm/kernel.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/correlate.h"
#include "ops/conv/weights.h"

namespace pyfast {

namespace {

constexpr std::int64_t kFrequencies = 16;
constexpr std::int64_t kInputBytes = 1 << 20;  // of a block's transform, in L2
constexpr std::int64_t kTiles = 128, kLeastTiles = 32;
constexpr std::int64_t kDepth = 32;  // of a sum
constexpr std::int64_t kItems = 8, kLeastOut = 64;

// The tiles' grid: tile i reads 4 elements from 2 i on.
AxisPlan tile_axis(const AxisPlan& a) {
  AxisPlan t = a;
  t.grid = ceil_div(a.grid, 2);
  t.stride = 2;
  t.taps = 4;
  return t;
}

// The same taps in the order of the elements they read.
AxisPlan ascending(AxisPlan a) {
  if (a.step > 0) return a;
  a.offset += (a.taps - 1) * a.step;
  a.first_tap += (a.taps - 1) * a.tap_step;
  a.step = -a.step;
  a.tap_step = -a.tap_step;
  return a;
}

template <class T>
std::int64_t block_tiles(const Correlation<T>& c) {
  const std::int64_t fit =
      kInputBytes / (kFrequencies * c.in * static_cast<std::int64_t>(sizeof(T)));
  return std::clamp(fit / 32 * 32, kLeastTiles, kTiles);
}

template <class T>
class Winograd {
 public:
  explicit Winograd(const Correlation<T>& c)
      : c_(c),
        kernels_(conv_kernels<T>()),
        gemm_(gemm_kernels<T>()),
        plan_(tile_axis(c.y), tile_axis(c.x), c.batch, block_tiles(c)),
        rows_(even_pieces(c.out, gemm_.rows)),
        panels_(ceil_div(c.out, rows_)) {
    const BandBlock b = plan_.block(0);
    tiles_ = ceil_div(b.samples * b.rows * b.cols, gemm_.width) * gemm_.width;
    pitch_ = (ceil_div(tiles_, 16) | 1) * 16;
    for (std::int64_t i = 0; i < kFrequencies; ++i) taps_[i] = plan_.offset(0, i);
    for (std::int64_t i = 0; i < kDepth; ++i) depths_[i] = i * pitch_;
    const std::int64_t wanted = ceil_div(kItems, plan_.blocks() * c.groups);
    const std::int64_t part = std::max(kLeastOut, ceil_div(c.out, wanted));
    part_panels_ = even_pieces(panels_, std::max<std::int64_t>(1, part / rows_));
  }

  void run() const {
    const std::int64_t size = kFrequencies * c_.in * c_.out;
    const Workspace<T> weights(c_.groups * size);
    transform_weights(weights.data());
    const std::int64_t parts = ceil_div(panels_, part_panels_);
    parallel_for(c_.groups * plan_.blocks() * parts, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t g = i / parts / plan_.blocks(), first = i % parts * part_panels_;
        compute(g, plan_.block(i / parts % plan_.blocks()), first,
                std::min(first + part_panels_, panels_), weights.data() + g * size);
      }
    });
  }

 private:
  // Panel by panel: the 16 frequencies of rows_ output channels and all input channels.
  void transform_weights(T* weights) const {
    parallel_for(c_.groups * panels_, grain_for(rows_ * c_.in * 16),
                 [&](std::int64_t begin, std::int64_t end) {
                   const std::int64_t channels = std::min<std::int64_t>(c_.in, 64);
                   const Workspace<T> panel(rows_ * channels * 9);
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t g = i / panels_, r = i % panels_ * rows_;
                     const int rows = static_cast<int>(std::min(rows_, c_.out - r));
                     T* u = weights + kFrequencies * c_.in * (g * c_.out + r);
                     for (std::int64_t k = 0; k < c_.in; k += channels) {
                       const std::int64_t count = std::min(channels, c_.in - k);
                       WeightSource<T>(c_, g).pack(panel.data(), r, rows, rows, 9 * k, 9 * count);
                       kernels_.winograd_weights(panel.data(), u + k * rows, c_.in * rows, rows,
                                                 count);
                     }
                   }
                 });
  }

  void compute(std::int64_t group, const BandBlock& block, std::int64_t first, std::int64_t last,
               const T* weights) const {
    const Workspace<T> input(kFrequencies * c_.in * pitch_ + kMaxTile);
    transform_input(group, block, input.data());
    const std::int64_t w = gemm_.width, tiles = block.samples * block.rows * block.cols;
    const std::int64_t cols = even_pieces(ceil_div(tiles, w), gemm_.vectors) * w;
    const std::int64_t room = rows_ * tiles_ * 2;
    const Workspace<T> scratch(kFrequencies * kMaxTile + 2 * room);
    T *const upper = scratch.data() + kFrequencies * kMaxTile, *const lower = upper + room;
    for (std::int64_t p = first; p < last; ++p) {
      const int rows = static_cast<int>(std::min(rows_, c_.out - p * rows_));
      const T* u = weights + kFrequencies * c_.in * p * rows_;
      for (std::int64_t t = 0; t < tiles; t += cols) {
        const std::int64_t count = std::min(cols, ceil_div(tiles - t, w) * w);
        multiply(u, input.data() + t, rows, count, scratch.data());
        kernels_.winograd_output(scratch.data(), kMaxTile, rows, static_cast<int>(count),
                                 upper + 2 * t, lower + 2 * t, 2 * tiles_);
      }
      store(group * c_.out + p * rows_, rows, block, upper, lower);
    }
  }

  // All frequencies of one register tile.
  void multiply(const T* u, const T* input, int rows, std::int64_t cols, T* results) const {
    const auto micro = kernels_.band_micro[(rows - 1) * gemm_.vectors + cols / gemm_.width - 1];
    for (std::int64_t f = 0; f < kFrequencies; ++f) {
      const T* a = u + f * c_.in * rows;
      const T* b = input + f * c_.in * pitch_;
      for (std::int64_t k = 0; k < c_.in; k += kDepth)
        micro(std::min(kDepth, c_.in - k), a + k * rows, b + k * pitch_, depths_,
              results + f * kMaxTile, k > 0);
    }
  }

  void transform_input(std::int64_t group, const BandBlock& block, T* input) const {
    constexpr std::int64_t kChannels = 16;
    const std::int64_t run_count = block.samples * block.rows;
    const Workspace<TileRun> runs(run_count);
    for (std::int64_t i = 0; i < run_count; ++i)
      runs[i] = {i / block.rows * plan_.sample_pitch() + i % block.rows * plan_.pitch(),
                 i * block.cols, static_cast<int>(block.cols)};
    const Workspace<T> band(kChannels * plan_.channel_pitch() + 2 * kMaxTile);
    std::fill_n(band.data(), band.size(), T{0});
    Image<const T> s = c_.source;
    s.data += group * c_.in * s.channel;
    for (std::int64_t k = 0; k < c_.in; k += kChannels) {
      const std::int64_t channels = std::min(kChannels, c_.in - k);
      kernels_.fill_planes(plan_.fill(s, channels, block), band.data());
      kernels_.winograd_input({band.data(), plan_.channel_pitch(), channels, taps_, runs.data(),
                               run_count, input + k * pitch_, c_.in * pitch_, pitch_});
      s.data += channels * s.channel;
    }
  }

  // Two rows of the target for each row of tiles.
  void store(std::int64_t channel, int rows, const BandBlock& block, const T* upper,
             const T* lower) const {
    for (std::int64_t i = 0; i < block.samples * block.rows; ++i) {
      const std::int64_t y = 2 * (block.y + i % block.rows), x = 2 * block.x;
      const std::int64_t cols = std::min(2 * block.cols, c_.x.grid - x);
      for (std::int64_t half = 0; half < 2 && y + half < c_.y.grid; ++half) {
        const std::int64_t at =
            c_.target_offset(block.n + i / block.rows, y + half, x) + channel * c_.target.channel;
        gemm::Epilogue<T> e;
        e.c = c_.target.data + at;
        e.row_stride = c_.target.channel;
        e.col_stride = c_.x.target_step * c_.target.column;
        e.row_bias = c_.bias ? c_.bias + channel : nullptr;
        e.activation = c_.activation;
        e.linear = c_.linear ? c_.linear + at : nullptr;
        gemm_.store(e, (half ? lower : upper) + 2 * i * block.cols, 2 * tiles_, 0, rows, 0, cols);
      }
    }
  }

  const Correlation<T>& c_;
  const ConvKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  BandPlan plan_;               // of tiles
  std::int64_t rows_, panels_;  // output channels of a register tile, and how many such
  std::int64_t part_panels_;    // of an item
  std::int64_t tiles_, pitch_;  // of a block, in whole vectors; and between channels
  std::int64_t taps_[kFrequencies], depths_[kDepth];
};

}  // namespace

template <class T>
bool prefers_winograd(const Correlation<T>& c) {
  constexpr std::int64_t kChannels = 32, kWeights = 512 * 512;
  const auto fits = [](const AxisPlan& a) {
    return a.taps == 3 && a.stride == 1 && std::abs(a.step) == 1;
  };
  if (!fits(c.y) || !fits(c.x) || c.in < kChannels || c.out < kChannels) return false;
  // Transforming a weight costs as much as some hundred products.
  const std::int64_t tiles = c.batch * ceil_div(c.y.grid, 2) * ceil_div(c.x.grid, 2);
  return tiles >= 48 && c.groups * c.in * c.out <= kWeights;
}

template <class T>
void correlate_winograd(const Correlation<T>& correlation) {
  Correlation<T> c = correlation;
  c.y = ascending(c.y);
  c.x = ascending(c.x);
  Winograd<T>(c).run();
}

template bool prefers_winograd(const Correlation<float>&);
template bool prefers_winograd(const Correlation<double>&);
template void correlate_winograd(const Correlation<float>&);
template void correlate_winograd(const Correlation<double>&);

}  // namespace pyfast
