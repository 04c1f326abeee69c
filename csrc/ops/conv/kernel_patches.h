// A stretch of neighbouring columns of the patch matrix, and where its elements lie for one tap.
// Included by kernel.cpp only.
#pragma once

#include "ops/conv/kernel.h"
#include "simd/vec.h"

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
      : p_(p), cols_(cols), width_(width) {
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

  // out[0, width) for the channel at `source`, tap as in the last find_runs.
  void copy(T* out, const T* source) const {
    const std::int64_t step = p_.x.stride * p_.column;
    if (step == 1)
      copy_runs(out, source, [](const T* x, int n) { return vec<T>::load(x, n); });
    else if (step == 2)
      copy_runs(out, source, [](const T* x, int n) { return load_even(x, n); });
    else
      copy_scattered(out, source, step);
  }

 private:
  static constexpr int w = vec<T>::size;

  // x[0], x[2], ...: n of them; reads nothing behind the last.
  static PYFAST_INLINE vec<T> load_even(const T* x, int n) {
    const int all = 2 * n - 1;
    const vec<T> low = vec<T>::load(x, all < 0 ? 0 : all < w ? all : w);
    const vec<T> high = vec<T>::load(all > w ? x + w : x, all > w ? all - w : 0);
    return even_lanes(low, high, static_cast<int (*)[w]>(nullptr));
  }
  static PYFAST_INLINE vec<T> even_lanes(vec<T> a, vec<T> b, int (*)[2]) {
    return vec<T>(__builtin_shufflevector(a.v, b.v, 0, 2));
  }
  static PYFAST_INLINE vec<T> even_lanes(vec<T> a, vec<T> b, int (*)[4]) {
    return vec<T>(__builtin_shufflevector(a.v, b.v, 0, 2, 4, 6));
  }
  static PYFAST_INLINE vec<T> even_lanes(vec<T> a, vec<T> b, int (*)[8]) {
    return vec<T>(__builtin_shufflevector(a.v, b.v, 0, 2, 4, 6, 8, 10, 12, 14));
  }
  static PYFAST_INLINE vec<T> even_lanes(vec<T> a, vec<T> b, int (*)[16]) {
    return vec<T>(__builtin_shufflevector(a.v, b.v, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
                                          26, 28, 30));
  }

  void add_zeros(int to, int count) {
    for (; count > 0; to += w, count -= w) runs_[runs_size_++] = {0, to, 0, count < w ? count : w};
  }

  // The columns of one segment from source coordinate x on: zeros, the row's elements, zeros.
  void add_row(const Segment& s, std::int64_t row, std::int64_t x) {
    const std::int64_t stride = p_.x.stride, last = p_.x.source - 1 - x;
    std::int64_t begin = x >= 0 ? 0 : (stride - 1 - x) / stride;
    std::int64_t end = last < 0 ? 0 : last / stride + 1;
    begin = begin < s.count ? begin : s.count;
    end = end < begin ? begin : end < s.count ? end : s.count;
    add_zeros(s.to, static_cast<int>(begin));
    std::int64_t from = row + (x + begin * stride) * p_.column;
    int to = s.to + static_cast<int>(begin), count = static_cast<int>(end - begin);
    int zeros = s.count - static_cast<int>(end);
    for (; count > 0; count -= w, to += w, from += w * stride * p_.column) {
      const int load = count < w ? count : w, free = w - load;
      const int more = free < zeros ? free : zeros;
      runs_[runs_size_++] = {from, to, load, load + more};
      zeros -= more;
    }
    add_zeros(s.to + s.count - zeros, zeros);
  }

  template <class Load>
  PYFAST_INLINE void copy_runs(T* out, const T* source, Load load) const {
    for (int i = 0; i < runs_size_; ++i) {
      const Run& r = runs_[i];
      load(source + r.from, r.load).store(out + r.to, r.store);
    }
  }

  void copy_scattered(T* out, const T* source, std::int64_t step) const {
    for (int i = 0; i < runs_size_; ++i) {
      const Run& r = runs_[i];
      for (int j = 0; j < r.load; ++j) out[r.to + j] = source[r.from + j * step];
      for (int j = r.load; j < r.store; ++j) out[r.to + j] = T{0};
    }
  }

  const Patches<T>& p_;
  int cols_, width_, size_ = 0, runs_size_ = 0;
  Segment segments_[kMaxColumns];
  Run runs_[kMaxColumns];
};

}  // namespace

}  // namespace pyfast::PYFAST_ISA
