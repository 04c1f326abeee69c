// How correlate_lanes cuts the grid into blocks and tiles, and where a tile finds the source. By
// shapes alone.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ops/conv/band_plan.h"

namespace pyfast {

// One axis of the source under a block: rows with their padding, one after the other, where a tap
// is an offset and neighbouring grid points are `stride` apart. A single point has no neighbour:
// whatever stride it was given, its kernels are those of stride 1.
struct LanesReach {
  std::int64_t lowest, stride, span;
  std::int64_t skip = 1;  // source coordinates from one entry to the next

  explicit LanesReach(const AxisPlan& a)
      : lowest(a.offset + (a.step < 0 ? (a.taps - 1) * a.step : 0)),
        stride(a.grid == 1 ? 1 : a.stride),
        span((a.taps - 1) * std::abs(a.step)) {}

  // A copy for a single tap holds the points alone.
  void tighten() {
    if (span == 0) std::swap(stride, skip);
  }
  std::int64_t length(std::int64_t points) const { return (points - 1) * stride + span + 1; }
  std::int64_t position(const AxisPlan& a, std::int64_t tap) const {
    return a.offset + tap * a.step - lowest;
  }
  bool inside(const AxisPlan& a) const {
    return lowest >= 0 && lowest + length(a.grid) <= a.source;
  }
};

class LanesPlan {
 public:
  // Blocks of about `points` grid points; tiles of at most `tile`.
  template <class T>
  LanesPlan(const AxisPlan& y, const AxisPlan& x, std::int64_t batch, const Image<const T>& source,
            std::int64_t points, std::int64_t tile)
      : y_(y), x_(x), reach_y_(y), reach_x_(x), batch_(batch) {
    cols_ = x_.grid;
    if (cols_ > points + points / 2) cols_ = ceil_div(even_pieces(x_.grid, points), tile) * tile;
    rows_ = even_pieces(y_.grid, points / cols_);
    const bool whole = rows_ == y_.grid && cols_ == x_.grid;
    samples_ = whole ? even_pieces(batch_, points / (rows_ * cols_)) : 1;
    tile_rows_ = 2 * cols_ <= tile && rows_ > 1 ? 2 : 1;
    tile_cols_ = even_pieces(cols_, tile / tile_rows_);
    place(source, static_cast<std::int64_t>(sizeof(T)));
  }

  std::int64_t blocks() const { return ceil_div(batch_, samples_) * down() * across(); }
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
  std::int64_t points() const { return samples_ * rows_ * cols_; }
  std::int64_t tile_rows() const { return tile_rows_; }
  std::int64_t tile_cols() const { return tile_cols_; }
  std::int64_t tiles() const {
    return samples_ * ceil_div(rows_, tile_rows_) * ceil_div(cols_, tile_cols_);
  }

  // No copy is needed: taps stay inside the image.
  bool in_place() const { return in_place_; }
  std::int64_t channel_pitch() const { return channel_; }
  std::int64_t row_step() const { return reach_y_.stride * pitch_; }
  std::int64_t col_step() const { return reach_x_.stride; }
  // Where (channel, tap) of a block's first point lies.
  std::int64_t offset(std::int64_t channel, std::int64_t tap) const {
    return channel * channel_ + reach_y_.position(y_, tap / x_.taps) * pitch_ +
           reach_x_.position(x_, tap % x_.taps);
  }
  // Of a point in its block.
  std::int64_t point(std::int64_t n, std::int64_t y, std::int64_t x) const {
    return n * sample_ + y * row_step() + x * col_step();
  }
  // Of a block's first point under the lowest tap, in the source.
  template <class T>
  std::int64_t begin(const Image<const T>& s, const BandBlock& b) const {
    return b.n * s.sample + (reach_y_.lowest + b.y * y_.stride) * s.row +
           (reach_x_.lowest + b.x * x_.stride) * s.column;
  }
  // `source` at the first channel wanted.
  template <class T>
  BandFill<T> fill(const Image<const T>& source, std::int64_t channels, const BandBlock& b) const {
    const auto axis = [](const AxisPlan& a, const LanesReach& r, std::int64_t at, std::int64_t n) {
      return BandAxis{r.lowest + at * a.stride, r.skip, a.source, 1, r.length(n)};
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
            channel_,
            0,
            sample_,
            pitch_};
  }

 private:
  std::int64_t down() const { return ceil_div(y_.grid, rows_); }
  std::int64_t across() const { return ceil_div(x_.grid, cols_); }

  template <class T>
  void place(const Image<const T>& s, std::int64_t item) {
    // Channels that lie a multiple of this apart compete for few sets of the caches.
    constexpr std::int64_t kAlias = 1024, kLine = 16;
    in_place_ = s.column == 1 && reach_y_.inside(y_) && reach_x_.inside(x_) &&
                s.channel * item % kAlias != 0;
    if (in_place_) {
      pitch_ = s.row, sample_ = s.sample, channel_ = s.channel;
      return;
    }
    reach_y_.tighten();
    reach_x_.tighten();
    pitch_ = reach_x_.length(cols_);
    sample_ = reach_y_.length(rows_) * pitch_;
    channel_ = (ceil_div(samples_ * sample_, kLine) | 1) * kLine;
  }

  AxisPlan y_, x_;
  LanesReach reach_y_, reach_x_;
  std::int64_t batch_, cols_, rows_, samples_, tile_rows_, tile_cols_;
  bool in_place_ = false;
  std::int64_t pitch_ = 0, sample_ = 0, channel_ = 0;  // in the band, or in the source
};

}  // namespace pyfast
