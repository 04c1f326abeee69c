// Which pairs of query and key may meet: blocks of scores classified, masks and dropout by the row.
// Included by this folder's kernel_*.cpp only; everything here belongs to their namespace.
#pragma once

#include "core/philox_lanes.h"
#include "ops/attention/kernel_product.h"
#include "simd/math.h"

namespace pyfast::PYFAST_ISA {
namespace {

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());
constexpr double kLog2e = 1.4426950408889634;

// A block of scores: queries i ... i + rows, keys j ... j + columns.
struct Block {
  Index i, rows, j, columns;

  PYFAST_INLINE Block part(Index first, Index count) const {
    return {i + first, count, j, columns};
  }
};

// Keys of a block, counted from its first.
struct Keys {
  Index begin, end;
};

// Keys that some query of the block may see, as far as the band is concerned.
template <class T>
PYFAST_INLINE Keys band(const AttentionHead<T>& head, const Block& b) {
  return {most(0, b.i - head.before - b.j), least(b.columns, b.i + b.rows + head.after - b.j)};
}

PYFAST_INLINE Keys intersect(Keys a, Keys b) {
  return {most(a.begin, b.begin), least(a.end, b.end)};
}

// Whether the band leaves out no pair of the block.
template <class T>
PYFAST_INLINE bool band_covers(const AttentionHead<T>& head, const Block& b) {
  return b.j + b.columns <= b.i + head.after + 1 && b.j >= b.i + b.rows - 1 - head.before;
}

template <class T>
PYFAST_INLINE const MaskSpan& span_of(const AttentionHead<T>& head, Index i, Index j) {
  return head.spans[i / kAttentionRows * ceil_div(head.keys, kAttentionKeys) + j / kAttentionKeys];
}

// Rows of the block from r on that belong to one span.
PYFAST_INLINE Index span_rows(const Block& b, Index r) {
  return least(kAttentionRows - (b.i + r) % kAttentionRows, b.rows - r);
}

// Keys that some query of the block may see; its rows are those of one span.
template <class T>
PYFAST_INLINE Keys visible(const AttentionHead<T>& head, const Block& b) {
  const Keys by_band = band(head, b);
  if (head.mask == AttentionMask::none) return by_band;
  const MaskSpan& span = span_of(head, b.i, b.j);
  return intersect(by_band, {span.begin, span.end});
}

enum class Cover : std::uint8_t { none, some, all };  // of the block's pairs, those allowed

template <class T>
Cover cover_of(const AttentionHead<T>& head, const Block& b) {
  bool any = false, all = band_covers(head, b);
  if (head.mask == AttentionMask::none) {
    const Keys keys = band(head, b);
    any = keys.begin < keys.end;
  } else {
    for (Index r = 0; r < b.rows; r += span_rows(b, r)) {
      const Keys keys = visible(head, b.part(r, span_rows(b, r)));
      any |= keys.begin < keys.end;
      all &= span_of(head, b.i + r, b.j).all;
    }
  }
  return all ? Cover::all : any ? Cover::some : Cover::none;
}

// Whether any pair at all may be forbidden.
template <class T>
PYFAST_INLINE bool is_masked(const AttentionHead<T>& head) {
  return head.mask != AttentionMask::none || !band_covers(head, {0, head.queries, 0, head.keys});
}

// body(first row, rows, keys they see): all at once, or by the span where some pair is masked.
template <class T, class Body>
PYFAST_INLINE void for_spans(const AttentionHead<T>& head, const Block& b, bool masked, Body body) {
  if (!masked) return body(0, b.rows, Keys{0, b.columns});
  for (Index r = 0; r < b.rows; r += span_rows(b, r)) {
    const Block part = b.part(r, span_rows(b, r));
    const Keys keys = visible(head, part);
    if (keys.begin < keys.end) body(r, part.rows, keys);
  }
}

PYFAST_INLINE bool passes(std::uint8_t allowed) { return allowed != 0; }
PYFAST_INLINE bool changes_nothing(std::uint8_t allowed) { return allowed != 0; }
template <class T>
PYFAST_INLINE bool passes(T bias) {
  return bias != -kInfinity<T>;
}
template <class T>
PYFAST_INLINE bool changes_nothing(T bias) {
  return bias == T{0};
}

// Of a block of mask elements, at most kAttentionKeys wide.
template <class E>
MaskSpan span(const Strided<E>& m, const Block& b) {
  std::uint8_t some[kAttentionKeys] = {}, changed[kAttentionKeys] = {};
  const Index columns = m.column == 0 ? 1 : b.columns, rows = m.row == 0 ? 1 : b.rows;
  for (Index r = 0; r < rows; ++r) {
    const E* row = m.data + (b.i + r) * m.row + b.j * m.column;
    const auto look = [&](Index k, E x) PYFAST_INLINED {
      some[k] = static_cast<std::uint8_t>(some[k] | passes(x));
      changed[k] = static_cast<std::uint8_t>(changed[k] | !changes_nothing(x));
    };
    if (m.column == 1)
      for (Index k = 0; k < columns; ++k) look(k, row[k]);
    else
      for (Index k = 0; k < columns; ++k) look(k, row[k * m.column]);
  }
  Index begin = 0, end = columns;
  std::uint8_t any_changed = 0;
  for (Index k = 0; k < columns; ++k)
    any_changed = static_cast<std::uint8_t>(any_changed | changed[k]);
  while (end > 0 && !some[end - 1]) --end;
  while (begin < end && !some[begin]) ++begin;
  if (m.column == 0 && end == 1) end = b.columns;
  return {static_cast<std::uint8_t>(begin), static_cast<std::uint8_t>(end), any_changed == 0};
}

// Contiguous mask elements of one query and the keys of a block, in place where they are so.
template <class T>
class MaskRow {
 public:
  MaskRow(const AttentionHead<T>& head, Index i, Index j, Index columns) : columns_(columns) {
    if (head.mask == AttentionMask::boolean) allowed_ = line(head.allowed, i, j, bytes_);
    if (head.mask == AttentionMask::additive) bias_ = line(head.bias, i, j, terms_);
    const Keys seen = band(head, {i, 1, j, columns});
    begin_ = seen.begin;
    end_ = seen.end;
  }
  bool allows(Index k) const {
    return k >= begin_ && k < end_ && (!allowed_ || allowed_[k]) &&
           (!bias_ || bias_[k] != -kInfinity<T>);
  }
  // Scores k ... k + size: unit * s + bias_unit * what the mask adds; -inf where it forbids.
  PYFAST_INLINE vec<T> apply(vec<T> s, Index k, T unit, T bias_unit) const {
    constexpr int w = vec<T>::size;
    const auto lanes = [](Index n) {
      return mask<T>::first(static_cast<int>(most(0, least(n, w))));
    };
    mask<T> in = lanes(end_ - k) & ~lanes(begin_ - k);
    s = s * vec<T>(unit);
    const auto n = static_cast<int>(most(0, least(w, columns_ - k)));
    if (allowed_) in = in & (n == w ? mask<T>::load(allowed_ + k) : mask<T>::load(allowed_ + k, n));
    if (bias_) {
      const vec<T> bias = n == w ? vec<T>::load(bias_ + k) : vec<T>::load(bias_ + k, n);
      in = in & (bias != vec<T>(-kInfinity<T>));
      s = fma(bias, vec<T>(bias_unit), s);
    }
    return select(in, s, vec<T>(-kInfinity<T>));
  }

