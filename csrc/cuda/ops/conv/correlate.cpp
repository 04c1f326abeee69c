#include "cuda/ops/conv/correlate.h"

namespace pyfast::cuda {

std::vector<TileCorrelation> tile_correlations(const ConvIndices& n, bool of_image,
                                               const TensorView& written) {
  const ConvStrides &from = of_image ? n.of_maps : n.image, &to = of_image ? n.image : n.of_maps;
  std::vector<TileCorrelation> all;
  for (const CorrelationPart& part : correlation_parts(n, of_image)) {
    TileCorrelation& c = all.emplace_back();
    static_cast<CorrelationPart&>(c) = part;
    c.n = from.n;
    c.y_step = from.y;
    c.x_step = from.x;
    c.height = static_cast<int>(of_image ? n.y.maps : n.y.image);
    c.width = static_cast<int>(of_image ? n.x.maps : n.x.image);
    c.weight_row = n.weight.n;
    c.weight_y = n.weight.y;
    c.weight_x = n.weight.x;
    c.column_step = to.c;
    c.pairs = to.c == 1 && (part.columns | part.places.first | to.n | to.y | to.x) % 2 == 0 &&
              reinterpret_cast<std::uintptr_t>(written.data) % (2 * item_size(written.dtype)) == 0;
  }
  return all;
}

}  // namespace pyfast::cuda
