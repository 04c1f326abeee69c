// Forward on AMX tiles. A block of keys and values is split once for all queries of the task; those
// come 32 at a time, and while the tiles multiply the next one's scores and the last one's values,
// the vector units make weights of this one's scores: after every four tile products stands a
// piece of that work, and the processor runs the two side by side.
// Included by kernel_forward.cpp only; everything here belongs to its namespace.
#pragma once

#include "ops/attention/kernel_softmax.h"
#include "ops/attention/kernel_tiles_digits.h"

namespace pyfast::PYFAST_ISA {
namespace {

// Where there are no tiles.
template <class T>
class TileForward {
 public:
  static Index size(const AttentionHead<T>&, Index) { return 0; }
  TileForward(const AttentionHead<T>&, const AttentionHead<T>*, Index, T, RunningSoftmax<T>&, T*,
              Index, T*) {}
  void open(const Left<T>&, Index, Index) {}
  template <class Refused, class Beyond>
  bool attend(Index, Index, Refused, Beyond) {
    return false;
  }
};

#ifdef PYFAST_ISA_AVX512

template <>
class TileForward<float> : Tiles {
 public:
  // Floats of scratch for a task of at most `rows` queries.
  static Index size(const AttentionHead<float>& head, Index rows) {
    if (!head.tiles) return 0;
    const Index split = rows * whole(head.width) +
                        kAttentionKeys * (whole(head.width) + whole(head.value_width) + 2 * kTile);
    return split * kParts / 2 + kTile * (3 * kAttentionKeys + 2 + w) +
           whole(head.value_width) * (1 + kAttentionKeys);
  }

  // unit: from a product of query and key to a score in units of log 2; output: rows ld apart.
  TileForward(const AttentionHead<float>& head, const AttentionHead<float>* next, Index rows,
              float unit, RunningSoftmax<float>& softmax, float* output, Index ld, float* scratch)
      : head_(head),
        ahead_(next),
        unit_(unit * amx::kUnscale),
        softmax_(softmax),
        output_(output),
        ld_(ld),
        scores_(scratch),
        factors_(scores_ + 2 * kTile * kAttentionKeys),
        tops_(factors_ + 2 * kTile),
        keep_(tops_ + kTile * w),
        value_factors_(keep_ + kTile * kAttentionKeys),
        query_(reinterpret_cast<std::uint16_t*>(value_factors_ + whole(head.value_width))),
        keys_(query_ + kParts * rows * whole(head.width)),
        values_(keys_ + kParts * kAttentionKeys * whole(head.width)),
        weights_(values_ + kParts * kAttentionKeys * whole(head.value_width)),
        value_digits_(
            reinterpret_cast<std::uint8_t*>(weights_ + kParts * 2 * kTile * kAttentionKeys)) {}

  // Of queries begin ... begin + rows.
  void open(const Left<float>& query, Index begin, Index rows) {
    if (!head_.tiles) return;
    begin_ = begin;
    rows_ = rows;
    query_seen_ = {};
    for (Index r = 0; r < rows; r += kTile)
      amx::kernels().split_rows(query_ + r * whole(head_.width) * kParts,
                                query.data + r * query.stride, query.stride, count(rows - r), kTile,
                                head_.width, kParts, query_seen_);
  }

  // All of them meet keys j ... j + columns; false, and nothing done, where the magnitudes of an
  // operand do not suit the tiles. refused(block, first, scores): rows whose weights, which take
  // the scores' place, hold a NaN. beyond(block, plain): rows of which nothing is done, for scores
  // beyond kMostFused.
  template <class Refused, class Beyond>
  bool attend(Index j, Index columns, Refused refused, Beyond beyond) {
    if (!head_.tiles || !split(j, columns)) return false;
    Index row = 0;
    Item last{}, now{};
    for (bool more = true; more || now.used || last.used;) {
      Item next = more ? find(row, j, columns) : Item{};
      more = next.used;
      next.slot = 1 - now.slot;
      Softening beside(*this, now, next, score_products(next) + value_products(last));
      if (next.used) find_scores(next, beside);
      leave();
      beside.see_next();
      if (last.used) add_values(last, beside);
      beside.finish();
      if (now.used && !keep_factors(now)) {
        refuse(now, refused);
        now.used = false;
      }
      if (next.used && !raise(next)) {
        beyond(next.b, next.plain);
        next.used = false;
      }
      last = std::exchange(now, next);
    }
    return true;
  }

