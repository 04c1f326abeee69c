// The band of a source plane that the direct kernels read: the rows under a block of grid rows,
// padded with zeros and cut by column residue modulo the stride, so that neighbouring grid points
// find neighbouring elements under every tap.
#pragma once

#include <algorithm>

#include "core/memory.h"
#include "ops/conv/kernel.h"
#include "ops/conv/layout.h"

namespace pyfast {

// A block of the grid.
struct GridBlock {
  std::int64_t y, x, rows, cols;
};

class BandLayout {
 public:
  BandLayout(const AxisPlan& y, const AxisPlan& x)
      : y_(y),
        x_(x),
        y_reach_((y.taps - 1) * std::abs(y.step)),
        x_reach_((x.taps - 1) * std::abs(x.step)) {
    constexpr std::int64_t kElements = 6144, kCols = 2048;  // a band within L1
    cols_ = std::min(x.grid, kCols);
    rows_ = std::clamp<std::int64_t>(
        kElements / (cols_ * std::min(x.stride, x_reach_ + 1)) / std::min(y.stride, kElements), 1,
        y.grid);
    if (rows_ > 0) rows_ = blocks_of(y.grid, blocks_of(y.grid, rows_));  // even blocks
    length_ = cols_ + x_reach_ / x.stride;
    phases_ = std::min(x.stride, x_reach_ + 1);
    band_rows_ = (rows_ - 1) * y.stride + y_reach_ + 1;
  }

  // Is the band small? Far dilations make it mostly zeros.
  static bool fits(const AxisPlan& y, const AxisPlan& x) {
    constexpr std::int64_t kReach = 512;
    return y.taps > 0 && x.taps > 0 && (y.taps - 1) * std::abs(y.step) < kReach &&
           (x.taps - 1) * std::abs(x.step) < kReach && y.stride < kReach && x.stride < kReach;
  }

  std::int64_t taps() const { return y_.taps * x_.taps; }
  std::int64_t size() const { return phases_ * band_rows_ * length_ + kDirectSlack; }
  std::int64_t length() const { return length_; }  // of a row
  std::int64_t block_size() const { return rows_ * cols_; }
  std::int64_t blocks() const { return blocks_of(y_.grid, rows_) * blocks_of(x_.grid, cols_); }

  GridBlock block(std::int64_t i) const {
    const std::int64_t across = blocks_of(x_.grid, cols_);
    const std::int64_t y = i / across * rows_, x = i % across * cols_;
    return {y, x, std::min(rows_, y_.grid - y), std::min(cols_, x_.grid - x)};
  }

  // Taps are counted as they lie in the band: this is the plan's number of tap t.
  std::int64_t tap(std::int64_t t) const {
    const std::int64_t ty = t / x_.taps, tx = t % x_.taps;
    return (y_.step < 0 ? y_.taps - 1 - ty : ty) * x_.taps + (x_.step < 0 ? x_.taps - 1 - tx : tx);
  }

  // Where each tap begins in the band.
  Workspace<std::int64_t> offsets() const {
    Workspace<std::int64_t> offsets(taps());
    for (std::int64_t t = 0; t < taps(); ++t) {
      const std::int64_t ty = position(y_, tap(t) / x_.taps);
      const std::int64_t tx = position(x_, tap(t) % x_.taps);
      offsets[t] = ((tx % x_.stride) * band_rows_ + ty) * length_ + tx / x_.stride;
    }
    return offsets;
  }

  // Fills the band for a block; `plane` is the source's channel of one sample.
  template <class T>
  DirectRows<T> fill(T* band, const T* plane, const Image<const T>& source, const GridBlock& block,
                     const std::int64_t* offsets) const {
    Patches<T> rows{plane, 0, 0, source.row, source.column, y_, x_};
    rows.y.offset = lowest(y_) + block.y * y_.stride;
    rows.y.grid = band_rows_;
    rows.x.offset = lowest(x_) + block.x * x_.stride;
    rows.x.grid = length_;
    rows.x.taps = phases_;
    conv_kernels<T>().fill_band(rows, band);
    const bool dense = y_.taps == x_.taps && std::abs(y_.step) == 1 && std::abs(x_.step) == 1;
    return {band,
            y_.stride * length_,
            block.rows,
            block.cols,
            offsets,
            static_cast<int>(taps()),
            dense ? static_cast<int>(y_.taps) : 0,
            static_cast<int>(y_.stride)};
  }

 private:
  static std::int64_t blocks_of(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }
  static std::int64_t lowest(const AxisPlan& a) {
    return a.offset + (a.step < 0 ? (a.taps - 1) * a.step : 0);
  }
  // Of a tap, from the lowest on.
  static std::int64_t position(const AxisPlan& a, std::int64_t tap) {
    return a.offset + tap * a.step - lowest(a);
  }

  AxisPlan y_, x_;
  std::int64_t y_reach_, x_reach_, rows_, cols_, length_, phases_, band_rows_;
};

}  // namespace pyfast
