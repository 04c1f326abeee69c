// Maps spread through a weight over their image: an input's gradient, and transposed convolutions.
#pragma once

#include "ops/conv/conv.h"
#include "ops/conv/correlate.h"

namespace pyfast {

// `c` has maps as its source and the image as its target; its axes are set here.
template <class T>
void scatter(const ConvGeometry& g, Correlation<T> c);

}  // namespace pyfast
