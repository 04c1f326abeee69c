// grad_weight[m, c, ky, kx] = sum over n, y, x of maps[n, m, y, x] patches[(c, ky, kx), (n, y, x)]
#include "ops/conv/weight_gradient.h"

#include <algorithm>
#include <type_traits>

#include "core/copy.h"
#include "core/parallel.h"
#include "gemm/gemm.h"
#include "gemm/kernel.h"
#include "ops/conv/band.h"
#include "ops/conv/band_plan.h"

namespace pyfast {

namespace {

// The patches by row: gathered a stretch at a time, then turned.
template <class T>
struct PatchRowSource {
  const ConvKernels<T>& kernels;
  const GemmKernels<T>& turn;
  Patches<T> patches;

  void pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const {
    constexpr std::int64_t kStretch = 4096;
    T stretch[kStretch];
    const std::int64_t most = kStretch / tile / 16 * 16;
    const std::int64_t step = most > 0 ? most : kStretch / tile;
    for (std::int64_t d = 0; d < depth; d += step) {
      const std::int64_t count = std::min(step, depth - d);
      kernels.gather_rows(patches, stretch, step, row, rows, k + d, count);
      turn.pack(panel + d * tile, stretch, step, 1, rows, tile, count);
    }
  }
};

template <class T>
void by_product(const ConvGeometry& g, const Image<const T>& image, const Image<const T>& maps,
                T* result) {
  // Short sums are mostly storing and, on tiles, splitting: FMA takes those.
  constexpr std::int64_t kLeastDepthOfTiles = 256;
  const std::int64_t m = g.maps, n = g.channels * g.taps(), k = g.batch * g.pixels();
  const auto product = k < kLeastDepthOfTiles ? &gemm::fma_gemm<T> : &gemm::gemm<T>;
  // PyTorch's threads share out the samples, and add up their sums; those of more points are longer
  // than the engine's chains.
  constexpr std::int64_t kFewPoints = 384, kLeastChain = 49, kMostChain = 96;
  const bool few = k > kLeastChain && k < kFewPoints;
  const std::int64_t chain =
      few ? even_pieces(k, std::clamp(k / 3, kLeastChain, kMostChain)) : kFewPoints;
  const Workspace<std::int64_t> samples(g.batch);
  for (std::int64_t i = 0; i < g.batch; ++i) samples[i] = i * maps.sample;
  gemm::for_each_product(g.groups, m, n, k, [&](std::int64_t group) {
    const gemm::ChainedSource<T> a(maps.data + group * m * maps.channel, maps.channel, 1,
                                   g.pixels(), samples.data());
    const PatchRowSource<T> b{
        conv_kernels<T>(),
        gemm_kernels<T>(),
        {image.data + group * g.channels * image.channel, image.sample, image.channel, image.row,
         image.column, gather_axis(g.y), gather_axis(g.x)}};
    gemm::Epilogue<T> e;
    e.c = result + group * m * n;
    e.row_stride = n;
    const gemm::MatrixSink<T> c(e);
    product({m, n, k, gemm::source<T>(a), gemm::source<T>(b), gemm::sink<T>(c), chain});
  });
}

// For small groups: every tap a dot product of the map with the shifted plane. The blocks of all
// samples are cut into parts, whose sums in double are added in order.
template <class T>
class Direct {
 public:
  Direct(const ConvGeometry& g, const Image<const T>& image, const Image<const T>& maps)
      : g_(g),
        image_(image),
        maps_(maps),
        layout_(gather_axis(g.y), gather_axis(g.x)),
        offsets_(layout_.offsets()),
        planes_(g.groups * g.channels),
        pieces_(g.batch * layout_.blocks()),
        piece_cost_(layout_.block_size() * (g.maps * g.taps() / 8 + 2)),
        parts_(std::min(pieces_,
                        std::clamp<std::int64_t>(pieces_ * piece_cost_ / kPartCost, 8, kMaxParts))),
        sums_(parts_ * planes_ * g.maps * g.taps()) {}

  void run(T* result) const {
    std::fill_n(sums_.data(), sums_.size(), 0.0);
    const std::int64_t cost = (pieces_ / std::max<std::int64_t>(parts_, 1) + 1) * piece_cost_;
    parallel_for(parts_ * planes_, grain_for(cost), [&](std::int64_t begin, std::int64_t end) {
      const Workspace<T> band(layout_.size());
      for (std::int64_t i = begin; i < end; ++i) add_part(i / planes_, i % planes_, band.data());
    });
    for (std::int64_t i = 0; i < planes_ * g_.maps * g_.taps(); ++i) write(result, i);
  }

 private:
  static constexpr std::int64_t kPartCost = 1 << 24, kMaxParts = 256;

  double* sums(std::int64_t part, std::int64_t plane) const {
    return sums_.data() + (part * planes_ + plane) * g_.maps * g_.taps();
  }

  // All weights that meet channel `plane` of the image, over one part of the pieces.
  void add_part(std::int64_t part, std::int64_t plane, T* band) const {
    const std::int64_t size = (pieces_ + parts_ - 1) / parts_;
    const std::int64_t last = std::min(pieces_, (part + 1) * size);
    for (std::int64_t piece = part * size; piece < last; ++piece) {
      const std::int64_t n = piece / layout_.blocks();
      const GridBlock block = layout_.block(piece % layout_.blocks());
      const T* image = image_.data + n * image_.sample + plane * image_.channel;
      const auto rows = layout_.fill(band, image, image_, block, offsets_.data());
      for (std::int64_t m = 0; m < g_.maps; ++m)
        conv_kernels<T>().direct_weights(
            rows, &maps_.at(n, plane / g_.channels * g_.maps + m, block.y, block.x), maps_.row,
            sums(part, plane) + m * g_.taps());
    }
  }

  // Entry i = (plane, map, tap): the parts' sums, in order.
  void write(T* result, std::int64_t i) const {
    const std::int64_t tap = i % g_.taps(), m = i / g_.taps() % g_.maps;
    const std::int64_t plane = i / g_.taps() / g_.maps;
    double total = 0;
    for (std::int64_t part = 0; part < parts_; ++part)
      total += sums(part, plane)[m * g_.taps() + tap];
    const std::int64_t map = plane / g_.channels * g_.maps + m;
    result[(map * g_.channels + plane % g_.channels) * g_.taps() + tap] = static_cast<T>(total);
  }

  const ConvGeometry& g_;
  const Image<const T>& image_;
  const Image<const T>& maps_;
  BandLayout layout_;
  Workspace<std::int64_t> offsets_;
  std::int64_t planes_, pieces_;  // a piece: one block of one sample
  std::int64_t piece_cost_, parts_;
  Workspace<double> sums_;
};

}  // namespace

template <class T>
void weight_gradient(const ConvGeometry& g, const Image<const T>& image, const Image<const T>& maps,
                     T* result) {
  const bool small = g.maps <= 2 || g.channels * g.taps() <= 40;
  if (small && g.channels > 0 && BandLayout::fits(gather_axis(g.y), gather_axis(g.x)))
    return Direct<T>(g, image, maps).run(result);
  if constexpr (std::is_same_v<T, float>)
    if (amx_weight_gradient(g, image, maps, result)) return;
  if (prefers_lanes<T>(g)) return lanes_weight_gradient(g, image, maps, result);
  by_product(g, image, maps, result);
}

template void weight_gradient(const ConvGeometry&, const Image<const float>&,
                              const Image<const float>&, float*);
template void weight_gradient(const ConvGeometry&, const Image<const double>&,
                              const Image<const double>&, double*);

}  // namespace pyfast
