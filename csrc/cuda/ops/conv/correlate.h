// Forward and the image's gradient on any GPU, as matrix products of tiles in shared memory: for
// one group, and operands that stage.h's copies, or the arrays themselves, show channels last.
#pragma once

#include <vector>

#include "cuda/ops/conv/stage.h"
#include "cuda/ops/conv/walk.h"

namespace pyfast::cuda {

struct TileCorrelation : CorrelationPart {
  // Of the array that is read, in elements, and its extents; of the weight, (row, tap y, tap x).
  std::int64_t n = 0, y_step = 0, x_step = 0;
  int height = 0, width = 0;
  std::int64_t weight_row = 0, weight_y = 0, weight_x = 0;
  std::int64_t column_step = 0;  // from a channel of the result to the next
  bool pairs = false;            // two neighbouring channels of the result are one word

  PYFAST_HOST_DEVICE int taps() const { return y.taps * x.taps; }
};

// `n`: of what is read, and written. The weight's rows are the result's channels.
std::vector<TileCorrelation> tile_correlations(const ConvIndices& n, bool of_image,
                                               const TensorView& written);

}  // namespace pyfast::cuda
