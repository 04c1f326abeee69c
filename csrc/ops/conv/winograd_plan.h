// How correlate_winograd cuts the grid into blocks of tiles of 2 x 2 points. By shapes alone.
#pragma once

#include "ops/conv/band_plan.h"

namespace pyfast {

class WinogradPlan {
 public:
  // Blocks of about `tiles` tiles.
  template <class T>
  WinogradPlan(const Correlation<T>& c, std::int64_t tiles) : y_(c.y), x_(c.x), batch_(c.batch) {
    const std::int64_t down = ceil_div(y_.grid, 2), across = ceil_div(x_.grid, 2);
    cols_ = across > tiles + tiles / 2 ? even_pieces(across, tiles) : across;
    rows_ = even_pieces(down, tiles / cols_);
    samples_ = rows_ == down && cols_ == across ? even_pieces(batch_, tiles / (rows_ * cols_)) : 1;
  }

  std::int64_t blocks() const { return ceil_div(batch_, samples_) * down() * across(); }
  // In points of the grid; only the last of a row or column of blocks has halves of tiles.
  BandBlock block(std::int64_t i) const {
    const std::int64_t x = i % across() * cols_ * 2, y = i / across() % down() * rows_ * 2;
    const std::int64_t n = i / (across() * down()) * samples_;
    return {n,
            y,
            x,
            std::min(samples_, batch_ - n),
            std::min(2 * rows_, y_.grid - y),
            std::min(2 * cols_, x_.grid - x)};
  }
  std::int64_t tiles() const { return samples_ * rows_ * cols_; }
  std::int64_t tile_rows() const { return rows_; }
  std::int64_t tile_cols() const { return cols_; }
  std::int64_t samples() const { return samples_; }

  // A channel of what a block's tiles see, row by row, sample by sample.
  std::int64_t pitch() const { return 2 * cols_ + 2; }
  std::int64_t plane() const { return (2 * rows_ + 2) * pitch(); }
  // `source` at the first channel wanted.
  template <class T>
  BandFill<T> fill(const Image<const T>& source, std::int64_t channels, const BandBlock& b) const {
    const auto axis = [](const AxisPlan& a, std::int64_t at, std::int64_t points) {
      return BandAxis{a.offset + (a.step < 0 ? 2 * a.step : 0) + at, 1, a.source, 1,
                      2 * ceil_div(points, 2) + 2};
    };
    return {source.data + b.n * source.sample,
            source.sample,
            source.channel,
            source.row,
            source.column,
            axis(y_, b.y, b.rows),
            axis(x_, b.x, b.cols),
            b.samples,
            channels,
            samples_ * plane(),
            0,
            plane(),
            pitch()};
  }

 private:
  std::int64_t down() const { return ceil_div(y_.grid, 2 * rows_); }
  std::int64_t across() const { return ceil_div(x_.grid, 2 * cols_); }

  AxisPlan y_, x_;
  std::int64_t batch_, samples_, rows_, cols_;
};

}  // namespace pyfast
