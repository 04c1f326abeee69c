// A 1 x 1 kernel with strides: the points it meets are picked out of the source, a few samples at a
// time, and correlated as an image of stride 1. Lines of the source, of which a stride leaves much
// unread, pass through the caches once instead of once for every panel of weights.
#include "core/parallel.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/correlate.h"

namespace pyfast {

namespace {

constexpr std::int64_t kPickedBytes = 2 << 20;  // at a time, in L2

// Of the points of all samples side by side: an odd number of cache lines.
std::int64_t channel_pitch(std::int64_t points) { return (ceil_div(points, 16) | 1) * 16; }

// The points of samples [n, n + batch).
template <class T>
void pick(const Correlation<T>& c, std::int64_t n, std::int64_t batch, T* points) {
  constexpr std::int64_t kChannels = 16;  // of an item
  const std::int64_t pitch = channel_pitch(batch * c.grid()), all = c.groups * c.in;
  const auto axis = [](const AxisPlan& a) {
    return BandAxis{a.offset, a.stride, a.source, 1, a.grid};
  };
  parallel_for(ceil_div(all, kChannels), grain_for(kChannels * batch * c.grid() / 4 + 1),
               [&](std::int64_t begin, std::int64_t end) {
                 const std::int64_t first = begin * kChannels;
                 const T* from = c.source.data + n * c.source.sample + first * c.source.channel;
                 conv_kernels<T>().fill_inside(
                     {from, c.source.sample, c.source.channel, c.source.row, c.source.column,
                      axis(c.y), axis(c.x), batch, std::min(end * kChannels, all) - first, pitch, 0,
                      c.grid(), c.x.grid},
                     points + first * pitch);
               });
}

template <class T>
void use_points(Correlation<T>& c, const T* points) {
  c.source.data = points;
  c.source.sample = c.grid();
  c.source.channel = channel_pitch(c.batch * c.grid());
  c.source.row = c.x.grid;
  c.source.column = 1;
  for (AxisPlan* a : {&c.y, &c.x}) {
    a->source = a->grid;
    a->stride = 1;
    a->offset = 0;
  }
}

}  // namespace

template <class T>
bool prefers_picked(const Correlation<T>& c) {
  constexpr std::int64_t kLeastOut = 16;  // uses of a point
  const auto inside = [](const AxisPlan& a) {
    return a.offset >= 0 && a.offset + (a.grid - 1) * a.stride < a.source;
  };
  const std::int64_t sample = c.groups * c.in * c.grid() * static_cast<std::int64_t>(sizeof(T));
  return c.taps() == 1 && c.y.stride * c.x.stride > 1 && inside(c.y) && inside(c.x) &&
         c.out >= kLeastOut && sample > 0 && sample <= kPickedBytes;
}

template <class T>
void correlate_picked(const Correlation<T>& c) {
  const std::int64_t sample = c.groups * c.in * c.grid() * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t step = even_pieces(c.batch, kPickedBytes / sample);
  const Workspace<T> points(c.groups * c.in * channel_pitch(step * c.grid()));
  const ConvPanels<T> panels;  // of the weights, for all the samples
  for (std::int64_t n = 0; n < c.batch; n += step) {
    Correlation<T> some = c;
    some.batch = std::min(step, c.batch - n);
    pick(c, n, some.batch, points.data());
    use_points(some, points.data());
    const std::int64_t at = n * c.target.sample;
    some.target.data += at;
    if (c.linear) some.linear += at;
    if (c.residual) some.residual += at;
    if (!c.panels && step < c.batch) some.panels = &panels;
    correlate_product(some);
  }
}

template bool prefers_picked(const Correlation<float>&);
template bool prefers_picked(const Correlation<double>&);
template void correlate_picked(const Correlation<float>&);
template void correlate_picked(const Correlation<double>&);

}  // namespace pyfast
