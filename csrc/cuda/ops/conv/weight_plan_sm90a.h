// How the weight's gradient is cut for sm_90a: rows are maps, columns are channels of taps, and
// what is summed over are pixels of the maps, of which each part of them is summed by itself first.
#pragma once

#include <optional>

#include "cuda/ops/conv/plan_sm90a.h"

namespace pyfast::cuda {

// 64 maps times kRowPanels by 64 channels times kColumnPanels, any taps'. Warpgroups share the
// rows, or, where there is but one panel of them, the columns.
template <int kRowPanels_, int kColumnPanels_>
struct HopperWeightTile {
  static constexpr int kRowPanels = kRowPanels_, kColumnPanels = kColumnPanels_;
  static constexpr int kGroups = 2, kThreads = 128 * (kGroups + 1);
  static constexpr int kPixels = 64, kStages = 4;
  static constexpr int kRowGroups = kRowPanels > 1 ? 2 : 1;
  static constexpr int kTall = kRowPanels / kRowGroups;
  static constexpr int kColumns = kPanelColumns * kColumnPanels * kRowGroups / 2;  // a warpgroup's
  static constexpr int kLoadRegisters = 56, kRegisters = (504 - kLoadRegisters) / kGroups;
  static constexpr std::uint32_t kPanelBytes = panel_bytes(kPixels);
  static constexpr std::uint32_t kMapBytes = kPanelBytes * kRowPanels;
  static constexpr std::uint32_t kStageBytes = kMapBytes + kPanelBytes * kColumnPanels;
};

enum class WeightTile : std::uint8_t { narrow, square, tall };

// f.operator()<Tile>()
template <class F>
void visit_weight_tile(WeightTile tile, F&& f) {
  switch (tile) {
    case WeightTile::narrow: return f.template operator()<HopperWeightTile<1, 4>>();
    case WeightTile::square: return f.template operator()<HopperWeightTile<2, 4>>();
    case WeightTile::tall: return f.template operator()<HopperWeightTile<4, 1>>();
  }
}

struct WeightSum {
  CorrelationAxis y, x;  // of the maps, through the image
  int maps = 0, channels = 0;
  int column_tiles = 0, tiles = 0, splits = 1, blocks = 0;
  int steps = 0, each = 0;  // of 64 pixels: all, and a split's

  PYFAST_HOST_DEVICE int channel_panels() const {
    return (channels + kPanelColumns - 1) / kPanelColumns;
  }
  PYFAST_HOST_DEVICE int taps() const { return y.taps * x.taps; }
  PYFAST_HOST_DEVICE int tasks() const { return tiles * splits; }
  PYFAST_HOST_DEVICE std::int64_t size() const { return std::int64_t{maps} * taps() * channels; }
};

// A panel of columns: 64 channels of a tap. Behind the last tap there are channels that no image
// has, which TMA reads as 0.
struct WeightPanel {
  int tap_y, tap_x, channel;
  PYFAST_HOST_DEVICE WeightPanel(const WeightSum& s, int index) {
    const int each = s.channel_panels(), tap = index / each;
    const bool inside = tap < s.taps();
    tap_y = inside ? tap / s.x.taps : 0;
    tap_x = inside ? tap % s.x.taps : 0;
    channel = (inside ? index % each : each) * kPanelColumns;
  }
};

template <class Pixels>
struct HopperWeightGradient {
  WeightTile tile = WeightTile::square;
  WeightSum sum;
  Pixels maps, image;
};

// nullopt where the portable kernel is to run.
std::optional<HopperWeightGradient<TensorPixels>> weight_boxes(const ConvIndices& n,
                                                               const TensorView& maps,
                                                               const TensorView& image,
                                                               const TensorView& grad_weight,
                                                               int processors);
void cut_into(WeightTile tile, int processors, HopperWeightGradient<TensorPixels>& to);

template <class Pixels>
std::optional<HopperWeightGradient<Pixels>> encoded(
    const std::optional<HopperWeightGradient<TensorPixels>>& from) {
  if (!from) return std::nullopt;
  HopperWeightGradient<Pixels> made;
  made.tile = from->tile;
  made.sum = from->sum;
  const bool fine = encode(from->maps, made.maps) && encode(from->image, made.image);
  return fine ? std::optional(made) : std::nullopt;
}

}  // namespace pyfast::cuda
