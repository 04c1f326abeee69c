// Forward on AMX tiles. A block of keys and values is split once for all queries of the task; those
// come 32 at a time, and while the tiles multiply the next one's scores and the last one's values,
// the vector units make weights of this one's scores: after every four tile products stands a
// piece of that work, and the processor runs the two side by side.
// Included by kernel_forward.cpp only; everything here belongs to its namespace.
#pragma once

#include "ops/attention/kernel_softmax.h"
#include "ops/attention/kernel_tiles.h"

namespace pyfast::PYFAST_ISA {
namespace {

// Where there are no tiles.
template <class T>
class TileForward {
 public:
  static Index size(const AttentionHead<T>&, Index) { return 0; }
  TileForward(const AttentionHead<T>&, Index, T, RunningSoftmax<T>&, T*, Index, T*) {}
  void open(const Left<T>&, Index, Index) {}
  template <class Refused>
  bool attend(Index, Index, Refused) {
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
    return split * kParts / 2 + 2 * kTile * (kAttentionKeys + 1);
  }

  // unit: from a product of query and key to a score in units of log 2; output: rows ld apart.
  TileForward(const AttentionHead<float>& head, Index rows, float unit,
              RunningSoftmax<float>& softmax, float* output, Index ld, float* scratch)
      : head_(head),
        unit_(unit * amx::kUnscale),
        softmax_(softmax),
        output_(output),
        ld_(ld),
        scores_(scratch),
        factors_(scores_ + 2 * kTile * kAttentionKeys),
        query_(reinterpret_cast<std::uint16_t*>(factors_ + 2 * kTile)),
        keys_(query_ + kParts * rows * whole(head.width)),
        values_(keys_ + kParts * kAttentionKeys * whole(head.width)),
        weights_(values_ + kParts * kAttentionKeys * whole(head.value_width)) {}

  // Of queries begin ... begin + rows.
  void open(const Left<float>& query, Index begin, Index rows) {
    if (!head_.tiles) return;
    begin_ = begin;
    rows_ = rows;
    query_seen_ = {};
    for (Index r = 0; r < rows; r += kTile)
      amx::kernels().split_rows(query_ + r * whole(head_.width) * kParts,
                                query.data + r * query.stride, query.stride, count(rows - r),
                                wide(rows - r), head_.width, kParts, query_seen_);
  }

