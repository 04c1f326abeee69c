#include "cuda/ops/conv/plan_sm90a.h"

#include <algorithm>
#include <array>

#include "cuda/ops/conv/weight_plan_sm90a.h"

namespace pyfast::cuda {

namespace {

constexpr std::int64_t kLongestTap = 255;

struct Extents {
  std::int64_t n, c, y, x;
};

std::uint64_t step_bytes(std::int64_t size, std::int64_t step) {
  return size == 1 ? 16 : static_cast<std::uint64_t>(step) * 2;
}

bool fits(const ConvAxis& a) { return (a.kernel - 1) * a.dilation <= kLongestTap && a.stride <= 8; }

// The whole walk lies before the end: where TMA goes on in the next row.
int walk_end(const CorrelationAxis& walk, std::int64_t extent) {
  return walk.corner + (walk.size - 1) * walk.step + 1 - static_cast<int>(extent);
}

TensorPixels pixels_of(const TensorView& x, const ConvStrides& s, const Extents& size,
                       const CorrelationAxis& y, const CorrelationAxis& x_axis) {
  TensorPixels to;
  to.data = x.data;
  to.dtype = x.dtype;
  const std::int64_t sizes[] = {size.c, size.x, size.y, size.n}, strides[] = {1, s.x, s.y, s.n};
  for (int i = 0; i < TensorPixels::kRank; ++i) {
    to.size[i] = static_cast<std::uint64_t>(sizes[i]);
    if (i > 0) to.stride[i] = step_bytes(sizes[i], strides[i]);
  }
  const CorrelationAxis walks[] = {x_axis, y};
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

void cut_into(ConvTile tile, bool of_image, int processors,
              HopperCorrelation<TensorPixels, TensorBoxes>& part) {
  part.tile = tile;
  visit_conv_tile(tile, [&]<class Tile>() {
    Correlation& shape = part.shape;
    shape.column_tiles = (shape.columns + Tile::kColumns - 1) / Tile::kColumns;
    const std::int64_t tiles =
        std::int64_t{(shape.pixels + Tile::kRows - 1) / Tile::kRows} * shape.column_tiles;
    shape.tiles = tiles > INT32_MAX - 1024 ? 0 : static_cast<int>(tiles);
    shape.blocks = std::min(processors, shape.tiles);
    part.operands.image.pixels = Tile::kRows;
    part.operands.weight.box_rows = of_image ? Tile::kDepth : Tile::kColumns;
  });
}

// Both arrays, as TMA takes them, and few enough pixels.
static bool arrays_fit(const ConvIndices& n, const TensorView& image, const TensorView& maps) {
  return item_size(image.dtype) == 2 && maps.dtype == image.dtype && walks(n) && fits(n.y) &&
         fits(n.x) && reads_image(n, image) && reads_maps(n, maps);
}

HopperCorrelations<TensorPixels, TensorBoxes> correlation_boxes(
    const ConvIndices& n, bool of_image, const TensorView& read, const TensorView& weight,
    const TensorView& written, const TensorView& residual, int processors) {
  using Parts = HopperCorrelations<TensorPixels, TensorBoxes>;
  if (!arrays_fit(n, of_image ? written : read, of_image ? read : written) ||
      weight.dtype != read.dtype || !reads_weight(n, weight) || !aligned(residual))
    return {};
  if (residual.defined && !(residual.strides == written.strides)) return {};
  const Extents image{n.batch, n.channels, n.y.image, n.x.image};
  const Extents maps{n.batch, n.maps, n.y.maps, n.x.maps};
  Parts parts;
  for (const CorrelationPart& plain : correlation_parts(n, of_image)) {
    auto& part = parts.emplace_back();
    static_cast<CorrelationPart&>(part.shape) = plain;
    part.operands.image =
        pixels_of(read, of_image ? n.of_maps : n.image, of_image ? maps : image, plain.y, plain.x);
    part.operands.weight = boxes_of(n, weight);
    cut_into(best_tile(part.shape, processors), of_image, processors, part);
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
  if (!arrays_fit(n, image, maps) || grad_weight.dtype != image.dtype || pixels == 0 ||
      n.maps * n.channels * n.taps() > kMostOfTheWeight)
    return std::nullopt;
  HopperWeightGradient<TensorPixels> to;
  to.sum.y = axis_of_maps(n.y).walk;
  to.sum.x = axis_of_maps(n.x).walk;
  to.sum.maps = static_cast<int>(n.maps);
  to.sum.channels = static_cast<int>(n.channels);
  to.sum.steps = static_cast<int>((pixels + 63) / 64);
  to.image =
      pixels_of(image, n.image, {n.batch, n.channels, n.y.image, n.x.image}, to.sum.y, to.sum.x);
  const CorrelationAxis plain_y{to.sum.y.size}, plain_x{to.sum.x.size};
  to.maps = pixels_of(maps, n.of_maps, {n.batch, n.maps, n.y.maps, n.x.maps}, plain_y, plain_x);
  to.image.pixels = to.maps.pixels = 64;
  if (!to.image.fits() || !to.maps.fits()) return std::nullopt;
  cut_into(best_tile(to.sum), processors, to);
  return to;
}

}  // namespace pyfast::cuda
