// The pixels under a block of a band as they lie in memory, and the entry that each of them fills:
// in place of rows copied between zeros, which costs most where they are short.
#pragma once

#include <algorithm>

#include "core/memory.h"
#include "ops/conv/band_digits.h"
#include "ops/conv/kernel.h"

namespace pyfast {

class BandPixels {
 public:
  // `entries`: all of a channel's; pixels that no tap meets go to the one behind them.
  BandPixels(const BandFill<float>& f, std::int64_t entries)
      : y_(f.y),
        x_(f.x),
        gapless_(x_.size() == f.x.size && f.row == x_.size()),
        run_(x_.size() * (gapless_ ? y_.size() : 1)),
        skip_(gapless_ ? f.sample : f.row),
        piece_(f.sample),
        pieces_(gapless_ ? 1 : f.samples),
        first_(y_.begin * f.row + x_.begin),
        usable_(f.column == 1 && run_ >= kAmxTile),
        n_(usable_ ? f.samples * y_.size() * x_.size() : 0),
        at_(n_),
        empty_(usable_ ? entries : 0) {
    if (usable_) place(f, entries);
  }

  // Else rows must be copied: shorter ones, and channels that lie side by side.
  bool usable() const { return usable_; }
  std::int64_t pieces() const { return pieces_; }
  // Of one piece; `source`: the first channel wanted, of the first sample.
  DigitColumns columns(const float* source, std::int64_t channel, std::int64_t piece) const {
    return {source + first_ + piece * piece_, channel, skip_, run_, n_ / pieces_};
  }
  const std::int32_t* entries(std::int64_t piece) const {
    return at_.data() + piece * (n_ / pieces_);
  }
  std::int64_t count() const { return n_; }
  // Entries that no pixel fills.
  const std::int32_t* empty() const { return empty_.data(); }
  std::int64_t empty_count() const { return empty_count_; }

 private:
  // Coordinates of an axis inside the source.
  struct Range {
    std::int64_t begin, end;
    explicit Range(const BandAxis& a)
        : begin(std::max<std::int64_t>(a.first, 0)),
          end(std::min(a.size, a.first + (a.count - 1) * a.stride + a.phases)) {}
    std::int64_t size() const { return std::max<std::int64_t>(end - begin, 0); }
  };
  // Where coordinate `at` lies on an axis: the phase, and the entry in it; -1 if no tap meets it.
  struct Place {
    std::int64_t phase, entry;
    Place(const BandAxis& a, std::int64_t at) {
      const std::int64_t from_first = at - a.first;
      entry = from_first / a.stride;
      phase = from_first % a.stride;
      if (phase >= a.phases || entry >= a.count) phase = -1;
    }
  };

  void place(const BandFill<float>& f, std::int64_t entries) {
    const Workspace<std::int64_t> across(x_.size());
    for (std::int64_t x = 0; x < x_.size(); ++x) {
      const Place p(f.x, x_.begin + x);
      across[x] = p.phase < 0 ? -1 : p.phase * f.plane + p.entry;
    }
    const Workspace<bool> filled(entries + 1);
    std::fill_n(filled.data(), entries + 1, false);
    std::int32_t* to = at_.data();
    for (std::int64_t s = 0; s < f.samples; ++s)
      for (std::int64_t y = y_.begin; y < y_.end; ++y) {
        const Place p(f.y, y);
        const std::int64_t row =
            p.phase * f.x.phases * f.plane + s * f.sample_pitch + p.entry * f.pitch;
        for (std::int64_t x = 0; x < x_.size(); ++x) {
          const bool met = p.phase >= 0 && across[x] >= 0;
          *to = static_cast<std::int32_t>(met ? row + across[x] : entries);
          filled[*to++] = true;
        }
      }
    for (std::int64_t i = 0; i < entries; ++i)
      if (!filled[i]) empty_[empty_count_++] = static_cast<std::int32_t>(i);
  }

  Range y_, x_;
  bool gapless_;  // rows of the source lie end to end
  std::int64_t run_, skip_, piece_, pieces_, first_;
  bool usable_;
  std::int64_t n_;
  Workspace<std::int32_t> at_, empty_;
  std::int64_t empty_count_ = 0;
};

}  // namespace pyfast
