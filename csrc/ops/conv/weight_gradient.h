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

// The same on AMX tiles; false, and nothing written, where these do not pay or would lose
// precision.
bool amx_weight_gradient(const ConvGeometry& g, const Image<const float>& image,
                         const Image<const float>& maps, float* result);

// The same on vectors, with maps in the lanes.
template <class T>
void lanes_weight_gradient(const ConvGeometry& g, const Image<const T>& image,
                           const Image<const T>& maps, T* result);
template <class T>
bool prefers_lanes(const ConvGeometry& g);

}  // namespace pyfast
