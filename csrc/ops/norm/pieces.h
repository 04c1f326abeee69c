// How the work of a normalisation is cut: by shape alone, so that sums are the same for any number
// of threads.
#pragma once

#include <cstdint>

#include "core/parallel.h"

namespace pyfast {

// Elements of one piece: a few microseconds.
inline constexpr std::int64_t kNormPiece = 16384;

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// (images, channels, length) with each channel's values cut into `parts` pieces: several short
// planes together, a long plane in cuts.
class PlanePieces {
 public:
  PlanePieces(std::int64_t images, std::int64_t channels, std::int64_t length)
      : images_(images),
        channels_(channels),
        length_(length),
        together_(length < kNormPiece ? kNormPiece / length : 1),
        cuts_(ceil_div(length, kNormPiece)) {}

  std::int64_t parts() const { return ceil_div(images_, together_) * cuts_; }
  std::int64_t stride() const { return channels_ * length_; }

  // body(item, channel, offset, runs, length): `runs` runs stride() apart; item = part * channels +
  // channel. In parallel.
  template <class Body>
  void for_each(std::int64_t cost, Body body) const {
    const std::int64_t values = (together_ < images_ ? together_ : images_) * length_;
    const std::int64_t piece = values < kNormPiece ? values : kNormPiece;
    parallel_for(parts() * channels_, grain_for(piece * cost),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) one(i, body);
                 });
  }

 private:
  template <class Body>
  void one(std::int64_t item, Body& body) const {
    const std::int64_t part = item / channels_, channel = item % channels_;
    const std::int64_t image = part / cuts_ * together_, at = part % cuts_ * kNormPiece;
    const std::int64_t runs = images_ - image, rest = length_ - at;
    body(item, channel, (image * channels_ + channel) * length_ + at,
         runs < together_ ? runs : together_, rest < kNormPiece ? rest : kNormPiece);
  }

  std::int64_t images_, channels_, length_, together_, cuts_;
};

// body(plane, offset, planes, length): every plane of a contiguous array once, whole planes that
// follow each other or one cut of a plane; never across a multiple of `period` planes. In parallel.
template <class Body>
void for_each_plane(std::int64_t planes, std::int64_t length, std::int64_t period,
                    std::int64_t cost, Body body) {
  const std::int64_t cuts = ceil_div(length, kNormPiece);
  const std::int64_t piece = length < kNormPiece ? length : kNormPiece;
  parallel_for(planes * cuts, grain_for(piece * cost), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t plane = i / cuts, at = i % cuts * kNormPiece;
      if (cuts > 1) {
        body(plane, plane * length + at, 1, length - at < kNormPiece ? length - at : kNormPiece);
        ++i;
      } else {
        const std::int64_t left = period - plane % period, count = end - i < left ? end - i : left;
        body(plane, plane * length, count, length);
        i += count;
      }
    }
  });
}

// body(item, first_row, rows): consecutive blocks of rows, at most 64 of them. In parallel.
class RowBlocks {
 public:
  RowBlocks(std::int64_t rows, std::int64_t at_least)
      : rows_(rows), block_(ceil_div(rows, 64) > at_least ? ceil_div(rows, 64) : at_least) {}
  std::int64_t count() const { return ceil_div(rows_, block_); }
  std::int64_t block() const { return block_; }

  template <class Body>
  void for_each(std::int64_t cost_per_row, Body body) const {
    parallel_for(count(), grain_for(block_ * cost_per_row),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t first = i * block_, rest = rows_ - first;
                     body(i, first, rest < block_ ? rest : block_);
                   }
                 });
  }

 private:
  std::int64_t rows_, block_;
};

}  // namespace pyfast
