#include "cuda/ops/conv/walk.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace pyfast::cuda {

namespace {

constexpr std::int64_t kMostPixels = INT32_MAX - 1024, kMostOfAnAxis = 1 << 30;
constexpr std::int64_t kMostParts = 16;  // launches, of which each has its share of the result

bool counts(const ConvAxis& a) {
  return std::max({a.image, a.maps, std::abs(a.padding), a.kernel, a.stride, a.dilation,
                   (a.maps - 1) * a.stride, (a.kernel - 1) * a.dilation}) < kMostOfAnAxis;
}

}  // namespace

PartAxis axis_of_maps(const ConvAxis& a) {
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
PartAxis axis_of_image(const ConvAxis& a, std::int64_t residue) {
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

bool walks(const ConvIndices& n) {
  return n.groups == 1 && counts(n.y) && counts(n.x) && n.y.stride * n.x.stride <= kMostParts &&
         std::max(n.channels, n.maps) < kMostOfAnAxis &&
         n.batch * n.y.image * n.x.image <= kMostPixels &&
         n.batch * n.y.maps * n.x.maps <= kMostPixels;
}

std::vector<CorrelationPart> correlation_parts(const ConvIndices& n, bool of_image) {
  const ConvStrides& to = of_image ? n.image : n.of_maps;
  const std::int64_t of_y = of_image ? n.y.stride : 1, of_x = of_image ? n.x.stride : 1;
  std::vector<CorrelationPart> parts;
  for (std::int64_t ry = 0; ry < of_y; ++ry)
    for (std::int64_t rx = 0; rx < of_x; ++rx) {
      const PartAxis y = of_image ? axis_of_image(n.y, ry) : axis_of_maps(n.y);
      const PartAxis x = of_image ? axis_of_image(n.x, rx) : axis_of_maps(n.x);
      if (n.batch == 0 || y.walk.size == 0 || x.walk.size == 0) continue;
      CorrelationPart& part = parts.emplace_back();
      part.y = y.walk;
      part.x = x.walk;
      part.pixels = static_cast<int>(n.batch) * y.walk.size * x.walk.size;
      part.columns = static_cast<int>(of_image ? n.channels : n.maps);
      part.depth = static_cast<int>(of_image ? n.maps : n.channels);
      part.places = {y.first * to.y + x.first * to.x, to.n, y.step * to.y, x.step * to.x};
    }
  return parts;
}

}  // namespace pyfast::cuda
