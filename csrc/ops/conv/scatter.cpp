// One correlation for each phase of the stride that meets a tap.
//
// Points of a phase lie a stride apart. Storing such is slow, an element at a time, so under a
// stride of 2 each phase is computed as an image of its own, a few samples at a time, and a pass
// weaves them together.
#include "ops/conv/scatter.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/kernel.h"

namespace pyfast {

namespace {

constexpr std::int64_t kWovenBytes = 4 << 20;  // of phases at a time

// After one correlation that writes the bias where points meet no tap.
template <class T>
void scatter_in_place(const ConvGeometry& g, Correlation<T> c) {
  if (leaves_points(g.y) || leaves_points(g.x)) {
    c.y = untouched_axis(g.y);
    c.x = untouched_axis(g.x);
    correlate(c);
  }
  for (std::int64_t y = 0; y < scatter_phases(g.y); ++y)
    for (std::int64_t x = 0; x < scatter_phases(g.x); ++x) {
      c.y = scatter_axis(g.y, y);
      c.x = scatter_axis(g.x, x);
      if (c.grid() > 0) correlate(c);
    }
}

template <class T>
class Weave {
 public:
  Weave(const ConvGeometry& g, const Correlation<T>& c)
      : c_(c),
        height_(g.y.image),
        width_(g.x.image),
        down_(phases_of(g.y)),
        across_(phases_of(g.x)),
        pitch_(ceil_div(width_, 2)),
        plane_(ceil_div(height_, g.y.stride) * pitch_),
        channels_(c.groups * c.out),
        step_(even_pieces(c.batch,
                          kWovenBytes / (std::int64_t{sizeof(T)} * phases() * channels_ * plane_))),
        woven_(phases() * step_ * channels_ * plane_),
        zeros_(plane_) {
    std::fill_n(zeros_.data(), plane_, T{0});
  }

  static bool suits(const ConvGeometry& g, const Correlation<T>& c) {
    const bool plain = !c.bias && c.activation == Activation::none;
    const bool all = !leaves_points(g.y) && !leaves_points(g.x);
    return g.x.stride == 2 && c.in > 1 && c.batch * c.out * g.y.image > 0 && g.x.image > 1 &&
           c.target.column == 1 && !c.linear && (plain || all) && !phases_of(g.y).empty() &&
           !phases_of(g.x).empty();
  }

  void run() const {
    const std::vector<ConvPanels<T>> panels(phases());  // of the weights, for all the samples
    for (std::int64_t n = 0; n < c_.batch; n += step_) {
      const std::int64_t batch = std::min(step_, c_.batch - n);
      for (std::size_t y = 0; y < down_.size(); ++y)
        for (std::size_t x = 0; x < across_.size(); ++x) {
          const std::size_t i = y * across_.size() + x;
          compute(n, batch, down_[y], across_[x], i, step_ < c_.batch ? &panels[i] : nullptr);
        }
      weave(n, batch);
    }
  }

 private:
  // Those that meet taps and have points.
  static std::vector<AxisPlan> phases_of(const ConvAxis& a) {
    std::vector<AxisPlan> all;
    for (std::int64_t t = 0; t < scatter_phases(a); ++t)
      if (const AxisPlan plan = scatter_axis(a, t); plan.grid > 0) all.push_back(plan);
    return all;
  }
  std::int64_t phases() const { return static_cast<std::int64_t>(down_.size() * across_.size()); }
  T* phase(std::size_t i) const {
    return woven_.data() + static_cast<std::int64_t>(i) * step_ * channels_ * plane_;
  }

  void compute(std::int64_t n, std::int64_t batch, const AxisPlan& y, const AxisPlan& x,
               std::size_t i, const ConvPanels<T>* panels) const {
    Correlation<T> c = c_;
    c.y = y;
    c.x = x;
    for (AxisPlan* a : {&c.y, &c.x}) {
      a->first_target = 0;
      a->target_step = 1;
    }
    c.batch = batch;
    c.source.data += n * c.source.sample;
    c.target.data = phase(i);
    c.target.sample = channels_ * plane_;
    c.target.channel = plane_;
    c.target.row = pitch_;
    c.target.column = 1;
    c.panels = panels;
    correlate(c);
  }

  void weave(std::int64_t n, std::int64_t batch) const {
    parallel_for(batch * channels_, grain_for(height_ * width_ / 4 + 1),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t p = begin; p < end; ++p)
                     weave_plane(p, &c_.target.at(n + p / channels_, p % channels_, 0, 0));
                 });
  }

  void weave_plane(std::int64_t p, T* out) const {
    const std::int64_t row = c_.target.row;
    const std::int64_t rows_apart = down_[0].target_step;
    for (std::int64_t r = 0; r < rows_apart; ++r) {  // rows of which no phase is remain zero
      const T* columns[] = {zeros_.data(), zeros_.data()};
      std::int64_t rows = ceil_div(height_ - r, rows_apart);
      for (std::size_t y = 0; y < down_.size(); ++y)
        for (std::size_t x = 0; x < across_.size(); ++x)
          if (down_[y].first_target == r)
            columns[across_[x].first_target] = phase(y * across_.size() + x) + p * plane_;
      if (rows > 0)
        conv_kernels<T>().interleave(columns[0], columns[1], pitch_, out + r * row,
                                     rows_apart * row, rows, width_);
    }
  }

  const Correlation<T>& c_;
  std::int64_t height_, width_;
  std::vector<AxisPlan> down_, across_;
  std::int64_t pitch_, plane_, channels_;  // of a phase: its rows, and a channel of it
  std::int64_t step_;                      // samples at a time
  Workspace<T> woven_, zeros_;
};

}  // namespace

template <class T>
void scatter(const ConvGeometry& g, Correlation<T> c) {
  Weave<T>::suits(g, c) ? Weave<T>(g, c).run() : scatter_in_place(g, c);
}

template void scatter(const ConvGeometry&, Correlation<float>);
template void scatter(const ConvGeometry&, Correlation<double>);

}  // namespace pyfast
