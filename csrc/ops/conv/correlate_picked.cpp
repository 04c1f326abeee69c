// Correlations of a copy of the source, made a few samples at a time.
//
// A 1 x 1 kernel with strides: the points it meets are picked out, and correlated as an image of
// stride 1. Lines of the source, of which a stride leaves much unread, pass through the caches once
// instead of once for every panel of weights.
// Few channels a group, side by side in memory: turned into planes, as the direct kernels want
// them.
#include "core/parallel.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/correlate.h"

namespace pyfast {

namespace {

constexpr std::int64_t kPickedBytes = 2 << 20;  // at a time, in L2

// Of the points of all samples side by side: an odd number of cache lines.
std::int64_t channel_pitch(std::int64_t points) { return (ceil_div(points, 16) | 1) * 16; }

// Entries [first, first + count stride) of an axis of the source.
struct Picked {
  std::int64_t first, stride, count;
  BandAxis axis(std::int64_t source) const { return {first, stride, source, 1, count}; }
};

// Of samples [n, n + batch).
template <class T>
void pick(const Correlation<T>& c, std::int64_t n, std::int64_t batch, const Picked& y,
          const Picked& x, T* points) {
  constexpr std::int64_t kChannels = 48;  // of an item
  const std::int64_t plane = y.count * x.count, pitch = channel_pitch(batch * plane);
  const std::int64_t all = c.groups * c.in;
  parallel_for(ceil_div(all, kChannels), grain_for(kChannels * batch * plane / 4 + 1),
               [&](std::int64_t begin, std::int64_t end) {
                 const std::int64_t first = begin * kChannels;
                 const T* from = c.source.data + n * c.source.sample + first * c.source.channel;
                 conv_kernels<T>().fill_inside(
                     {from, c.source.sample, c.source.channel, c.source.row, c.source.column,
                      y.axis(c.y.source), x.axis(c.x.source), batch,
                      std::min(end * kChannels, all) - first, pitch, 0, plane, x.count},
                     points + first * pitch);
               });
}

template <class T>
std::int64_t sample_bytes(const Correlation<T>& c, std::int64_t plane) {
  return c.groups * c.in * plane * static_cast<std::int64_t>(sizeof(T));
}

// Whether there are samples, of which one fits.
template <class T>
bool fits(const Correlation<T>& c, std::int64_t plane) {
  const std::int64_t bytes = sample_bytes(c, plane);
  return c.batch > 0 && bytes > 0 && bytes <= kPickedBytes;
}

// work(correlation) for a few samples after the other, whose source is what was picked.
template <class T, class Work>
void each_copy(const Correlation<T>& c, const Picked& y, const Picked& x, Work work) {
  const std::int64_t plane = y.count * x.count;
  const std::int64_t step = even_pieces(c.batch, kPickedBytes / sample_bytes(c, plane));
  const Workspace<T> points(c.groups * c.in * channel_pitch(step * plane));
  const ConvPanels<T> panels;  // of the weights, for all the samples
  for (std::int64_t n = 0; n < c.batch; n += step) {
    Correlation<T> some = c;
    some.batch = std::min(step, c.batch - n);
    pick(c, n, some.batch, y, x, points.data());
    some.source.data = points.data();
    some.source.sample = plane;
    some.source.channel = channel_pitch(some.batch * plane);
    some.source.row = x.count;
    some.source.column = 1;
    const std::int64_t at = n * c.target.sample;
    some.target.data += at;
    if (c.linear) some.linear += at;
    if (c.residual) some.residual += at;
    if (!c.panels && step < c.batch) some.panels = &panels;
    work(some);
  }
}

}  // namespace

template <class T>
bool prefers_picked(const Correlation<T>& c) {
  constexpr std::int64_t kLeastOut = 16;  // uses of a point
  const auto inside = [](const AxisPlan& a) {
    return a.offset >= 0 && a.offset + (a.grid - 1) * a.stride < a.source;
  };
  return c.taps() == 1 && c.y.stride * c.x.stride > 1 && inside(c.y) && inside(c.x) &&
         c.out >= kLeastOut && fits(c, c.grid());
}

template <class T>
void correlate_picked(const Correlation<T>& c) {
  each_copy(c, {c.y.offset, c.y.stride, c.y.grid}, {c.x.offset, c.x.stride, c.x.grid},
            [](Correlation<T>& some) {
              for (AxisPlan* a : {&some.y, &some.x}) {
                a->source = a->grid;
                a->stride = 1;
                a->offset = 0;
              }
              correlate_product(some);
            });
}

template <class T>
bool prefers_turned(const Correlation<T>& c) {
  return c.in == 1 && c.groups > 1 && c.source.channel == 1 && c.source.column > 1 &&
         prefers_direct(c) && fits(c, c.y.source * c.x.source);
}

template <class T>
void correlate_turned(const Correlation<T>& c) {
  each_copy(c, {0, 1, c.y.source}, {0, 1, c.x.source},
            [](const Correlation<T>& some) { correlate(some); });
}

template bool prefers_turned(const Correlation<float>&);
template bool prefers_turned(const Correlation<double>&);
template void correlate_turned(const Correlation<float>&);
template void correlate_turned(const Correlation<double>&);
template bool prefers_picked(const Correlation<float>&);
template bool prefers_picked(const Correlation<double>&);
template void correlate_picked(const Correlation<float>&);
template void correlate_picked(const Correlation<double>&);

}  // namespace pyfast
