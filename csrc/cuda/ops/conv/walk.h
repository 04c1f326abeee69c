// A convolution's forward pass and its image's gradient are one product: rows are pixels of the
// result, columns its channels, and what is summed over are taps, and channels of the array that is
// read. Here is which pixels are read for which: by shape alone, for every kernel.
#pragma once

#include <vector>

#include "cuda/ops/conv/indices.h"

namespace pyfast::cuda {

// One axis of the walk through the array that is read.
struct CorrelationAxis {
  int size = 1;                     // places of the result
  int corner = 0, step = 1;         // where they are read, without a tap's offset
  int taps = 1, tap_step = 1;       // tap t is read t tap_step further,
  int weight = 0, weight_step = 1;  // and multiplied by the weight's tap weight + t weight_step
};

// Where the result of a pixel begins: strides in elements.
struct CorrelationPlaces {
  std::int64_t first = 0, n = 0, y = 0, x = 0;
};

// A part of the result: all of it, or the pixels of an image that have the same place in a stride.
struct CorrelationPart {
  CorrelationAxis y, x;
  int pixels = 0, columns = 0, depth = 0;  // of the result, its channels; channels that are read
  CorrelationPlaces places;
};

// Of an axis, the pixels of the result whose place in a stride is `residue`.
struct PartAxis {
  CorrelationAxis walk;
  std::int64_t first = 0, step = 1;  // places in the result
};
PartAxis axis_of_maps(const ConvAxis& a);
PartAxis axis_of_image(const ConvAxis& a, std::int64_t residue);

// Whether one group's pixels and places can be counted in 32 bits, and parts are few.
bool walks(const ConvIndices& n);
// The parts that together write the maps (of_image: the image), which have pixels.
std::vector<CorrelationPart> correlation_parts(const ConvIndices& n, bool of_image);

}  // namespace pyfast::cuda
