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

// Neither is negative. Nearly all fit 32 bits; a GPU divides 64 by a subroutine.
struct Division {
  std::int64_t quotient, rest;
  PYFAST_HOST_DEVICE Division(std::int64_t a, std::int64_t b) {
    if ((a | b) >> 32 == 0) {
      const auto x = static_cast<std::uint32_t>(a), y = static_cast<std::uint32_t>(b);
      quotient = x / y;
      rest = x % y;
    } else {
      quotient = a / b;
      rest = a % b;
    }
  }
};

struct ConvPixel {
  std::int64_t n, y, x;
  PYFAST_HOST_DEVICE ConvPixel(std::int64_t index, std::int64_t height, std::int64_t width)
      : ConvPixel(Division(index, width), height) {}

 private:
  PYFAST_HOST_DEVICE ConvPixel(const Division& line, std::int64_t height)
      : ConvPixel(Division(line.quotient, height), line) {}
  PYFAST_HOST_DEVICE ConvPixel(const Division& image, const Division& line)
      : n(image.quotient), y(image.rest), x(line.rest) {}
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
    const Division of(k, taps()), tap(of.rest, x.kernel);
    const std::int64_t channel = group * channels + of.quotient;
    const std::int64_t row = p.y * y.stride + tap.quotient * y.dilation - y.padding;
    const std::int64_t column = p.x * x.stride + tap.rest * x.dilation - x.padding;
    if (row < 0 || row >= y.image || column < 0 || column >= x.image) return kZero;
    return p.n * image.n + channel * image.c + row * image.y + column * image.x;
  }
  // The map's pixel whose tap falls on a pixel of the image.
  PYFAST_HOST_DEVICE std::int64_t source(std::int64_t group, std::int64_t pixel,
                                         std::int64_t k) const {
    const ConvPixel p(pixel, y.image, x.image);
    const Division of(k, taps()), tap(of.rest, x.kernel);
    const std::int64_t map = group * maps + of.quotient;
    const std::int64_t row = p.y + y.padding - tap.quotient * y.dilation;
    const std::int64_t column = p.x + x.padding - tap.rest * x.dilation;
    if (row < 0 || column < 0) return kZero;
    const Division at_y(row, y.stride), at_x(column, x.stride);
    if (at_y.rest != 0 || at_y.quotient >= y.maps) return kZero;
    if (at_x.rest != 0 || at_x.quotient >= x.maps) return kZero;
    return p.n * of_maps.n + map * of_maps.c + at_y.quotient * of_maps.y +
           at_x.quotient * of_maps.x;
  }
  PYFAST_HOST_DEVICE std::int64_t weight_at(std::int64_t map, std::int64_t channel,
                                            std::int64_t tap) const {
    const Division at(tap, x.kernel);
    return map * weight.n + channel * weight.c + at.quotient * weight.y + at.rest * weight.x;
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
    const Division of(k, at_.taps());
    return at_.weight_at(g * at_.maps + map, of.quotient, of.rest);
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
    const Division of(k, at_.taps());
    return at_.weight_at(g * at_.maps + of.quotient, channel, of.rest);
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
    const Division of(j, at_.taps());
    return at_.weight_at(channel(g, i), of.quotient, of.rest);
  }
};

}  // namespace pyfast::cuda