  // All of them meet keys j ... j + columns; false, and nothing done, where the magnitudes of an
  // operand do not suit the tiles. refused(block, first, scores): rows whose weights, which take
  // the scores' place, hold a NaN.
  template <class Refused>
  bool attend(Index j, Index columns, Refused refused) {
    if (!head_.tiles || !split(j, columns)) return false;
    Index row = 0;
    Item last{}, now{};
    for (bool more = true; more || now.used || last.used;) {
      Item next = more ? find(row, j, columns) : Item{};
      more = next.used;
      next.slot = 1 - now.slot;
      Softening beside(*this, now, score_steps(next) + value_steps(last));
      if (next.used) find_scores(next, beside);
      if (last.used) add_values(last, beside);
      beside.finish();
      if (now.used && !keep_factors(now)) {
        refuse(now, refused);
        now.used = false;
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
    bool plain;  // each of them sees each of these, and none is padding
    int slot;    // where its scores, weights and factors are
    bool used;
  };

  float* scores(const Item& t) const { return scores_ + t.slot * kTile * kAttentionKeys; }
  float* factors(const Item& t) const { return factors_ + t.slot * kTile; }
  std::uint16_t* weights(const Item& t) const {
    return weights_ + t.slot * kTile * kAttentionKeys * kParts;
  }

  bool split(Index j, Index columns) {
    const AmxKernels& kernels = amx::kernels();
    Magnitudes keys, values;
    const float* from = head_.key.data + j * head_.key.row;
    for (Index k = 0; k < columns; k += kTile)
      kernels.split_turned(keys_ + k * whole(head_.width) * kParts, from + k * head_.key.row,
                           head_.key.row, count(columns - k), wide(columns - k), head_.width,
                           kParts, keys);
    from = head_.value.data + j * head_.value.row;
    for (Index c = 0; c < head_.value_width; c += kTile)
      kernels.split_right(values_ + c * whole(columns) * kParts, from + c, head_.value.row,
                          count(head_.value_width - c), wide(head_.value_width - c), columns,
                          kParts, values);
    return gemm::amx_fits(query_seen_, keys, head_.width) &&
           gemm::amx_fits(kWeights, values, columns);
  }

  // The next queries, from the task's `row` on, that see any key of the block.
  Item find(Index& row, Index j, Index columns) const {
    while (row < rows_) {
      const Index first = std::exchange(row, row + kTile);
      const Block b{begin_ + first, least(kTile, rows_ - first), j, columns};
      const Seen seen = seen_by(head_, b);
      if (seen.keys.begin < seen.keys.end)
        return {b, first, seen.keys, seen.all && columns % kTile == 0, 0, true};
    }
    return {};
  }

  // The making of weights, cut into pieces.
  class Softening {
   public:
    Softening(TileForward& task, const Item& item, Index pieces)
        : task_(task),
          item_(item),
          steps_((item.keys.end - item.keys.begin) / kAmxDepth),
          end_(item.used ? item.b.rows * (kSee + kWeigh * steps_) : 0),
          piece_(ceil_div(end_, most(1, pieces))) {
      if (item.used) task.softmax_.open_block(item.b.rows);
    }
    PYFAST_INLINE void advance() {
      due_ += piece_;
      if (spent_ < due_ && spent_ < end_) work(least(due_, end_));
    }
    void finish() {
      if (spent_ < end_) work(end_);
    }

   private:
    static constexpr Index kSee = 1, kWeigh = 2;  // what a row costs, and a step of one

    __attribute__((noinline)) void work(Index due) {
      while (spent_ < due) {
        if (seen_ < item_.b.rows) {
          task_.see(item_, seen_++);
          spent_ += kSee;
          if (seen_ == item_.b.rows) task_.softmax_.raise(item_.first, item_.b.rows);
        } else {
          task_.weigh(item_, row_, step_);
          if (++step_ == steps_) {
            task_.close(item_, row_++);
            step_ = 0;
          }
          spent_ += kWeigh;
        }
      }
    }

    TileForward& task_;
    const Item& item_;
    Index steps_, end_, piece_, due_ = 0, spent_ = 0, seen_ = 0, row_ = 0, step_ = 0;
  };

  PYFAST_INLINE void see(const Item& t, Index r) {
    float* s = scores(t) + r * kAttentionKeys;
    if (t.plain) return softmax_.see(r, s + t.keys.begin, t.keys.end - t.keys.begin, unit_);
    softmax_.see_masked(r, s, t.keys, unit_, {head_, t.b.i + r, t.b.j, t.b.columns});
  }

  PYFAST_INLINE void weigh(const Item& t, Index r, Index step) {
    const vec<float> unit(t.plain ? unit_ : 1.0f), shift(-softmax_.shift(r));
    const float* s = scores(t) + r * kAttentionKeys + t.keys.begin + step * kAmxDepth;
    const Index tiles = wide(t.b.rows) / kAmxTile, part = tiles * kAmxTileItems;
    std::uint16_t* to =
        weights(t) + step * kParts * part + r / kAmxTile * kAmxTileItems + r % kAmxTile * kAmxDepth;
    const vec<float> low = exp2(fma(vec<float>::load(s), unit, shift), amx::kScale);
    const vec<float> high = exp2(fma(vec<float>::load(s + w), unit, shift), amx::kScale);
    sum_ += low;
    sum_ += high;
    const auto first = amx::Parts<kParts>::of_scaled(low.v),
               second = amx::Parts<kParts>::of_scaled(high.v);
    unroll<kParts>([&](auto p) PYFAST_INLINED {
      _mm512_storeu_si512(to + p * part, amx::join(first.part[p], second.part[p]));
    });
  }

  PYFAST_INLINE void close(const Item& t, Index r) {
    sum_ *= vec<float>(1 / amx::kScale);
    softmax_.add(t.first + r, r, sum_);
    all_ += sum_;
    sum_ = {};
  }

  // After the weights of an item: false where one is NaN.
  bool keep_factors(const Item& t) {
    for (Index r = 0; r < kTile; r += w)
      vec<float>::load(softmax_.factors() + r).store(factors(t) + r);
    const float sum = reduce_add(std::exchange(all_, {}));
    return sum == sum;
  }

  template <class Refused>
  void refuse(const Item& t, Refused refused) {
    const vec<float> unit(t.plain ? unit_ : 1.0f);
    for (Index r = 0; r < t.b.rows; ++r) {
      float* s = scores(t) + r * kAttentionKeys;
      const vec<float> shift(-softmax_.shift(r));
      for (Index k = 0; k < kAttentionKeys; k += w) {
        const bool seen = k >= t.keys.begin && k < t.keys.end;
        (seen ? exp2(fma(vec<float>::load(s + k), unit, shift)) : vec<float>()).store(s + k);
      }
    }
    refused(t.b, t.first, scores(t));
  }

  // ---- the products

  Index score_steps(const Item& t) const {
    if (!t.used) return 0;
    return 6 * ceil_div(t.keys.end - t.keys.begin, kTile) * ceil_div(head_.width, kAmxDepth);
  }
  Index value_steps(const Item& t) const {
    if (!t.used) return 0;
    return 6 * ceil_div(t.keys.end - t.keys.begin, kTile) * ceil_div(head_.value_width, kTile);
  }

  // Scores are left 2^80 times too large: unit_ knows.
  void find_scores(const Item& t, Softening& beside) {
    const Index width = whole(head_.width);
    const AmxOperand query = panel(query_ + t.first * width * kParts, t.b.rows);
    for (Index k = t.keys.begin; k < t.keys.end; k += kTile) {
      const Index columns = t.b.columns - k;
      const AmxOperand keys = panel(keys_ + k * width * kParts, columns);
      float* to = scores(t) + k;
      with_tiles(t.b.rows, columns, [&]<int a, int b>() {
        multiply<a, b>(width / kAmxDepth, query, keys, beside);
        amx::unroll<a * b>([&](auto c) PYFAST_INLINED {
          amx::tile_store<c>(to + c / b * kAmxTile * kAttentionKeys + c % b * kAmxTile,
                             kAttentionKeys * 4);
        });
      });
    }
  }

  void add_values(const Item& t, Softening& beside) {
    const Index depth = whole(t.b.columns), steps = (t.keys.end - t.keys.begin) / kAmxDepth;
    const AmxOperand left = panel(weights(t), t.b.rows);
    for (Index c = 0; c < head_.value_width; c += kTile) {
      const Index columns = head_.value_width - c;
      const AmxOperand values =
          panel(values_ + (c * depth + t.keys.begin * wide(columns)) * kParts, columns);
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
  const float unit_;
  RunningSoftmax<float>& softmax_;
  float* output_;
  const Index ld_;
  float *scores_, *factors_;                           // of two items
  std::uint16_t *query_, *keys_, *values_, *weights_;  // parts: the task's, the block's, two items'
  Index begin_ = 0, rows_ = 0;
  Magnitudes query_seen_;
  vec<float> sum_, all_;  // of a row's weights, and an item's
};

#endif

}  // namespace
}  // namespace pyfast::PYFAST_ISA
