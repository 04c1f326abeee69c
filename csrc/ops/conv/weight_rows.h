// The operands of a weight's gradient as rows of points: how the grid is cut into stretches, and
// the channels of the image and of the maps under one, laid out alike as bands (band_plan.h).
#pragma once

#include <algorithm>

#include "core/memory.h"
#include "ops/conv/band_plan.h"
#include "ops/conv/conv.h"

namespace pyfast {

class WeightRows {
 public:
  static constexpr std::int64_t kRows = 32;  // at a time

  // Stretches of up to `points`, to be multiplied `step` points at a time.
  WeightRows(const ConvGeometry& g, const Image<const float>& image, const Image<const float>& maps,
             std::int64_t points, std::int64_t step)
      : image_(image),
        maps_(maps),
        flat_(is_flat(g, image)),
        plan_(best_plan(flat_ ? line(1) : gather_axis(g.y),
                        flat_ ? line(g.pixels()) : gather_axis(g.x), g.batch, points, step)),
        map_pitch_(round_up(std::max(plan_.widest(), plan_.samples() * plan_.sample_pitch()), 16)) {
  }

  const BandPlan& plan() const { return plan_; }
  // Floats that each_image() and each_maps() want to copy rows to.
  std::int64_t scratch() const { return kRows * std::max(plan_.channel_pitch(), map_pitch_); }

  // use(first channel, channels, rows, distance between rows, length), for channels from `first` on
  template <class Use>
  void each_image(const BandBlock& b, std::int64_t first, std::int64_t channels, float* scratch,
                  Use use) const {
    Image<const float> from = image_;
    from.data += first * from.channel;
    const bool direct = lies_flat(b, from.column);
    for (std::int64_t c = 0; c < channels; c += kRows, from.data += kRows * from.channel) {
      const std::int64_t count = std::min(kRows, channels - c);
      if (direct) {
        use(c, count, from.data + b.n * from.sample + b.x, from.channel, b.cols);
        continue;
      }
      // A smaller stretch, at an end of the grid, leaves what is there of the last one.
      if (plan_.width(b) < plan_.widest())
        std::fill_n(scratch, count * plan_.channel_pitch(), 0.0f);
      conv_kernels<float>().fill_planes(plan_.fill(from, count, b), scratch);
      use(c, count, scratch, plan_.channel_pitch(), plan_.channel_pitch());
    }
  }
  // The same of the maps, with zeros where the band has what lies between rows.
  template <class Use>
  void each_maps(const BandBlock& b, std::int64_t first, std::int64_t maps, float* scratch,
                 Use use) const {
    Image<const float> from = maps_;
    from.data += first * from.channel;
    const bool direct = lies_flat(b, from.column);
    for (std::int64_t o = 0; o < maps; o += kRows, from.data += kRows * from.channel) {
      const std::int64_t count = std::min(kRows, maps - o);
      if (!direct) conv_kernels<float>().fill_planes(fill(from, count, b), scratch);
      use(o, count, direct ? from.data + b.n * from.sample + b.x : scratch,
          direct ? from.channel : map_pitch_, plan_.width(b));
    }
  }

 private:
  static AxisPlan line(std::int64_t points) { return {points, points, 1, 1, 0, 1, 0, 1, 0, 1}; }

  // A 1 x 1 kernel over whole planes without gaps sees each as one row.
  static bool is_flat(const ConvGeometry& g, const Image<const float>& image) {
    const auto whole = [](const ConvAxis& a) {
      return a.kernel == 1 && a.stride == 1 && a.padding == 0 && a.maps == a.image;
    };
    return whole(g.y) && whole(g.x) && image.row == g.x.image * image.column;
  }
  bool lies_flat(const BandBlock& b, std::int64_t column) const {
    return flat_ && b.samples == 1 && column == 1;
  }

  // The one whose stretches, in whole steps and a step's time for their sums, are the shortest.
  static BandPlan best_plan(const AxisPlan& y, const AxisPlan& x, std::int64_t batch,
                            std::int64_t points, std::int64_t step) {
    const auto cost = [&](const BandPlan& plan) {
      const std::int64_t width = round_up(plan.widest(), step);
      return plan.blocks() * (width + step) * (width > points ? 2 : 1);
    };
    BandPlan best(y, x, batch, points);
    for (std::int64_t least = points / 2, columns = points - step; columns >= least;
         columns -= step) {
      const BandPlan plan(y, x, batch, columns);
      if (cost(plan) < cost(best)) best = plan;
    }
    return best;
  }

  BandFill<float> fill(const Image<const float>& from, std::int64_t count,
                       const BandBlock& b) const {
    const std::int64_t row = flat_ ? 0 : from.row, pitch = plan_.pitch();
    const std::int64_t rows = b.samples > 1 ? plan_.sample_pitch() / pitch : b.rows;
    return {from.data + b.n * from.sample,
            from.sample,
            from.channel,
            row,
            from.column,
            {b.y, 1, b.y + b.rows, 1, rows},
            {b.x, 1, b.x + b.cols, 1, pitch},
            b.samples,
            count,
            map_pitch_,
            b.samples * rows * pitch,
            plan_.sample_pitch(),
            pitch};
  }

  const Image<const float>& image_;
  const Image<const float>& maps_;
  bool flat_;
  BandPlan plan_;
  std::int64_t map_pitch_;  // between the maps of a stretch
};

}  // namespace pyfast