 private:
  // Queries, at most a tile of them, and the keys that any of them sees, by whole steps.
  struct Item {
    Block b;
    Index first;  // of the task's queries
    Keys keys;
    bool plain;   // each of them sees each of these, and none is padding
    bool digits;  // of weights and values
    int slot;     // where its scores, weights and factors are
    bool used;
  };

  static constexpr Index kStep = WeightDigits::kDepth;  // keys whose weights are made at a time

  float* scores(const Item& t) const { return scores_ + t.slot * kTile * kAttentionKeys; }
  float* factors(const Item& t) const { return factors_ + t.slot * kTile; }
  std::uint16_t* weights(const Item& t) const {
    return weights_ + t.slot * kTile * kAttentionKeys * kParts;
  }

  bool split(Index j, Index columns) {
    const AmxKernels& kernels = amx::kernels();
    Magnitudes keys;
    const float* from = head_.key.data + j * head_.key.row;
    for (Index k = 0; k < columns; k += kTile)
      kernels.split_turned(keys_ + k * whole(head_.width) * kParts, from + k * head_.key.row,
                           head_.key.row, count(columns - k), kTile, head_.width, kParts, keys);
    if (!gemm::amx_fits(query_seen_, keys, head_.width)) return false;
    split_digits(j, columns);
    const bool plain =
        columns % kStep == 0 && cover_of(head_, {begin_, rows_, j, columns}) == Cover::all;
    return (plain && digits_) || split_parts(j, columns);
  }
  void split_digits(Index j, Index columns) {
    const float* from = head_.value.data + j * head_.value.row;
    std::uint8_t* to = value_digits_;
    digits_ = columns % kStep == 0;
    for (Index c = 0; digits_ && c < head_.value_width; c += w) {
      digits_ = WeightDigits::split(to, from + c, head_.value.row, columns,
                                    amx::first_lanes(head_.value_width - c), value_factors_ + c);
      if (head_.dropout)
        (vec<float>::load(value_factors_ + c) * vec<float>(head_.keep_scale))
            .store(value_factors_ + c);
      to += ceil_div(columns, kStep) * WeightDigits::kValueStepBytes;
    }
  }
  bool split_parts(Index j, Index columns) {
    Magnitudes values;
    const float* from = head_.value.data + j * head_.value.row;
    for (Index c = 0; c < head_.value_width; c += kTile)
      amx::kernels().split_right(values_ + c * whole(columns) * kParts, from + c, head_.value.row,
                                 count(head_.value_width - c), wide(head_.value_width - c), columns,
                                 kParts, values);
    return gemm::amx_fits(up_to(largest_weight(head_)), values, columns);
  }

  // The next queries, from the task's `row` on, that see any key of the block.
  Item find(Index& row, Index j, Index columns) const {
    while (row < rows_) {
      const Index first = std::exchange(row, row + kTile);
      const Block b{begin_ + first, least(kTile, rows_ - first), j, columns};
      const Seen seen = seen_by(head_, b);
      if (seen.keys.begin >= seen.keys.end) continue;
      const Keys keys{seen.keys.begin / kStep * kStep, ceil_div(seen.keys.end, kStep) * kStep};
      const bool plain = seen.all && columns % kStep == 0;
      return {b, first, keys, plain, plain && digits_, 0, true};
    }
    return {};
  }

  // The making of weights of an item, and the next one's maxima once its scores are there, cut into
  // pieces. Maxima are stored one by one and loaded sixteen at a time, which waits until all that
  // came before is done: weights of the item stand between.
  class Softening {
   public:
    Softening(TileForward& task, const Item& item, const Item& next, Index products)
        : task_(task),
          item_(item),
          next_(next),
          steps_((item.keys.end - item.keys.begin) / kStep),
          rows_(item.used ? item.b.rows : 0),
          seen_(next.used ? next.b.rows : 0),
          share_(ceil_div(rows_ * steps_ * kWeigh + seen_ * kSee, most(1, products))),
          piece_(share_ * kMostProducts < steps_ * kWeigh ? 1 : steps_) {
      if (next.used) task.softmax_.open_block(next.b.rows);
    }
    // After so many tile products.
    PYFAST_INLINE void advance(Index products) {
      due_ += share_ * products;
      if (spent_ < due_) work();
    }
    void see_next() { to_see_ = seen_; }
    void finish() {
      due_ = kAll;
      work();
    }

