// The gradients of a depthwise convolution: one channel and one map in each group. Both are formed
// plane by plane, so that a plane of the maps' gradient comes from memory once for the two.
#pragma once

#include "ops/conv/conv.h"
#include "ops/conv/layout.h"

namespace pyfast {

bool is_depthwise(const ConvGeometry& g);

// Writes grad_image (C-contiguous) and grad_weight, where they are not null. `image` is looked at
// for grad_weight only, `weight` for grad_image.
template <class T>
void depthwise_gradients(const ConvGeometry& g, const Image<const T>& image,
                         const Image<const T>& maps, const T* weight, T* grad_image,
                         T* grad_weight);

}  // namespace pyfast
