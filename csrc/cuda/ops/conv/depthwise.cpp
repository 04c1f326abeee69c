#include "cuda/ops/conv/depthwise.h"

#include <algorithm>

#include "cuda/ops/conv/walk.h"

namespace pyfast::cuda {

namespace {

// The same arrays, all groups' channels taken as one.
ConvIndices whole(const ConvIndices& n) {
  ConvIndices all = n;
  all.channels = all.maps = n.groups;
  all.groups = 1;
  return all;
}

WeightCopy copy_of(const ConvIndices& n, std::int64_t channels) {
  WeightCopy c;
  c.array = n.weight;
  c.maps = n.groups;
  c.channels = c.fold = c.columns = 1;
  c.taps_y = n.y.kernel;
  c.taps_x = n.x.kernel;
  c.rows = channels;
  return c;
}

}  // namespace

std::int64_t Depthwise::chunks() const {
  constexpr std::int64_t kLeast = 512, kMost = 128;
  const std::int64_t wanted = map_pixels() / kLeast;
  return wanted < 1 ? 1 : wanted < kMost ? wanted : kMost;
}

DepthwiseStage::DepthwiseStage(const ConvIndices& n, const TensorView& image, const TensorView& w,
                               const TensorView& maps)
    : stage(whole(n), image, w, maps, {true, true, false, false}),
      weight(copy_of(n, stage.indices.channels)),
      shape{n.y, n.x, n.batch, stage.indices.channels, stage.indices.image, stage.indices.of_maps} {
}

bool is_depthwise(const ConvIndices& n) {
  if (n.groups == 1 || n.channels != 1 || n.maps != 1 || !walks(whole(n))) return false;
  constexpr std::int64_t kMost = UINT32_MAX - (1 << 16), kLeastWidth = 4;
  const std::int64_t pixels = std::max(n.y.image * n.x.image, n.y.maps * n.x.maps) * n.batch;
  return (n.groups / kLeastWidth + 2) <= kMost / std::max<std::int64_t>(pixels, 1);
}

}  // namespace pyfast::cuda
