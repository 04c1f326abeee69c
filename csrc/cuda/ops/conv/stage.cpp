#include "cuda/ops/conv/stage.h"

namespace pyfast::cuda {

namespace {

constexpr std::int64_t kEight = 8;        // what channels are padded to a multiple of
constexpr std::int64_t kFoldedMost = 64;  // a slab's depth

std::int64_t padded(std::int64_t n) { return (n + kEight - 1) / kEight * kEight; }

struct Extents {
  std::int64_t n, c, y, x;
};

// 16 bytes at a time: steps that are taken are whole multiples.
bool steps_fit(const ConvStrides& s, const Extents& size) {
  const auto fits = [](std::int64_t n, std::int64_t step) {
    return n == 1 || (step > 0 && step % kEight == 0);
  };
  return s.c == 1 && size.c % kEight == 0 && fits(size.n, s.n) && fits(size.y, s.y) &&
         fits(size.x, s.x);
}

// (n, y, x, c) in C order.
ConvStrides dense(ConvStrides s, std::int64_t height, std::int64_t width, std::int64_t channels) {
  s.c = 1;
  s.x = channels;
  s.y = width * s.x;
  s.n = height * s.y;
  return s;
}

}  // namespace

bool PixelCopy::vectors(const TensorView& x) const {
  const std::int64_t each = 16 / item_size(x.dtype);
  return taps == 1 && array.x == 1 && array.y == width && height * width % each == 0 &&
         array.n % each == 0 && array.c % each == 0 && aligned(x);
}

bool aligned(const TensorView& x) { return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0; }

bool reads_image(const ConvIndices& n, const TensorView& image) {
  return aligned(image) && steps_fit(n.image, {n.batch, n.channels, n.y.image, n.x.image});
}
bool reads_maps(const ConvIndices& n, const TensorView& maps) {
  return aligned(maps) && steps_fit(n.of_maps, {n.batch, n.maps, n.y.maps, n.x.maps});
}
bool reads_weight(const ConvIndices& n, const TensorView& weight) {
  return aligned(weight) && steps_fit(n.weight, {n.maps, n.channels, n.y.kernel, n.x.kernel});
}

ConvStage::ConvStage(const ConvIndices& n, const TensorView& x, const TensorView& w,
                     const TensorView& y, const Wants& wants)
    : indices(n) {
  const bool lies = reads_image(n, x);
  const bool folds = wants.folds && wants.image && n.x.kernel > 1 &&
                     n.x.kernel * n.channels <= kFoldedMost && (n.channels < kEight || !lies);
  image = folds || (wants.image && !lies);
  maps = wants.maps && !reads_maps(n, y);
  if (image) {
    if (folds) indices.x = {n.x.maps, n.x.maps, 1, 1, 1, 0};
    indices.channels = padded(folds ? n.x.kernel * n.channels : n.channels);
    indices.image = dense(n.image, n.y.image, indices.x.image, indices.channels);
    image_copy = {n.batch, n.y.image,  indices.x.image, indices.channels,
                  n.image, n.channels, n.x.image};
    if (folds) {
      image_copy.taps = n.x.kernel;
      image_copy.step = n.x.stride;
      image_copy.tap_step = n.x.dilation;
      image_copy.padding = n.x.padding;
    }
  }
  if (maps) {
    indices.maps = padded(n.maps);
    indices.of_maps = dense(n.of_maps, n.y.maps, n.x.maps, indices.maps);
    maps_copy = {n.batch, n.y.maps, n.x.maps, indices.maps, n.of_maps, n.maps, n.x.maps};
  }
  weight = wants.weight_turned || indices.channels != n.channels || indices.maps != n.maps ||
           !reads_weight(n, w);
  WeightCopy& c = weight_copy;
  c = {n.weight, n.maps, n.channels, n.y.kernel, indices.x.kernel, folds ? n.x.kernel : 1};
  c.turned = wants.weight_turned;
  c.rows = c.turned ? indices.channels : indices.maps;
  c.columns = c.turned ? indices.maps : indices.channels;
  if (!weight) return;
  indices.weight.c = 1;
  indices.weight.n = c.columns;
  indices.weight.x = c.rows * c.columns;
  indices.weight.y = c.taps_x * indices.weight.x;
}

}  // namespace pyfast::cuda