   private:
    static constexpr Index kSee = 16, kWeigh = 80;  // what a row costs, and a step of one
    // The tiles idle while a piece is made, so that beside many products a row is made in steps
    // (docs/performance.md). To a row of 128 keys come 5 or 10 products at widths of 32 and 64,
    // which are for whole rows, and 21 at 128, which are not; the limit is the geometric mean.
    static constexpr Index kMostProducts = 14;
    static constexpr Index kAll = Index{1} << 60;

    __attribute__((noinline)) void work() {
      while (spent_ < due_) {
        if (to_see_ > 0) {
          task_.see(next_, seen_ - to_see_--);
          spent_ += kSee;
        } else if (row_ < rows_) {
          task_.weigh(item_, row_, step_, step_ + piece_);
          spent_ += piece_ * kWeigh;
          step_ += piece_;
          if (step_ == steps_) {
            task_.close(item_, row_++);
            step_ = 0;
          }
        } else {
          break;
        }
      }
    }

    TileForward& task_;
    const Item &item_, &next_;
    Index steps_, rows_, seen_, share_, piece_;
    Index to_see_ = 0, due_ = 0, spent_ = 0, row_ = 0, step_ = 0;
  };

  PYFAST_INLINE void see(const Item& t, Index r) {
    float* s = scores(t) + r * kAttentionKeys;
    const vec<float> tops =
        t.plain ? RunningSoftmax<float>::tops(s + t.keys.begin, t.keys.end - t.keys.begin)
                : RunningSoftmax<float>::tops_masked(s, t.keys, unit_,
                                                     {head_, t.b.i + r, t.b.j, t.b.columns});
    tops.store(tops_ + r * w);
  }

  // The largest of 16 numbers, in 16 rows.
  static vec<float> max_of_rows(const float* from) {
    __m512 x[w];  // in an order that leaves each row's largest where it belongs
    amx::unroll<w>([&](auto i) PYFAST_INLINED {
      constexpr int within = i % 4, block = i / 4, swapped[] = {0, 2, 1, 3};
      x[i] = _mm512_loadu_ps(from + (4 * swapped[block] + swapped[within]) * w);
    });
    amx::unroll<8>([&](auto i) PYFAST_INLINED {
      x[i] = _mm512_max_ps(_mm512_shuffle_f32x4(x[i], x[i + 8], 0x44),
                           _mm512_shuffle_f32x4(x[i], x[i + 8], 0xee));
    });
    amx::unroll<4>([&](auto i) PYFAST_INLINED {
      x[i] = _mm512_max_ps(_mm512_shuffle_f32x4(x[i], x[i + 4], 0x88),
                           _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd));
    });
    amx::unroll<2>([&](auto i) PYFAST_INLINED {
      x[i] = _mm512_max_ps(_mm512_shuffle_ps(x[i], x[i + 2], 0x44),
                           _mm512_shuffle_ps(x[i], x[i + 2], 0xee));
    });
    return vec<float>(
        _mm512_max_ps(_mm512_shuffle_ps(x[0], x[1], 0x88), _mm512_shuffle_ps(x[0], x[1], 0xdd)));
  }

  // The scores have been seen; false, and nothing done, where one is beyond kMostFused.
  bool raise(const Item& t) {
    const vec<float> most(kMostFused<float>), nothing(-kInfinity<float>);
    bool beyond = false;
    for (Index r = 0; r < t.b.rows; r += w) {
      vec<float> highest = max_of_rows(tops_ + r * w);
      if (t.plain) highest *= vec<float>(unit_);
      const auto far = abs(highest) >= most;
      const auto rows = mask<float>::first(static_cast<int>(least(w, t.b.rows - r)));
      beyond |= (rows & (t.plain ? far : far & (highest != nothing))).any();
      // An epsilon more: no weight is above 1 for the rounding of its exponent.
      if (t.plain) highest += vec<float>(0x1p-23f) * abs(highest);
      softmax_.saw(r, highest);
    }
    if (!beyond) softmax_.raise(t.first, t.b.rows);
    return !beyond;
  }

