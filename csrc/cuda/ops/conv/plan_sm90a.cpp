#include "cuda/ops/conv/plan_sm90a.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>

#include "cuda/ops/conv/weight_plan_sm90a.h"

namespace pyfast::cuda {

namespace {

constexpr std::int64_t kMostPixels = INT32_MAX - 1024;
constexpr std::int64_t kMostParts = 16;  // launches, of which each has its share of the result
constexpr std::int64_t kLongestTap = 255, kMostOfAnAxis = 1 << 30;

struct Extents {
  std::int64_t n, c, y, x;
};

// 16 bytes at a time: steps that are taken are whole multiples.
bool steps_fit(const ConvStrides& s, const Extents& size) {
  const auto fits = [](std::int64_t n, std::int64_t step) {
    return n == 1 || (step > 0 && step % 8 == 0);
  };
  return s.c == 1 && size.c % 8 == 0 && fits(size.n, s.n) && fits(size.y, s.y) && fits(size.x, s.x);
}

bool aligned(const TensorView& x) { return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0; }

std::uint64_t step_bytes(std::int64_t size, std::int64_t step) {
  return size == 1 ? 16 : static_cast<std::uint64_t>(step) * 2;
}

// Which pixels of an axis a part of the result has.
struct PartAxis {
  CorrelationAxis walk;
  std::int64_t first = 0, step = 1;  // places in the result
};

bool fits(const ConvAxis& a) {
  return std::max(a.image, a.maps) < kMostOfAnAxis && std::abs(a.padding) < kMostOfAnAxis &&
         (a.kernel - 1) * a.dilation <= kLongestTap && a.stride <= 8;
}

PartAxis of_maps(const ConvAxis& a) {
  PartAxis part;
  part.walk = {static_cast<int>(a.maps),
               static_cast<int>(-a.padding),
               static_cast<int>(a.stride),
               static_cast<int>(a.kernel),
               static_cast<int>(a.dilation),
               0,
               1};
  return part;
}

// Pixels of the image whose place in a stride is the same see the same taps; the maps that they see
// through them are neighbours, as in a convolution without a stride. Taps come from the last to the
// first: then they are read one behind the other.
PartAxis of_image(const ConvAxis& a, std::int64_t residue) {
  PartAxis part;
  part.step = a.stride;
  part.first = ((residue - a.padding) % a.stride + a.stride) % a.stride;
  CorrelationAxis& walk = part.walk;
  walk.size =
      static_cast<int>(a.image <= part.first ? 0 : (a.image - 1 - part.first) / a.stride + 1);
  std::int64_t tap = 0;
  while (tap < a.kernel && tap * a.dilation % a.stride != residue) ++tap;
  const bool seen = tap < a.kernel;
  const std::int64_t common = std::gcd(a.stride, a.dilation), every = a.stride / common;
  const std::int64_t last = seen ? (a.kernel - 1 - tap) / every : -1;
  walk.taps = static_cast<int>(last + 1);
  if (!seen) return part;
  walk.tap_step = static_cast<int>(a.dilation / common);
  walk.corner = static_cast<int>((part.first + a.padding - tap * a.dilation) / a.stride -
                                 last * walk.tap_step);
  walk.weight = static_cast<int>(tap + last * every);
  walk.weight_step = static_cast<int>(-every);
  return part;
}

// The whole walk lies before the end: where TMA goes on in the next row.
int walk_end(const CorrelationAxis& walk, std::int64_t extent) {
  return walk.corner + (walk.size - 1) * walk.step + 1 - static_cast<int>(extent);
}

TensorPixels pixels_of(const TensorView& x, const ConvStrides& s, const Extents& size,
                       const PartAxis& y_part, const PartAxis& x_part) {
  TensorPixels to;
  to.data = x.data;
  to.dtype = x.dtype;
  const std::int64_t sizes[] = {size.c, size.x, size.y, size.n}, strides[] = {1, s.x, s.y, s.n};
  for (int i = 0; i < TensorPixels::kRank; ++i) {
    to.size[i] = static_cast<std::uint64_t>(sizes[i]);
    if (i > 0) to.stride[i] = step_bytes(sizes[i], strides[i]);
  }
  const CorrelationAxis walks[] = {x_part.walk, y_part.walk};
  for (int i = 0; i < 2; ++i) {
    if (walks[i].taps == 0) continue;  // nothing is read
    to.corner[i] = walks[i].corner;
    to.step[i] = walks[i].step;
    to.end[i] = walk_end(walks[i], sizes[i + 1]);
  }
  return to;
}

TensorBoxes boxes_of(const ConvIndices& n, const TensorView& weight) {
  TensorBoxes to;
  to.data = weight.data;
  to.dtype = weight.dtype;
  const std::int64_t sizes[] = {n.channels, n.maps, n.x.kernel, n.y.kernel};
  const std::int64_t strides[] = {1, n.weight.n, n.weight.x, n.weight.y};
  for (int i = 0; i < 4; ++i) {
    to.size[i] = static_cast<std::uint64_t>(sizes[i]);
    if (i > 0) to.stride[i] = step_bytes(sizes[i], strides[i]);
  }
  return to;
}

// The tile whose rounds take the least time.
ConvTile best_tile(const Correlation& shape, int processors) {
  if (shape.columns <= 64) return ConvTile::tall_64;
  ConvTile best = ConvTile::flat_128;
  std::int64_t least = INT64_MAX;
  for (const ConvTile tile : {ConvTile::flat_256, ConvTile::tall_128, ConvTile::flat_128})
    visit_conv_tile(tile, [&]<class Tile>() {
      const std::int64_t rows = (shape.pixels + Tile::kRows - 1) / Tile::kRows;
      const std::int64_t columns = (shape.columns + Tile::kColumns - 1) / Tile::kColumns;
      const std::int64_t cost = (rows * columns + processors - 1) / processors * tile_cost<Tile>();
      if (cost < least) best = tile, least = cost;
    });
  return best;
}

}  // namespace

bool reads_weight(const ConvIndices& n, const TensorView& weight) {
  return aligned(weight) && steps_fit(n.weight, {n.maps, n.channels, n.y.kernel, n.x.kernel});
}

ConvStrides packed_strides(const ConvIndices& n) {
  ConvStrides s = n.weight;
  s.c = 1;
  s.n = n.channels;
  s.x = n.maps * n.channels;
  s.y = n.x.kernel * s.x;
  return s;
}

void cut_into(ConvTile tile, bool of_image, int processors,
              HopperCorrelation<TensorPixels, TensorBoxes>& part) {
  part.tile = tile;
  visit_conv_tile(tile, [&]<class Tile>() {
    Correlation& shape = part.shape;
    shape.column_tiles = (shape.columns + Tile::kColumns - 1) / Tile::kColumns;
    const std::int64_t tiles =
        std::int64_t{(shape.pixels + Tile::kRows - 1) / Tile::kRows} * shape.column_tiles;
    shape.tiles = tiles > kMostPixels ? 0 : static_cast<int>(tiles);
    shape.blocks = std::min(processors, shape.tiles);
    part.operands.image.pixels = Tile::kRows;
    part.operands.weight.box_rows = of_image ? Tile::kDepth : Tile::kColumns;
  });
}

// Both arrays, as TMA takes them, and few enough pixels.
static bool arrays_fit(const ConvIndices& n, const TensorView& one, const TensorView& other) {
  const Extents image{n.batch, n.channels, n.y.image, n.x.image};
  const Extents maps{n.batch, n.maps, n.y.maps, n.x.maps};
  return item_size(one.dtype) == 2 && other.dtype == one.dtype && n.groups == 1 && fits(n.y) &&
         fits(n.x) && n.batch * n.y.image * n.x.image <= kMostPixels &&
         n.batch * n.y.maps * n.x.maps <= kMostPixels && aligned(one) && aligned(other) &&
         steps_fit(n.image, image) && steps_fit(n.of_maps, maps);
}

HopperCorrelations<TensorPixels, TensorBoxes> correlation_boxes(
    const ConvIndices& n, bool of_image_, const TensorView& read, const TensorView& weight,
    const TensorView& written, const TensorView& residual, int processors) {
  using Parts = HopperCorrelations<TensorPixels, TensorBoxes>;
  const Extents image{n.batch, n.channels, n.y.image, n.x.image};
  const Extents maps{n.batch, n.maps, n.y.maps, n.x.maps};
  if (!arrays_fit(n, read, written) || weight.dtype != read.dtype) return {};
  if (!reads_weight(n, weight) || !aligned(residual)) return {};
  if (residual.defined && !(residual.strides == written.strides)) return {};

  const ConvStrides &from = of_image_ ? n.of_maps : n.image, &to = of_image_ ? n.image : n.of_maps;
  const std::int64_t of_y = of_image_ ? n.y.stride : 1, of_x = of_image_ ? n.x.stride : 1;
  if (of_y * of_x > kMostParts) return {};
  Parts parts;
  for (std::int64_t ry = 0; ry < of_y; ++ry)
    for (std::int64_t rx = 0; rx < of_x; ++rx) {
      const PartAxis y = of_image_ ? of_image(n.y, ry) : of_maps(n.y);
      const PartAxis x = of_image_ ? of_image(n.x, rx) : of_maps(n.x);
      if (n.batch == 0 || y.walk.size == 0 || x.walk.size == 0) continue;
      auto& part = parts.emplace_back();
      part.shape.y = y.walk;
      part.shape.x = x.walk;
      part.shape.pixels = static_cast<int>(n.batch) * y.walk.size * x.walk.size;
      part.shape.columns = static_cast<int>(of_image_ ? n.channels : n.maps);
      part.shape.depth = static_cast<int>(of_image_ ? n.maps : n.channels);
      part.places = {y.first * to.y + x.first * to.x, to.n, y.step * to.y, x.step * to.x};
      part.operands.image = pixels_of(read, from, of_image_ ? maps : image, y, x);
      part.operands.weight = boxes_of(n, weight);
      cut_into(best_tile(part.shape, processors), of_image_, processors, part);
      if (part.shape.tiles == 0 || !part.operands.image.fits()) return {};
    }
  return parts;
}

void cut_into(WeightTile tile, int processors, HopperWeightGradient<TensorPixels>& to) {
  constexpr int kBusy = 264, kLeastSteps = 8;  // tasks that keep a GPU busy; a split's steps
  to.tile = tile;
  visit_weight_tile(tile, [&]<class Tile>() {
    WeightSum& s = to.sum;
    const int columns = s.taps() * s.channel_panels(), rows = (s.maps + 63) / 64;
    s.column_tiles = (columns + Tile::kColumnPanels - 1) / Tile::kColumnPanels;
    s.tiles = (rows + Tile::kRowPanels - 1) / Tile::kRowPanels * s.column_tiles;
    s.splits = std::max(1, std::min(kBusy / s.tiles, s.steps / kLeastSteps));
    s.each = (s.steps + s.splits - 1) / s.splits;
    s.splits = (s.steps + s.each - 1) / s.each;
    s.blocks = std::min(processors, s.tasks());
  });
}

// The tile of which fewest bytes are copied in all.
static WeightTile best_tile(const WeightSum& s) {
  WeightTile best = WeightTile::square;
  std::int64_t least = INT64_MAX;
  const int columns = s.taps() * s.channel_panels(), rows = (s.maps + 63) / 64;
  for (const WeightTile tile : {WeightTile::square, WeightTile::tall, WeightTile::narrow})
    visit_weight_tile(tile, [&]<class Tile>() {
      const std::int64_t tiles = std::int64_t{(rows + Tile::kRowPanels - 1) / Tile::kRowPanels} *
                                 ((columns + Tile::kColumnPanels - 1) / Tile::kColumnPanels);
      const std::int64_t cost = tiles * Tile::kStageBytes;
      if (cost < least) best = tile, least = cost;
    });
  return best;
}

std::optional<HopperWeightGradient<TensorPixels>> weight_boxes(const ConvIndices& n,
                                                               const TensorView& maps,
                                                               const TensorView& image,
                                                               const TensorView& grad_weight,
                                                               int processors) {
  constexpr std::int64_t kMostOfTheWeight = std::int64_t{1} << 28;
  const std::int64_t pixels = n.batch * n.y.maps * n.x.maps;
  if (!arrays_fit(n, maps, image) || grad_weight.dtype != image.dtype || pixels == 0 ||
      n.maps * n.channels * n.taps() > kMostOfTheWeight)
    return std::nullopt;
  HopperWeightGradient<TensorPixels> to;
  const PartAxis y = of_maps(n.y), x = of_maps(n.x);
  to.sum.y = y.walk;
  to.sum.x = x.walk;
  to.sum.maps = static_cast<int>(n.maps);
  to.sum.channels = static_cast<int>(n.channels);
  to.sum.steps = static_cast<int>((pixels + 63) / 64);
  to.image = pixels_of(image, n.image, {n.batch, n.channels, n.y.image, n.x.image}, y, x);
  const PartAxis plain_y{{to.sum.y.size}}, plain_x{{to.sum.x.size}};
  to.maps = pixels_of(maps, n.of_maps, {n.batch, n.maps, n.y.maps, n.x.maps}, plain_y, plain_x);
  to.image.pixels = to.maps.pixels = 64;
  if (!to.image.fits() || !to.maps.fits()) return std::nullopt;
  cut_into(best_tile(to.sum), processors, to);
  return to;
}

}  // namespace pyfast::cuda
