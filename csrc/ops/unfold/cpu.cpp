#include <algorithm>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/conv/kernel.h"
#include "ops/conv/layout.h"
#include "ops/unfold/unfold.h"

namespace pyfast {

namespace {

// The blocks x for which tap `k` falls inside: first <= x < last.
struct Inside {
  std::int64_t first, last;
  Inside(const ConvAxis& a, std::int64_t k) {
    const std::int64_t before = a.padding - k * a.dilation;  // x stride >= before is inside
    first = before <= 0 ? 0 : (before - 1) / a.stride + 1;
    const std::int64_t end = a.image + before;
    last = end <= 0 ? 0 : std::min(a.maps, (end - 1) / a.stride + 1);
  }
};

template <class T>
void add_row(T* image, const T* columns, std::int64_t n, std::int64_t step) {
  if (step == 1)
    for (std::int64_t i = 0; i < n; ++i) image[i] += columns[i];
  else
    for (std::int64_t i = 0; i < n; ++i) image[i * step] += columns[i];
}

// Adds one tap's entries to the plane.
template <class T>
void add_tap(const UnfoldParams& p, std::int64_t ky, std::int64_t kx, const T* columns, T* image) {
  const Inside ys(p.y, ky), xs(p.x, kx);
  if (xs.first >= xs.last) return;
  const std::int64_t x = xs.first * p.x.stride + kx * p.x.dilation - p.x.padding;
  for (std::int64_t by = ys.first; by < ys.last; ++by) {
    const std::int64_t y = by * p.y.stride + ky * p.y.dilation - p.y.padding;
    add_row(image + y * p.x.image + x, columns + by * p.x.maps + xs.first, xs.last - xs.first,
            p.x.stride);
  }
}

}  // namespace

void unfold_forward(const UnfoldParams& params, const TensorView& image,
                    const TensorView& columns) {
  visit(image.dtype, [&]<class T>() {
    const Image<const T> x(image, 2);
    const Patches<T> patches{
        x.data, x.sample, x.channel, x.row, x.column, gather_axis(params.y), gather_axis(params.x)};
    const std::int64_t blocks = params.blocks(), rows = params.channels * params.taps();
    T* y = columns.as<T>();
    parallel_for(params.batch * rows, grain_for(blocks), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end;) {
        const std::int64_t n = i / rows, count = std::min(end - i, rows - i % rows);
        conv_kernels<T>().gather_rows(patches, y + i * blocks, blocks, i % rows, count, n * blocks,
                                      blocks);
        i += count;
      }
    });
  });
}

void fold_forward(const UnfoldParams& params, const TensorView& columns, const TensorView& image) {
  visit(image.dtype, [&]<class T>() {
    const Contiguous<T> x(columns);
    const std::int64_t entries = params.taps() * params.blocks();
    const std::int64_t pixels = params.y.image * params.x.image;
    parallel_for(params.batch * params.channels, grain_for(entries),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     T* plane = image.as<T>() + i * pixels;
                     std::fill_n(plane, pixels, T{0});
                     for (std::int64_t t = 0; t < params.taps(); ++t)
                       add_tap(params, t / params.x.kernel, t % params.x.kernel,
                               x.data() + i * entries + t * params.blocks(), plane);
                   }
                 });
  });
}

}  // namespace pyfast