  PYFAST_INLINE void weigh(const Item& t, Index r, Index begin, Index end) {
    if (begin == 0) ahead_.fetch();
    if (head_.dropout && begin == 0)
      fill_whole_keep(head_, t.b.i + r, t.b.j, t.b.columns, keep_ + r * kAttentionKeys);
    t.digits ? weigh_digits(t, r, begin, end) : weigh_parts(t, r, begin, end);
  }

  PYFAST_INLINE void weigh_digits(const Item& t, Index r, Index begin, Index end) {
    const vec<float> unit(t.plain ? unit_ : 1.0f), shift(-softmax_.shift(r));
    const Index steps = (t.keys.end - t.keys.begin) / kStep;
    const Index at = r * kAttentionKeys + t.keys.begin + begin * kStep;
    const float *s = scores(t) + at, *keep = keep_ + at;
    auto* to = reinterpret_cast<std::uint8_t*>(weights(t)) +
               (r / kAmxTile * steps + begin) * WeightDigits::kStepBytes + r % kAmxTile * kStep;
    __m512i total = total_, bits = bits_;
    for (Index step = begin; step < end; ++step) {
      __m512i x[4];
      amx::unroll<4>([&](auto i) PYFAST_INLINED {
        x[i] = WeightDigits::weights(fma(vec<float>::load(s + i * w), unit, shift));
        total = _mm512_add_epi32(total, x[i]);
      });
      constexpr int kOr = 0xfe;
      bits = _mm512_ternarylogic_epi32(bits, x[0], x[1], kOr);
      bits = _mm512_ternarylogic_epi32(bits, x[2], x[3], kOr);
      if (head_.dropout)
        amx::unroll<4>([&](auto i) PYFAST_INLINED {
          const __m512i kept = _mm512_castps_si512(_mm512_loadu_ps(keep + i * w));
          x[i] = _mm512_maskz_mov_epi32(_mm512_test_epi32_mask(kept, kept), x[i]);
        });
      WeightDigits::store(to, x[0], x[1], x[2], x[3]);
      s += kStep, keep += kStep, to += WeightDigits::kStepBytes;
    }
    total_ = total;
    bits_ = bits;
  }

  PYFAST_INLINE void weigh_parts(const Item& t, Index r, Index begin, Index end) {
    const vec<float> unit(t.plain ? unit_ : 1.0f), shift(-softmax_.shift(r));
    const Index tiles = wide(t.b.rows) / kAmxTile, part = tiles * kAmxTileItems;
    const float* keep = keep_ + r * kAttentionKeys;
    std::uint16_t* to = weights(t) + begin * 2 * kParts * part + r / kAmxTile * kAmxTileItems +
                        r % kAmxTile * kAmxDepth;
    vec<float> sum = sum_;
    for (Index k = t.keys.begin + begin * kStep; k < t.keys.begin + end * kStep;
         k += 2 * w, to += kParts * part) {
      const float* s = scores(t) + r * kAttentionKeys + k;
      vec<float> low = exp2(fma(vec<float>::load(s), unit, shift), amx::kScale);
      vec<float> high = exp2(fma(vec<float>::load(s + w), unit, shift), amx::kScale);
      sum += low;
      sum += high;
      if (head_.dropout) {
        low *= vec<float>::load(keep + k);
        high *= vec<float>::load(keep + k + w);
      }
      const auto first = amx::Parts<kParts>::of_scaled(low.v),
                 second = amx::Parts<kParts>::of_scaled(high.v);
      unroll<kParts>([&](auto p) PYFAST_INLINED {
        _mm512_storeu_si512(to + p * part, amx::join(first.part[p], second.part[p]));
      });
    }
    sum_ = sum;
  }

  PYFAST_INLINE void close(const Item& t, Index r) {
    vec<float> sum;
    if (t.digits) {
      const __m512i total = std::exchange(total_, _mm512_setzero_si512());
      sum = vec<float>(_mm512_cvtepi32_ps(total)) * vec<float>(1 / WeightDigits::kOne);
    } else {
      all_ += sum = std::exchange(sum_, {}) * vec<float>(1 / amx::kScale);
    }
    softmax_.add(t.first + r, r, sum);
  }

