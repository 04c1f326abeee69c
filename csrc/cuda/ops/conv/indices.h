// Convolutions as contractions: which element of the image, the weight or the maps a tile wants,
// for arrays of any strides (NCHW and NHWC alike), for GPU and host. Groups are the batch. The
// three sums of ops/conv/conv.h's correlation:
//
//   maps    rows: maps      columns: pixels of the maps    depth: (channel, tap)
//   image   rows: channels  columns: pixels of the image   depth: (map, tap)
//   weight  rows: maps      columns: (channel, tap)        depth: pixels of the maps
#pragma once

#include "cuda/core/contraction.h"
#include "ops/conv/conv.h"

namespace pyfast::cuda {

struct ConvStrides {
  std::int64_t n = 0, c = 0, y = 0, x = 0;  // of the weight: map, channel, tap's row and column

  ConvStrides() = default;
  // Of an array whose last `spatial` axes are spatial, channels before them, perhaps no batch.
  ConvStrides(const TensorView& a, int spatial)
      : n(a.rank() == spatial + 2 ? a.strides[0] : 0),
        c(a.strides[a.rank() - spatial - 1]),
        y(spatial == 2 ? a.strides[a.rank() - 2] : 0),
        x(a.strides[a.rank() - 1]) {}
};

struct ConvPixel {
  std::int64_t n, y, x;
  PYFAST_HOST_DEVICE ConvPixel(std::int64_t index, std::int64_t height, std::int64_t width)
      : n(index / width / height), y(index / width % height), x(index % width) {}
};

struct ConvIndices {
  std::int64_t batch, groups, channels, maps;  // channels and maps of one group
  ConvAxis y, x;
  ConvStrides image, weight, of_maps;

  ConvIndices(const ConvGeometry& g, int spatial, const TensorView& image_, const TensorView& w,
              const TensorView& maps_)
      : batch(g.batch),
        groups(g.groups),
        channels(g.channels),
        maps(g.maps),
        y(g.y),
        x(g.x),
        image(image_, spatial),
        weight(w, spatial),
        of_maps(maps_, spatial) {}

  PYFAST_HOST_DEVICE std::int64_t taps() const { return y.kernel * x.kernel; }
  Contraction maps_sum() const { return sum(maps, batch * y.maps * x.maps, channels * taps()); }
  Contraction image_sum() const { return sum(channels, batch * y.image * x.image, maps * taps()); }
  Contraction weight_sum() const { return sum(maps, channels * taps(), batch * y.maps * x.maps); }

  // Where the tap of a map's pixel falls in the image.
  PYFAST_HOST_DEVICE std::int64_t patch(std::int64_t group, std::int64_t pixel,
                                        std::int64_t k) const {
    const ConvPixel p(pixel, y.maps, x.maps);
    const std::int64_t tap = k % taps(), channel = group * channels + k / taps();
    const std::int64_t row = p.y * y.stride + tap / x.kernel * y.dilation - y.padding;
    const std::int64_t column = p.x * x.stride + tap % x.kernel * x.dilation - x.padding;
    if (row < 0 || row >= y.image || column < 0 || column >= x.image) return kZero;
    return p.n * image.n + channel * image.c + row * image.y + column * image.x;
  }
  // The map's pixel whose tap falls on a pixel of the image.
  PYFAST_HOST_DEVICE std::int64_t source(std::int64_t group, std::int64_t pixel,
                                         std::int64_t k) const {
    const ConvPixel p(pixel, y.image, x.image);
    const std::int64_t tap = k % taps(), map = group * maps + k / taps();
    const std::int64_t row = p.y + y.padding - tap / x.kernel * y.dilation;
    const std::int64_t column = p.x + x.padding - tap % x.kernel * x.dilation;
    if (row < 0 || row % y.stride != 0 || row / y.stride >= y.maps) return kZero;
    if (column < 0 || column % x.stride != 0 || column / x.stride >= x.maps) return kZero;
    return p.n * of_maps.n + map * of_maps.c + row / y.stride * of_maps.y +
           column / x.stride * of_maps.x;
  }
  PYFAST_HOST_DEVICE std::int64_t weight_at(std::int64_t map, std::int64_t channel,
                                            std::int64_t tap) const {
    return map * weight.n + channel * weight.c + tap / x.kernel * weight.y +
           tap % x.kernel * weight.x;
  }
  PYFAST_HOST_DEVICE std::int64_t map_at(std::int64_t map, std::int64_t pixel) const {
    const ConvPixel p(pixel, y.maps, x.maps);
    return p.n * of_maps.n + map * of_maps.c + p.y * of_maps.y + p.x * of_maps.x;
  }
  PYFAST_HOST_DEVICE std::int64_t image_at(std::int64_t channel, std::int64_t pixel) const {
    const ConvPixel p(pixel, y.image, x.image);
    return p.n * image.n + channel * image.c + p.y * image.y + p.x * image.x;
  }

 private:
  Contraction sum(std::int64_t rows, std::int64_t columns, std::int64_t depth) const {
    Contraction c{groups, rows, columns, depth};
    c.splits = depth_splits(c);
    return c;
  }
};

// The operands: a is rows by depth, b columns by depth.
struct MapsWeight {
  ConvIndices at_;
  bool rows_adjacent = false;
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t map, std::int64_t k) const {
    return at_.weight_at(g * at_.maps + map, k / at_.taps(), k % at_.taps());
  }
};
struct MapsPatches {
  ConvIndices at_;
  bool rows_adjacent = true;
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t pixel, std::int64_t k) const {
    return at_.patch(g, pixel, k);
  }
};
struct ImageWeight {
  ConvIndices at_;
  bool rows_adjacent = false;
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t channel, std::int64_t k) const {
    return at_.weight_at(g * at_.maps + k / at_.taps(), channel, k % at_.taps());
  }
};
struct ImageSources {
  ConvIndices at_;
  bool rows_adjacent = true;
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t pixel, std::int64_t k) const {
    return at_.source(g, pixel, k);
  }
};
struct WeightMaps {
  ConvIndices at_;
  bool rows_adjacent = false;
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t map, std::int64_t k) const {
    return at_.map_at(g * at_.maps + map, k);
  }
};
struct WeightPatches {
  ConvIndices at_;
  bool rows_adjacent = false;
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t column, std::int64_t k) const {
    return at_.patch(g, k, column);
  }
};

// Where a sum is stored.
struct MapsPlace {
  ConvIndices at_;
  PYFAST_HOST_DEVICE std::int64_t channel(std::int64_t g, std::int64_t i) const {
    return g * at_.maps + i;
  }
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t i, std::int64_t j) const {
    return at_.map_at(channel(g, i), j);
  }
};
struct ImagePlace {
  ConvIndices at_;
  PYFAST_HOST_DEVICE std::int64_t channel(std::int64_t g, std::int64_t i) const {
    return g * at_.channels + i;
  }
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t i, std::int64_t j) const {
    return at_.image_at(channel(g, i), j);
  }
};
struct WeightPlace {
  ConvIndices at_;
  PYFAST_HOST_DEVICE std::int64_t channel(std::int64_t g, std::int64_t i) const {
    return g * at_.maps + i;
  }
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t g, std::int64_t i, std::int64_t j) const {
    return at_.weight_at(channel(g, i), j / at_.taps(), j % at_.taps());
  }
};

}  // namespace pyfast::cuda
