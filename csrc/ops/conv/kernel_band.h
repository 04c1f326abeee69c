// The band product: a register tile of packed weights times pixels that are read where they lie.
//
// A tap of the kernel is a shift in the band, so that a step of the product is one offset: nothing
// is gathered per tap. Tiles are those of gemm/kernel_micro.h; loads of the pixels are unaligned,
// which the broadcasts of the weights leave room for. Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_micro.h"
#include "gemm/kernel_pack.h"
#include "ops/conv/kernel.h"
#include "ops/conv/kernel_rows.h"

namespace pyfast::PYFAST_ISA {

namespace {

// One row of one channel.
template <class T>
PYFAST_INLINE void fill_row(T* row, std::int64_t size, const T* source, std::int64_t step,
                            const Inside& inside) {
  zero_row(row, inside.begin);
  copy_row(row + inside.begin, source, inside.end - inside.begin, step);
  zero_row(row + inside.end, size - inside.end);
}

// Channel after channel, as they lie in memory. `from`: the first element inside.
template <class T>
PYFAST_INLINE void fill_plane(const BandFill<T>& p, T* band, const T* from, std::int64_t y,
                              const Inside& inside) {
  constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t step = p.x.stride * p.column;
  const bool whole = step == 1 && p.pitch == p.row && p.pitch == p.x.count &&
                     inside.end - inside.begin == p.x.count;
  const bool gapless = whole && p.y.stride == 1 && y >= 0 && y + p.y.count <= p.y.size;
  for (std::int64_t c = 0; c < p.channels; ++c, band += p.channel_pitch, from += p.channel)
    for (std::int64_t s = 0; s < p.samples; ++s) {
      if (gapless) {  // all rows of a plane are one
        copy_row(band + s * p.sample_pitch, from + s * p.sample + y * p.row, p.y.count * p.pitch,
                 1);
        continue;
      }
      for (std::int64_t i = 0; i < p.y.count; ++i) {
        const std::int64_t at = y + i * p.y.stride;
        T* row = band + s * p.sample_pitch + i * p.pitch;
        if (p.column == 1)  // the same row of the next channel
          for (std::int64_t j = 0; j < p.x.count * step; j += line)
            __builtin_prefetch(from + p.channel + s * p.sample + at * p.row + j);
        if (at >= 0 && at < p.y.size)
          fill_row(row, p.x.count, from + s * p.sample + at * p.row, step, inside);
        else
          zero_row(row, p.x.count);
      }
    }
}

// Channels that lie side by side: every row turned.
template <class T>
PYFAST_INLINE void fill_plane_turned(const BandFill<T>& p, T* band, const T* from, std::int64_t y,
                                     const Inside& inside) {
  constexpr std::int64_t w = vec<T>::size;
  const std::int64_t count = inside.end - inside.begin, step = p.x.stride * p.column;
  for (std::int64_t s = 0; s < p.samples; ++s)
    for (std::int64_t i = 0; i < p.y.count; ++i) {
      const std::int64_t at = y + i * p.y.stride;
      T* row = band + s * p.sample_pitch + i * p.pitch;
      const bool within = at >= 0 && at < p.y.size;
      if (within)
        for (std::int64_t j = 0; j < count; j += w)  // pack_turned takes few rows at a time
          pack_turned(row + inside.begin + j, from + s * p.sample + at * p.row + j * step, step,
                      static_cast<int>(count - j < w ? count - j : w),
                      static_cast<int>(p.channel_pitch), p.channels);
      for (std::int64_t c = 0; c < p.channels; ++c, row += p.channel_pitch) {
        zero_row(row, within ? inside.begin : p.x.count);
        if (within) zero_row(row + inside.end, p.x.count - inside.end);
      }
    }
}

template <class T>
void fill_planes(const BandFill<T>& p, T* band) {
  const bool turned = p.channel == 1 && p.column != 1 && p.channels > 1;
  const std::int64_t used = p.y.phases * p.x.phases * p.plane;
  // Tiles read what lies between channels too; what they make of it is never stored.
  for (std::int64_t c = 0; c < p.channels; ++c)
    zero_row(band + c * p.channel_pitch + used, p.channel_pitch - used);
  for (std::int64_t py = 0; py < p.y.phases; ++py)
    for (std::int64_t px = 0; px < p.x.phases; ++px, band += p.plane) {
      const std::int64_t x = p.x.first + px, y = p.y.first + py;
      const Inside inside(x, p.x.stride, p.x.size, p.x.count);
      const T* from = p.source + (x + inside.begin * p.x.stride) * p.column;
      turned ? fill_plane_turned(p, band, from, y, inside) : fill_plane(p, band, from, y, inside);
    }
}

template <class T, int rows, int vectors>
void band_micro(std::int64_t depth, const T* a, const T* band, const std::int64_t* offsets, T* tile,
                bool accumulate) {
  constexpr int w = vec<T>::size;
  typename vec<T>::native sums[rows * vectors] = {};
  for (std::int64_t d = 0; d < depth; ++d, a += rows) {
    const T* b = band + offsets[d];
    typename vec<T>::native right[vectors];
    unroll<vectors>([&](auto j) PYFAST_INLINED { right[j] = vec<T>::load(b + j * w).v; });
    unroll<rows>([&](auto r) PYFAST_INLINED {
      const auto left = vec<T>(a[r]).v;
      unroll<vectors>([&](auto j) PYFAST_INLINED {
        sums[r * vectors + j] = backend::fma(left, right[j], sums[r * vectors + j]);
      });
    });
  }
  // Sums of short stretches are added up, which rounds less than one long sum.
  if (accumulate)
    unroll<rows * vectors>([&](auto i) PYFAST_INLINED { sums[i] += vec<T>::load(tile + i * w).v; });
  unroll<rows * vectors>([&](auto i) PYFAST_INLINED { vec<T>(sums[i]).store(tile + i * w); });
}

template <class T, class Indices>
struct BandMicroTable;
template <class T, int... i>
struct BandMicroTable<T, std::integer_sequence<int, i...>> {
  static constexpr BandMicro<T> entries[] = {&band_micro<T, i / kVectors + 1, i % kVectors + 1>...};
};

template <class T>
constexpr const BandMicro<T>* band_micro_table() {
  return BandMicroTable<T, std::make_integer_sequence<int, kRows * kVectors>>::entries;
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
