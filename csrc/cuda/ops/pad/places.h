// Where padding takes an element from, and everywhere it puts one, for GPU and host.
#pragma once

#include "cuda/core/contraction.h"
#include "ops/pad/pad.h"

namespace pyfast::cuda {

// One axis. An element of the input is found in at most three places of the output, or, at the ends
// of an axis in mode replicate, in a run of them.
struct PadLine {
  std::int64_t in, out, before;
  std::int64_t low, high;  // what is repeated
  PadMode mode;

  PadLine() = default;
  PadLine(const PadAxis& a, PadMode m)
      : in(a.in), out(a.out()), before(a.before), low(0), high(a.in), mode(m) {
    if (m != PadMode::circular) return;
    low = a.kept_begin();
    high = low + a.kept();
  }
  // The input's position at output o, or kZero.
  PYFAST_HOST_DEVICE std::int64_t source(std::int64_t o) const {
    const std::int64_t i = o - before;
    if (i >= low && i < high) return i;
    switch (mode) {
      case PadMode::constant: return kZero;
      case PadMode::reflect: return i < 0 ? -i : 2 * (in - 1) - i;
      case PadMode::replicate: return i < 0 ? 0 : in - 1;
      case PadMode::circular: return i < low ? i + (high - low) : i - (high - low);
    }
    return kZero;
  }
  // Output positions that take input i are place(i, k) for k < places(i), where they are not kZero.
  PYFAST_HOST_DEVICE std::int64_t places(std::int64_t i) const {
    if (mode == PadMode::constant) return 1;
    if (mode != PadMode::replicate) return 3;
    return end(i) - begin(i);
  }
  PYFAST_HOST_DEVICE std::int64_t place(std::int64_t i, std::int64_t k) const {
    if (mode == PadMode::replicate) return begin(i) + k;
    std::int64_t o = i + before;
    if (mode == PadMode::reflect) {
      if (k == 1) o = before - i;
      if (k == 2) o = 2 * (in - 1) - i + before;
      if ((k == 1 && i == 0) || (k == 2 && i == in - 1)) return kZero;  // the mirror itself
    }
    if (mode == PadMode::circular) {
      if (i < low || i >= high) return kZero;
      if (k == 1) o -= high - low;
      if (k == 2) o += high - low;
    }
    return o >= 0 && o < out ? o : kZero;
  }

 private:
  // The run of outputs that take input i in mode replicate.
  PYFAST_HOST_DEVICE std::int64_t begin(std::int64_t i) const {
    const std::int64_t o = i == 0 ? 0 : i + before;
    return o < 0 ? 0 : o < out ? o : out;
  }
  PYFAST_HOST_DEVICE std::int64_t end(std::int64_t i) const {
    const std::int64_t o = i == in - 1 ? out : i + before + 1;
    return o < begin(i) ? begin(i) : o < out ? o : out;
  }
};

// All axes; neighbours that are not padded count as one.
struct PadPlaces {
  int rank = 0;
  PadLine line[kMaxRank];

  explicit PadPlaces(const PadParams& p) {
    for (int i = 0; i < p.input_shape.rank(); ++i) {
      const PadAxis a = p.axis(i);
      const bool plain = a.before == 0 && a.after == 0;
      if (plain && rank > 0 && line[rank - 1].before == 0 &&
          line[rank - 1].in == line[rank - 1].out) {
        const PadAxis both{line[rank - 1].in * a.in, 0, 0};
        line[rank - 1] = PadLine(both, p.mode);
      } else {
        line[rank++] = PadLine(a, p.mode);
      }
    }
  }
  // The input's flat position at flat output o, or kZero.
  PYFAST_HOST_DEVICE std::int64_t source(std::int64_t o) const {
    std::int64_t at = 0, step = 1;
    for (int a = rank - 1; a >= 0; --a) {
      const std::int64_t i = line[a].source(o % line[a].out);
      if (i == kZero) return kZero;
      at += i * step;
      step *= line[a].in;
      o /= line[a].out;
    }
    return at;
  }
  // f(flat output position) for every output that takes flat input i, in a fixed order.
  template <class F>
  PYFAST_HOST_DEVICE void each_place(std::int64_t i, F f) const {
    std::int64_t total = 1, rest = i;
    for (int a = rank - 1; a >= 0; --a) {
      total *= line[a].places(rest % line[a].in);
      rest /= line[a].in;
    }
    for (std::int64_t k = 0; k < total; ++k) {
      std::int64_t at = 0, step = 1, choice = k;
      rest = i;
      for (int a = rank - 1; a >= 0 && at != kZero; --a) {
        const std::int64_t x = rest % line[a].in, places = line[a].places(x);
        const std::int64_t o = line[a].place(x, choice % places);
        at = o == kZero ? kZero : at + o * step;
        choice /= places;
        rest /= line[a].in;
        step *= line[a].out;
      }
      if (at != kZero) f(at);
    }
  }
};

}  // namespace pyfast::cuda