 private:
  template <class E>
  const E* line(const Strided<E>& m, Index i, Index j, E* buffer) const {
    const E* from = m.data + i * m.row + j * m.column;
    if (m.column == 1) return from;
    for (Index k = 0; k < columns_; ++k) buffer[k] = from[k * m.column];
    return buffer;
  }

  Index columns_, begin_, end_;
  const std::uint8_t* allowed_ = nullptr;
  const T* bias_ = nullptr;
  std::uint8_t bytes_[kAttentionKeys];
  T terms_[kAttentionKeys];
};

// keep[k]: 0 where dropout drops the weight of query i and key j + k, else what it is multiplied
// by. j is a multiple of 4.
template <class T>
void fill_keep(const AttentionHead<T>& head, Index i, Index j, Index columns, T* keep) {
  std::uint32_t words[kAttentionKeys];
  static_assert(kAttentionKeys % kPhiloxWords == 0);
  const auto groups = static_cast<std::uint64_t>((head.keys + 3) / 4);
  const std::uint64_t first =
      head.first_block + static_cast<std::uint64_t>(i) * groups + static_cast<std::uint64_t>(j / 4);
  for (Index k = 0; k < columns; k += kPhiloxWords)
    draw(words + k, head.seed, head.offset, first + static_cast<std::uint64_t>(k / 4));
  const T scale = head.keep_scale;
  const T least_kept = head.threshold == 0 ? scale : T{0};
  const auto last = static_cast<std::uint32_t>(most(1, static_cast<Index>(head.threshold)) - 1);
  for (Index k = 0; k < columns; ++k) keep[k] = words[k] > last ? scale : least_kept;
}

template <class T>
PYFAST_INLINE void fill(T* to, Index n, T value) {  // whole vectors
  for (Index k = 0; k < n; k += vec<T>::size) vec<T>(value).store(to + k);
}

// False when a matrix holds an infinity or NaN.
template <class T>
bool all_finite(const Strided<T>& m, Index rows, Index columns) {
  vec<T> sums{};
  T sum{0};
  for (Index r = 0; r < rows; ++r) {
    const T* row = m.data + r * m.row;
    if (m.column == 1)
      for (Index c = 0; c < columns; c += vec<T>::size)
        sums = fma(vec<T>::load(row + c, static_cast<int>(least(columns - c, vec<T>::size))),
                   vec<T>(T{0}), sums);
    else
      for (Index c = 0; c < columns; ++c) sum += row[c * m.column] * T{0};
  }
  return reduce_add(sums) + sum == T{0};
}

// to[r * ld + c] = scale * from(r, c), and 0 for columns <= c < ld, whole vectors.
template <class T>
void pack_rows(T* to, Index ld, const Strided<T>& from, Index rows, Index columns, T scale) {
  constexpr Index w = vec<T>::size;
  for (Index r = 0; r < rows; ++r, to += ld) {
    const T* row = from.data + r * from.row;
    if (from.column == 1)
      for (Index c = 0; c < ld; c += w) {
        const Index n = columns - c;
        const vec<T> x =
            n >= w ? vec<T>::load(row + c) : vec<T>::load(row + c, static_cast<int>(n));
        (x * vec<T>(scale)).store(to + c);
      }
    else
      for (Index c = 0; c < ld; ++c) to[c] = c < columns ? scale * row[c * from.column] : T{0};
  }
}

}  // namespace
}  // namespace pyfast::PYFAST_ISA