  // After the weights of an item: false where one is NaN.
  bool keep_factors(const Item& t) {
    for (Index r = 0; r < kTile; r += w)
      vec<float>::load(softmax_.factors() + r).store(factors(t) + r);
    // No weight is larger than 1, in 24 bits, but for what a NaN is turned into.
    const __m512i bits = std::exchange(bits_, _mm512_setzero_si512());
    const float sum = reduce_add(std::exchange(all_, {}));
    return sum == sum && _mm512_test_epi32_mask(bits, _mm512_set1_epi32(-0x1000000)) == 0;
  }

  template <class Refused>
  void refuse(const Item& t, Refused refused) {
    const vec<float> unit(t.plain ? unit_ : 1.0f);
    for (Index r = 0; r < t.b.rows; ++r) {
      float* s = scores(t) + r * kAttentionKeys;
      const vec<float> shift(-softmax_.shift(r));
      vec<float> sum;
      for (Index k = 0; k < kAttentionKeys; k += w) {
        const bool seen = k >= t.keys.begin && k < t.keys.end;
        vec<float> weight = seen ? exp2(fma(vec<float>::load(s + k), unit, shift)) : vec<float>();
        sum += weight;
        if (head_.dropout && seen) weight *= vec<float>::load(keep_ + r * kAttentionKeys + k);
        weight.store(s + k);
      }
      const float seen = reduce_add(sum);  // that of its digits knows of no NaN
      if (seen != seen) softmax_.add(t.first + r, r, sum);
    }
    refused(t.b, t.first, scores(t));
  }

  // ---- the products

  // Keys of an item, by tiles, whose scores and parts there are.
  static Keys key_tiles(const Item& t) {
    return {t.keys.begin, least(t.keys.end, whole(t.b.columns))};
  }
  Index score_products(const Item& t) const {
    if (!t.used) return 0;
    return 24 * ceil_div(t.keys.end - t.keys.begin, kTile) * ceil_div(head_.width, kAmxDepth);
  }
  Index value_products(const Item& t) const {
    if (!t.used) return 0;
    const Index keys = t.keys.end - t.keys.begin;
    if (t.digits)
      return WeightDigits::kProducts * keys / kStep * (wide(t.b.rows) / kAmxTile) *
             ceil_div(head_.value_width, w);
    return 24 * ceil_div(keys, kTile) * ceil_div(head_.value_width, kTile);
  }

  // Scores are left 2^80 times too large: unit_ knows.
  void find_scores(const Item& t, Softening& beside) {
    const Index width = whole(head_.width);
    const AmxOperand query = panel(query_ + t.first * width * kParts, kTile);
    const Keys seen = key_tiles(t);
    for (Index k = seen.begin; k < seen.end; k += kTile) {
      multiply(width / kAmxDepth, query, panel(keys_ + k * width * kParts, kTile), leaving_,
               beside);
      float* to = scores(t) + k;
      const Index below = kAmxTile * kAttentionKeys;
      leaving_ = {{to, to + kAmxTile, to + below, to + below + kAmxTile}, kAttentionKeys * 4};
    }
  }

  void add_values(const Item& t, Softening& beside) {
    t.digits ? add_values_by_digits(t, beside) : add_values_by_parts(t, beside);
  }

  // A tile's sums, and what they are added to, during the products of the next but one.
  struct Adding {
    const std::int32_t (*sums)[kAmxTile * kAmxTile];
    float* to;
    const float *factors, *column_factors;
  };
  struct AddingBeside {
    const TileForward& task;
    Softening& beside;
    Index pace;
    Adding what{};
    Index row = kAmxTile;

    void open(const Adding& next) {
      finish();
      what = next;
      row = next.sums ? 0 : kAmxTile;
    }
    PYFAST_INLINE void advance(Index products) {
      beside.advance(products);
      for (const Index end = least(kAmxTile, row + pace); row < end; ++row) add();
    }
    void finish() {
      for (; row < kAmxTile; ++row) add();
    }
    PYFAST_INLINE void add() const {
      float* at = what.to + row * task.ld_;
      const vec<float> sum =
          WeightDigits::sum(what.sums, row) * vec<float>::load(what.column_factors);
      fma(vec<float>::load(at), vec<float>(what.factors[row]), sum).store(at);
    }
  };

