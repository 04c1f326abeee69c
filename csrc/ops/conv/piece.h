// A part of a correlation as one of its own.
#pragma once

#include "ops/conv/band_plan.h"
#include "ops/conv/correlate.h"

namespace pyfast {

// Grid points of `block`, output channels [first, first + out) of a group.
template <class T>
Correlation<T> piece_of(const Correlation<T>& c, std::int64_t group, const BandBlock& block,
                        std::int64_t first, std::int64_t out) {
  Correlation<T> r = c;
  const auto cut = [](AxisPlan& a, std::int64_t begin, std::int64_t count) {
    a.offset += begin * a.stride;
    a.first_target += begin * a.target_step;
    a.grid = count;
  };
  cut(r.y, block.y, block.rows);
  cut(r.x, block.x, block.cols);
  r.batch = block.samples;
  r.groups = 1;
  r.out = out;
  r.source.data += block.n * r.source.sample + group * r.in * r.source.channel;
  const std::int64_t channel = group * c.out + first;
  const std::int64_t at = block.n * r.target.sample + channel * r.target.channel;
  r.target.data += at;
  if (r.linear) r.linear += at;
  if (r.residual) r.residual += at;
  if (r.bias) r.bias += channel;
  r.weight += group * r.weight_group + first * r.weight_out;
  if (channel > 0 || out != c.out || c.groups > 1) r.panels = nullptr;
  return r;
}

}  // namespace pyfast
