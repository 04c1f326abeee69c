// The three transforms of Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", CVPR 2016, section 4.1): tiles side by side in a vector's lanes,
// weights by output channel. Included by kernel.cpp only.
#pragma once

#include "ops/conv/kernel.h"
#include "simd/deinterleave.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

// Rows of B^T: x0 - x2, x1 + x2, x2 - x1, x1 - x3.
template <class T>
PYFAST_INLINE void input_step(vec<T>& a, vec<T>& b, vec<T>& c, vec<T>& d) {
  const vec<T> first = a - c, last = b - d, sum = b + c, difference = c - b;
  a = first, b = sum, c = difference, d = last;
}

template <class T>
void winograd_input(const WinogradInput<T>& p) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < p.channels; ++c)
    for (std::int64_t i = 0; i < p.run_count; ++i) {
      const TileRun& run = p.runs[i];
      const T* from = p.band + c * p.channel_pitch + run.from;
      T* to = p.transform + c * p.pitch + run.to;
      for (int j = 0; j < run.count; j += w) {
        vec<T> x[16];
        for (int f = 0; f < 16; ++f) x[f] = vec<T>::load(from + p.offsets[f] + j);
        for (int k = 0; k < 4; ++k) input_step(x[k], x[4 + k], x[8 + k], x[12 + k]);
        for (int k = 0; k < 16; k += 4) input_step(x[k], x[k + 1], x[k + 2], x[k + 3]);
        if (run.count - j >= w)
          for (int f = 0; f < 16; ++f) x[f].store(to + f * p.frequency + j);
        else
          for (int f = 0; f < 16; ++f) x[f].store(to + f * p.frequency + j, run.count - j);
      }
    }
}

// Rows of G: g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2.
template <class T>
PYFAST_INLINE void weight_step(const vec<T> (&g)[3], vec<T>* u, int step) {
  const vec<T> half(static_cast<T>(0.5)), outer = g[0] + g[2];
  u[0] = g[0];
  u[step] = (outer + g[1]) * half;
  u[2 * step] = (outer - g[1]) * half;
  u[3 * step] = g[2];
}

template <class T>
void winograd_weights(const T* g, T* u, std::int64_t frequency, int rows, std::int64_t channels) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < channels; ++c, g += 9 * rows, u += rows)
    for (int r = 0; r < rows; r += w) {
      const int n = rows - r < w ? rows - r : w;
      vec<T> half[12], full[16];
      for (int x = 0; x < 3; ++x) {
        const vec<T> column[3] = {load(g + x * rows + r, n), load(g + (3 + x) * rows + r, n),
                                  load(g + (6 + x) * rows + r, n)};
        weight_step(column, half + x, 3);
      }
      for (int y = 0; y < 4; ++y) {
        const vec<T> row[3] = {half[3 * y], half[3 * y + 1], half[3 * y + 2]};
        weight_step(row, full + 4 * y, 1);
      }
      for (int f = 0; f < 16; ++f) store(full[f], u + f * frequency + r, n);
    }
}

template <class T>
void winograd_output(const T* m, std::int64_t frequency, int rows, int cols, T* upper, T* lower,
                     std::int64_t pitch) {
  constexpr int w = vec<T>::size;
  for (int r = 0; r < rows; ++r, m += cols, upper += pitch, lower += pitch)
    for (int i = 0; i < cols; i += w) {
      vec<T> top[4], bottom[4];
      for (int k = 0; k < 4; ++k) {
        const T* x = m + k * frequency + i;
        const vec<T> x1 = vec<T>::load(x + 4 * frequency), x2 = vec<T>::load(x + 8 * frequency);
        top[k] = vec<T>::load(x) + (x1 + x2);
        bottom[k] = (x1 - x2) - vec<T>::load(x + 12 * frequency);
      }
      const auto finish = [&](const vec<T>(&y)[4], T* out) PYFAST_INLINED {
        const vec<T> even = y[0] + (y[1] + y[2]), odd = (y[1] - y[2]) - y[3];
        interleave_low(even, odd).store(out + 2 * i);
        interleave_high(even, odd).store(out + 2 * i + w);
      };
      finish(top, upper);
      finish(bottom, lower);
    }
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
