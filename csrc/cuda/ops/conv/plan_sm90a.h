// Which convolutions the kernels of sm_90a take, and how their work is cut: by shape alone. Of the
// product that walk.h tells of, a tap's 64 channels of a tile's pixels are one copy of TMA in
// im2col mode; a tap's weights are a box.
#pragma once

#include <optional>
#include <vector>

#include "cuda/hopper/swizzle.h"
#include "cuda/hopper/tensor_map.h"
#include "cuda/ops/conv/conv.h"
#include "cuda/ops/conv/stage.h"
#include "cuda/ops/conv/walk.h"

namespace pyfast::cuda {

// kTall times 64 pixels by kColumns channels are a warpgroup's.
template <int kTall_, int kColumns_>
struct HopperConvTile {
  static constexpr int kTall = kTall_, kColumns = kColumns_;
  static constexpr int kGroups = 2, kThreads = 128 * (kGroups + 1);  // one more warpgroup loads
  static constexpr int kRows = 64 * kTall * kGroups, kDepth = kPanelColumns, kStages = 4;
  static constexpr int kLoadRegisters = 40, kRegisters = (504 - kLoadRegisters) / kGroups;
  static constexpr std::uint32_t kImageBytes = panel_bytes(kRows);
  static constexpr std::uint32_t kStageBytes = kImageBytes + panel_bytes(kColumns);
};

// What a tile costs for a depth of 64, in cycles: the products themselves, or bringing its operands
// from the L2 cache, which gives a processor about 30 bytes a cycle. Reasoned, not measured.
template <class Tile>
constexpr int tile_cost() {
  constexpr int kProducts = Tile::kRows * Tile::kColumns / 32;
  constexpr int kCopies = static_cast<int>(Tile::kStageBytes) / 30;
  return kProducts > kCopies ? kProducts : kCopies;
}

enum class ConvTile : std::uint8_t { tall_64, flat_128, tall_128, flat_256 };

// f.operator()<Tile>()
template <class F>
void visit_conv_tile(ConvTile tile, F&& f) {
  switch (tile) {
    case ConvTile::tall_64: return f.template operator()<HopperConvTile<2, 64>>();
    case ConvTile::flat_128: return f.template operator()<HopperConvTile<1, 128>>();
    case ConvTile::tall_128: return f.template operator()<HopperConvTile<2, 128>>();
    case ConvTile::flat_256: return f.template operator()<HopperConvTile<1, 256>>();
  }
}

struct Correlation : CorrelationPart {
  int column_tiles = 0, tiles = 0, blocks = 0;

  PYFAST_HOST_DEVICE int slabs() const {
    return y.taps * x.taps * ((depth + kPanelColumns - 1) / kPanelColumns);
  }
};

template <class Pixels, class Boxes>
struct CorrelationOperands {
  Pixels image;
  Boxes weight;
};

template <class Pixels, class Boxes>
struct HopperCorrelation {
  ConvTile tile = ConvTile::flat_128;
  Correlation shape;
  CorrelationOperands<Pixels, Boxes> operands;
};

// The parts that together write a result.
template <class Pixels, class Boxes>
using HopperCorrelations = std::vector<HopperCorrelation<Pixels, Boxes>>;

// `written` are the maps (of_image: the image), `read` the other; weight's strides are n's. Empty
// where the portable kernel is to run, or has nothing to do.
HopperCorrelations<TensorPixels, TensorBoxes> correlation_boxes(
    const ConvIndices& n, bool of_image, const TensorView& read, const TensorView& weight,
    const TensorView& written, const TensorView& residual, int processors);

// A part in such tiles; tests try all of them.
void cut_into(ConvTile tile, bool of_image, int processors,
              HopperCorrelation<TensorPixels, TensorBoxes>& part);

// The same with what the device's copies are told.
template <class Pixels, class Boxes>
HopperCorrelations<Pixels, Boxes> encoded(
    const HopperCorrelations<TensorPixels, TensorBoxes>& from) {
  HopperCorrelations<Pixels, Boxes> made;
  for (const auto& part : from) {
    auto& to = made.emplace_back();
    to.tile = part.tile;
    to.shape = part.shape;
    if (!encode(part.operands.image, to.operands.image) ||
        !encode(part.operands.weight, to.operands.weight))
      return {};
  }
  return made;
}

}  // namespace pyfast::cuda
