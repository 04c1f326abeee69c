// Entry by entry; fold adds in double.
#include <algorithm>

#include "core/copy.h"
#include "ops/unfold/unfold.h"

namespace pyfast::reference {

namespace {

// body(column entry, image entry) for every column entry, image entry -1 where it is padding.
template <class Body>
void for_each_entry(const UnfoldParams& p, Body body) {
  const std::int64_t rows = p.batch * p.channels * p.taps();
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t block = 0; block < p.blocks(); ++block) {
      const std::int64_t ky = row / p.x.kernel % p.y.kernel, kx = row % p.x.kernel;
      const std::int64_t y = block / p.x.maps * p.y.stride + ky * p.y.dilation - p.y.padding;
      const std::int64_t x = block % p.x.maps * p.x.stride + kx * p.x.dilation - p.x.padding;
      const bool inside = y >= 0 && y < p.y.image && x >= 0 && x < p.x.image;
      const std::int64_t at = (row / p.taps() * p.y.image + y) * p.x.image + x;
      body(row * p.blocks() + block, inside ? at : -1);
    }
}

}  // namespace

void unfold_forward(const UnfoldParams& params, const TensorView& image,
                    const TensorView& columns) {
  visit(image.dtype, [&]<class T>() {
    const Contiguous<T> x(image);
    T* y = columns.as<T>();
    for_each_entry(params, [&](std::int64_t column, std::int64_t at) {
      y[column] = at < 0 ? T{0} : x.data()[at];
    });
  });
}

void fold_forward(const UnfoldParams& params, const TensorView& columns, const TensorView& image) {
  visit(image.dtype, [&]<class T>() {
    const Contiguous<T> x(columns);
    const Workspace<double> sums(image.numel());
    std::fill_n(sums.data(), sums.size(), 0.0);
    for_each_entry(params, [&](std::int64_t column, std::int64_t at) {
      if (at >= 0) sums[at] += double{x.data()[column]};
    });
    for (std::int64_t i = 0; i < sums.size(); ++i) image.as<T>()[i] = static_cast<T>(sums[i]);
  });
}

}  // namespace pyfast::reference
