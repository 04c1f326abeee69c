// The gradient of a convolution's weight.
#pragma once

#include "ops/conv/conv.h"
#include "ops/conv/layout.h"

namespace pyfast {

// Writes result (groups * maps, channels, kernel y, kernel x), C-contiguous. The rows and pixels of
// `maps` must lie without gaps (row stride = width, column stride 1); `image` may have any strides.
template <class T>
void weight_gradient(const ConvGeometry& g, const Image<const T>& image, const Image<const T>& maps,
                     T* result);

}  // namespace pyfast
