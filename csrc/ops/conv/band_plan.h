// How a correlation is cut into blocks of the grid, and where the source under a block lies in the
// band. By shapes alone.
#pragma once

#include <algorithm>

#include "core/memory.h"
#include "ops/conv/correlate.h"
#include "ops/conv/kernel.h"

namespace pyfast {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t n, std::int64_t unit) { return ceil_div(n, unit) * unit; }

// The size of equal pieces, none above `limit`, that cover `total`.
inline std::int64_t even_pieces(std::int64_t total, std::int64_t limit) {
  return ceil_div(total, ceil_div(total, std::max<std::int64_t>(limit, 1)));
}

// One axis of the band: entry j of phase p is source coordinate lowest + p + j stride.
struct BandReach {
  std::int64_t lowest, stride, phases;
  std::int64_t reach;   // entries beyond the grid's
  std::int64_t shared;  // zeros at both ends, of which rows laid end to end need but one's

  explicit BandReach(const AxisPlan& a)
      : lowest(a.offset + (a.step < 0 ? (a.taps - 1) * a.step : 0)), stride(a.stride) {
    const std::int64_t span = (a.taps - 1) * std::abs(a.step);
    phases = std::min(stride, span + 1);
    reach = span / stride;
    shared = reach;
    for (std::int64_t p = 0; p < phases; ++p) {
      const std::int64_t first = lowest + p, last = first + (a.grid + reach - 1) * stride;
      const std::int64_t before = first < 0 ? (-first - 1) / stride + 1 : 0;
      const std::int64_t behind = last >= a.source ? (last - a.source) / stride + 1 : 0;
      shared = std::min({shared, before, behind});
    }
  }
  // Of a tap: the plane it reads, and the shift in it.
  std::int64_t position(const AxisPlan& a, std::int64_t tap) const {
    return a.offset + tap * a.step - lowest;
  }
};

struct BandBlock {
  std::int64_t n, y, x, samples, rows, cols;
};

class BandPlan {
 public:
  // Blocks of about `columns` grid points, with the zeros between rows if these are `counted`.
  BandPlan(const AxisPlan& y, const AxisPlan& x, std::int64_t batch, std::int64_t columns,
           bool counted = true)
      : y_(y), x_(x), reach_y_(y), reach_x_(x), batch_(batch) {
    constexpr std::int64_t kVector = 32;
    cols_ = x.grid;
    if (cols_ > columns + columns / 2)
      cols_ = ceil_div(even_pieces(x.grid, columns), kVector) * kVector;
    pitch_ = cols_ + reach_x_.reach - (cols_ == x.grid ? reach_x_.shared : 0);
    rows_ = even_pieces(y.grid, std::max<std::int64_t>(1, columns / (counted ? pitch_ : cols_)));
    const bool whole = rows_ == y.grid && cols_ == x.grid;
    sample_pitch_ = (rows_ + reach_y_.reach - (whole ? reach_y_.shared : 0)) * pitch_;
    samples_ = whole
                   ? even_pieces(batch, std::max<std::int64_t>(
                                            1, columns / (counted ? sample_pitch_ : rows_ * cols_)))
                   : 1;
    plane_ = (samples_ - 1) * sample_pitch_ + (rows_ + reach_y_.reach) * pitch_ + reach_x_.shared;
    // An odd number of cache lines: channels spread over the sets of L1.
    channel_pitch_ = (ceil_div(plane_ * phases(), kLine) | 1) * kLine;
  }

  std::int64_t phases() const { return reach_y_.phases * reach_x_.phases; }
  std::int64_t blocks() const { return ceil_div(batch_, samples_) * down() * across(); }
  std::int64_t channel_pitch() const { return channel_pitch_; }
  std::int64_t pitch() const { return pitch_; }
  std::int64_t samples() const { return samples_; }  // of a block
  std::int64_t sample_pitch() const { return sample_pitch_; }

  BandBlock block(std::int64_t i) const {
    const std::int64_t x = i % across() * cols_, y = i / across() % down() * rows_;
    const std::int64_t n = i / (across() * down()) * samples_;
    return {n,
            y,
            x,
            std::min(samples_, batch_ - n),
            std::min(rows_, y_.grid - y),
            std::min(cols_, x_.grid - x)};
  }
  // Entries per grid point, most of which are the zeros between rows.
  double waste() const {
    const BandBlock b = block(0);
    return static_cast<double>(width(b)) / static_cast<double>(b.samples * b.rows * b.cols);
  }
  // Entries from a block's first grid point to behind its last.
  std::int64_t width(const BandBlock& b) const {
    return (b.samples - 1) * sample_pitch_ + (b.rows - 1) * pitch_ + b.cols;
  }
  std::int64_t widest() const { return width(block(0)); }
  // Where (channel, tap) begins in the band.
  std::int64_t offset(std::int64_t channel, std::int64_t tap) const {
    const std::int64_t y = reach_y_.position(y_, tap / x_.taps);
    const std::int64_t x = reach_x_.position(x_, tap % x_.taps);
    const std::int64_t phase = y % y_.stride * reach_x_.phases + x % x_.stride;
    return channel * channel_pitch_ + phase * plane_ + y / y_.stride * pitch_ + x / x_.stride;
  }
  // `source` at the first channel wanted.
  template <class T>
  BandFill<T> fill(const Image<const T>& source, std::int64_t channels, const BandBlock& b) const {
    const auto axis = [](const AxisPlan& a, const BandReach& r, std::int64_t at, std::int64_t n) {
      return BandAxis{r.lowest + at * a.stride, a.stride, a.source, r.phases, n + r.reach};
    };
    return {source.data + b.n * source.sample,
            source.sample,
            source.channel,
            source.row,
            source.column,
            axis(y_, reach_y_, b.y, b.rows),
            axis(x_, reach_x_, b.x, b.cols),
            b.samples,
            channels,
            channel_pitch_,
            plane_,
            sample_pitch_,
            pitch_};
  }

 private:
  static constexpr std::int64_t kLine = 16;
  std::int64_t down() const { return ceil_div(y_.grid, rows_); }
  std::int64_t across() const { return ceil_div(x_.grid, cols_); }

  AxisPlan y_, x_;
  BandReach reach_y_, reach_x_;
  std::int64_t batch_, cols_, rows_, samples_, pitch_, sample_pitch_, plane_, channel_pitch_;
};

// plan.offset(i / taps, i % taps) for every depth i: the division of a tap into row and column is
// made for the first channel's first row and column only, as it took a third of a tiny call.
template <class Plan>
void list_offsets(const Plan& plan, std::int64_t taps_y, std::int64_t taps_x,
                  const Workspace<std::int64_t>& offsets) {
  const std::int64_t taps = taps_y * taps_x;
  for (std::int64_t x = 0; x < taps_x; ++x) offsets[x] = plan.offset(0, x);
  for (std::int64_t y = 1; y < taps_y; ++y) {
    const std::int64_t down = plan.offset(0, y * taps_x) - offsets[0];
    for (std::int64_t x = 0; x < taps_x; ++x) offsets[y * taps_x + x] = offsets[x] + down;
  }
  for (std::int64_t i = taps; i < offsets.size(); ++i)
    offsets[i] = offsets[i - taps] + plan.channel_pitch();
}

}  // namespace pyfast