  void add_values_by_digits(const Item& t, Softening& beside) {
    using D = WeightDigits;
    const Index steps = (t.keys.end - t.keys.begin) / kStep;
    const Index column = ceil_div(t.b.columns, kStep) * D::kValueStepBytes;
    const std::uint8_t* values = value_digits_ + t.keys.begin / kStep * D::kValueStepBytes;
    const auto* left = reinterpret_cast<const std::uint8_t*>(weights(t));
    AddingBeside adding{*this, beside, ceil_div(kAmxTile, 3 * steps)};
    Adding last{}, before{};
    int at = 0;
    for (Index c = 0; c < head_.value_width; c += w)
      for (Index r = 0; r < t.b.rows; r += kAmxTile) {
        adding.open(before);
        D::multiply(steps, left + r / kAmxTile * steps * D::kStepBytes, values + c / w * column,
                    leaving_, adding);
        leaving_ = {{sums_[at][0], sums_[at][1], sums_[at][2], sums_[at][3]}, 64};
        before = std::exchange(last, {sums_[at], output_ + (t.first + r) * ld_ + c, factors(t) + r,
                                      value_factors_ + c});
        at = 1 - at;
      }
    adding.open(before);
    leave();
    adding.open(last);
    adding.finish();
  }

  // What is still in the tiles goes where it belongs.
  void leave() {
    leaving_.finish();
    leaving_ = {{sums_[0][0], sums_[0][1], sums_[0][2], sums_[0][3]}, 64};
  }

  void add_values_by_parts(const Item& t, Softening& beside) {
    leave();
    const Keys seen = key_tiles(t);
    const Index depth = whole(t.b.columns), steps = (seen.end - seen.begin) / kAmxDepth;
    const AmxOperand left = panel(weights(t), t.b.rows);
    for (Index c = 0; c < head_.value_width; c += kTile) {
      const Index columns = head_.value_width - c;
      const AmxOperand values =
          panel(values_ + (c * depth + seen.begin * wide(columns)) * kParts, columns);
      with_tiles(t.b.rows, columns, [&]<int a, int b>() {
        multiply<a, b>(steps, left, values, beside);
        add_tiles<a, b>(output_ + t.first * ld_ + c, factors(t));
      });
    }
  }

  template <int a_tiles, int b_tiles>
  PYFAST_INLINE void add_tiles(float* to, const float* factors) const {
    const vec<float> unscale(amx::kUnscale);
    each_sum<a_tiles, b_tiles>([&](Index r, Index column, vec<float> sum) PYFAST_INLINED {
      float* at = to + r * ld_ + column;
      fma(vec<float>::load(at), vec<float>(factors[r]), sum * unscale).store(at);
    });
  }

  const AttentionHead<float>& head_;
  FetchAhead ahead_;
  const float unit_;
  RunningSoftmax<float>& softmax_;
  float* output_;
  const Index ld_;
  float *scores_, *factors_;  // of two items
  float* tops_;               // of an item's rows, lane by lane
  float* keep_;               // what dropout leaves of one's weights
  float* value_factors_;      // of the block's columns, by digits
  alignas(64) std::int32_t sums_[2][4][kAmxTile * kAmxTile];
  Leaving leaving_{{sums_[0][0], sums_[0][1], sums_[0][2], sums_[0][3]}, 64};
  std::uint16_t *query_, *keys_, *values_;  // parts: the task's, the block's
  std::uint16_t* weights_;                  // of two items: parts, or digits
  std::uint8_t* value_digits_;
  Index begin_ = 0, rows_ = 0;
  bool digits_ = false;  // values and weights of the block
  Magnitudes query_seen_;
  // Of weights in parts: a row's sum, an item's. In digits: a row's sum, all bits of an item's.
  vec<float> sum_, all_;
  __m512i total_ = _mm512_setzero_si512(), bits_ = _mm512_setzero_si512();
};

#endif

}  // namespace
}  // namespace pyfast::PYFAST_ISA
