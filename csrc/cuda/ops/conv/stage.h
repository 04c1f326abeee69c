// Copies of a convolution's arrays for kernels that read channels side by side, 16 bytes at a time:
// of arrays with channels first, and of channels in no multiple of eight, which zeros fill up. A
// pass reads and writes its array once, at memory's rate; a 3 x 3 convolution of 64 channels does
// 288 operations for a byte that it moves, so that passes before and behind it should cost about as
// much as itself, and gathering element by element far more. Reasoned, not measured.
//
// Few channels would leave most of a slab of the sum's depth empty: a network's first layer, 7 x 7
// on 3 channels, has 49 slabs of 3. Its copy holds, for every pixel of the maps, a whole row of
// taps as 21 channels (`fold`): 7 slabs of 24, in a convolution of 7 x 1 taps.
#pragma once

#include "cuda/ops/conv/indices.h"

namespace pyfast::cuda {

// A copy is (batch, height, width, channels) in C order. Channel t channels_ + c of its column x is
// channel c of the array's column x step + t tap_step - padding, 0 where there is none.
struct PixelCopy {
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;
  ConvStrides array;
  std::int64_t array_channels = 0, array_width = 0;
  std::int64_t taps = 1, step = 1, tap_step = 1, padding = 0;

  PYFAST_HOST_DEVICE std::int64_t pixels() const { return batch * height * width; }
  std::int64_t size() const { return pixels() * channels; }
  // Where the pixel's image and row begin in the array.
  PYFAST_HOST_DEVICE std::int64_t line(std::int64_t pixel) const {
    const std::int64_t row = pixel / width;
    return row / height * array.n + row % height * array.y;
  }
  // Behind the row's begin; kZero where there is nothing.
  PYFAST_HOST_DEVICE std::int64_t within(int column, int channel) const {
    const int each = static_cast<int>(array_channels), tap = channel / each;
    const std::int64_t x = column * step + tap * tap_step - padding;
    if (tap >= taps || x < 0 || x >= array_width) return kZero;
    return x * array.x + channel % each * array.c;
  }
  // Whether eight neighbouring pixels of an image lie beside each other, 16 bytes at a time.
  bool vectors(const TensorView& x) const;
};

// A copy of a weight is (tap's row, tap's column, rows, columns): rows are maps and columns
// channels, or the other way about. With `fold` taps of a row are channels, as in PixelCopy.
struct WeightCopy {
  ConvStrides array;
  std::int64_t maps = 0, channels = 0;  // of the array
  std::int64_t taps_y = 1, taps_x = 1, fold = 1, rows = 0, columns = 0;
  bool turned = false;

  std::int64_t size() const { return taps_y * taps_x * rows * columns; }
  // Where the array has the element, or kZero.
  PYFAST_HOST_DEVICE std::int64_t at(std::int64_t row, std::int64_t column,
                                     std::int64_t tap) const {
    const std::int64_t map = turned ? column : row, place = turned ? row : column;
    const std::int64_t x = place / channels, channel = place % channels;
    if (map >= maps || x >= fold) return kZero;
    return map * array.n + channel * array.c + tap / taps_x * array.y +
           (tap % taps_x + x) * array.x;
  }
};

// Whether they are read, and written, as they lie; all groups are one.
bool aligned(const TensorView& x);
bool reads_image(const ConvIndices& n, const TensorView& image);
bool reads_maps(const ConvIndices& n, const TensorView& maps);
bool reads_weight(const ConvIndices& n, const TensorView& weight);

// What is copied, and what kernels are told instead.
struct ConvStage {
  ConvIndices indices;
  bool image = false, maps = false, weight = false;  // which are copies
  PixelCopy image_copy, maps_copy;
  WeightCopy weight_copy;  // of a weight that lies as it is, too: the same places

  // What may be copied.
  struct Wants {
    bool image = true, maps = true;
    bool folds = true;           // the image is read
    bool weight_turned = false;  // its rows are channels
  };
  ConvStage(const ConvIndices& n, const TensorView& image, const TensorView& weight,
            const TensorView& maps, const Wants& wants);
};

}  // namespace pyfast::cuda
