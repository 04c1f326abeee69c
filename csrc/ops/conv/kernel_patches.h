// A stretch of neighbouring columns of the patch matrix, and where its elements lie for one tap.
// Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_pack.h"
#include "ops/conv/kernel.h"
#include "ops/conv/kernel_rows.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int kMaxColumns = 512;

// Neighbours within one row of the grid, with the source coordinates of the first at tap 0.
struct Segment {
  std::int64_t sample, y, x;
  int to, count;
};

// `load` elements from an offset into the source, `store` - `load` zeros behind them; both at most
// a vector.
struct Run {
  std::int64_t from;
  int to, load, store;
};

template <class T>
class Stretch {
 public:
  // Columns [column, column + cols), then zeros up to `width` <= kMaxColumns.
  Stretch(const Patches<T>& p, std::int64_t column, int cols, int width)
      : p_(p), step_(p.x.grid > 1 ? p.x.stride * p.column : 1), cols_(cols), width_(width) {
    const std::int64_t plane = p.y.grid * p.x.grid;
    std::int64_t n = column / plane, y = column % plane / p.x.grid, x = column % p.x.grid;
    for (int to = 0; to < cols;) {
      const std::int64_t rest = p.x.grid - x;
      const int count = rest < cols - to ? static_cast<int>(rest) : cols - to;
      segments_[size_++] = {n * p.sample, y * p.y.stride + p.y.offset, x * p.x.stride + p.x.offset,
                            to, count};
      to += count;
      x = 0;
      if (++y == p.y.grid) y = 0, ++n;
    }
  }

  void find_runs(std::int64_t ty, std::int64_t tx) {
    runs_size_ = 0;
    for (int i = 0; i < size_; ++i) {
      const Segment& s = segments_[i];
      const std::int64_t y = s.y + ty * p_.y.step, x = s.x + tx * p_.x.step;
      if (y < 0 || y >= p_.y.source)
        add_zeros(s.to, s.count);
      else
        add_row(s, s.sample + y * p_.row, x);
    }
    add_zeros(cols_, width_ - cols_);
  }

  // out[c * stride + i] for i < width and c < channels, from the channels at `source`, under the
  // tap of the last find_runs.
  void copy(T* out, std::int64_t stride, const T* source, std::int64_t channels) const {
    if (p_.channel == 1 && step_ != 1) return copy_turned(out, stride, source, channels);
    for (std::int64_t c = 0; c < channels; ++c, out += stride, source += p_.channel)
      if (step_ == 1)
        copy_runs(out, source, [](const T* x, int n) { return pyfast::PYFAST_ISA::load(x, n); });
      else if (step_ == 2)
        copy_runs(out, source, [](const T* x, int n) { return load_even(x, n); });
      else
        copy_scattered(out, source);
  }

 private:
  static constexpr int w = vec<T>::size;

  // The last run takes what fits into its vector.
  void add_zeros(int to, int count) {
    if (runs_size_ > 0 && count > 0) {
      int& store = runs_[runs_size_ - 1].store;
      const int more = count < w - store ? count : w - store;
      store += more, to += more, count -= more;
    }
    for (; count > 0; to += w, count -= w) runs_[runs_size_++] = {0, to, 0, count < w ? count : w};
  }

  // The columns of one segment from source coordinate x on: zeros, the row's elements, zeros.
  void add_row(const Segment& s, std::int64_t row, std::int64_t x) {
    const Inside inside(x, p_.x.stride, p_.x.source, s.count);
    const int begin = static_cast<int>(inside.begin), end = static_cast<int>(inside.end);
    if (begin == end) return add_zeros(s.to, s.count);
    add_zeros(s.to, begin);
    std::int64_t from = row + (x + begin * p_.x.stride) * p_.column;
    for (int i = begin; i < end; i += w, from += w * step_) {
      const int count = end - i < w ? end - i : w;
      runs_[runs_size_++] = {from, s.to + i, count, count};
    }
    add_zeros(s.to + end, s.count - end);
  }

  template <class Load>
  PYFAST_INLINE void copy_runs(T* out, const T* source, Load load) const {
    for (int i = 0; i < runs_size_; ++i) {
      const Run& r = runs_[i];
      pyfast::PYFAST_ISA::store(load(source + r.from, r.load), out + r.to, r.store);
    }
  }

  void copy_scattered(T* out, const T* source) const {
    for (int i = 0; i < runs_size_; ++i) {
      const Run& r = runs_[i];
      for (int j = 0; j < r.load; ++j) out[r.to + j] = source[r.from + j * step_];
      for (int j = r.load; j < r.store; ++j) out[r.to + j] = T{0};
    }
  }

  // Channels side by side in memory: blocks of positions by channels are turned.
  void copy_turned(T* out, std::int64_t stride, const T* source, std::int64_t channels) const {
    for (int i = 0; i < runs_size_; ++i) {
      const Run& r = runs_[i];
      pack_turned(out + r.to, source + r.from, step_, r.load, static_cast<int>(stride), channels);
      for (std::int64_t c = 0; c < channels && r.load < r.store; ++c)
        vec<T>().store(out + c * stride + r.to + r.load, r.store - r.load);
    }
  }

  const Patches<T>& p_;
  std::int64_t step_;  // between the columns of a run, in the source
  int cols_, width_, size_ = 0, runs_size_ = 0;
  Segment segments_[kMaxColumns];
  Run runs_[kMaxColumns];
};

}  // namespace

}  // namespace pyfast::PYFAST_ISA
