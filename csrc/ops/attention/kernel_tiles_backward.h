// Backward on AMX tiles, all five products. Queries, and the gradient of the output with them, are
// split once for all keys of a task, as rows and turned; keys and values once a block. P and dS of
// some queries and a block of keys are an item; while the tiles multiply the next one's scores and
// dP, and the last one's P and dS, the vector units make P and dS of this one and split them: by
// pairs of queries for dvalue^T = grad^T P and dkey^T = query^T dS, whose right operands they are,
// and by the row for dquery = dS key.
// Included by kernel_backward.cpp only; everything here belongs to its namespace.
#pragma once

#include "ops/attention/kernel_tiles_sums.h"

namespace pyfast::PYFAST_ISA {
namespace {

// Where there are no tiles.
template <class T>
class TileBackward {
 public:
  static Index size(const AttentionHead<T>&) { return 0; }
  TileBackward(const AttentionHead<T>&, const AttentionUpstream<T>&, const AttentionTargets<T>&,
               T*) {}
  template <class Refused>
  void run(const AttentionRange&, Refused) {}
};

#ifdef PYFAST_ISA_AVX512

template <>
class TileBackward<float> : Tiles {
 public:
  // Floats of scratch.
  static Index size(const AttentionHead<float>& head) {
    if (!head.tiles) return 0;
    const Index width = whole(head.width), value_width = whole(head.value_width);
    const Index rows = most_rows(head);
    const Index parts = 2 * rows * (width + value_width) +
                        kAttentionKeys * (2 * width + value_width) + 2 * 3 * kScores;
    return kParts * parts / 2 + 5 * kScores + kAttentionKeys * (width + value_width) +
           rows * (head.query.column == 1 ? 3 : 3 + padded<float>(head.width));
  }

  TileBackward(const AttentionHead<float>& head, const AttentionUpstream<float>& upstream,
               const AttentionTargets<float>& targets, float* scratch)
      : head_(head),
        upstream_(upstream),
        to_(targets),
        unit_(static_cast<float>(kLog2e) * head.scale * amx::kUnscale),
        most_rows_(most_rows(head)),
        width_(whole(head.width)),
        value_width_(whole(head.value_width)) {
    const auto take = [&scratch](Index n) { return std::exchange(scratch, scratch + n); };
    const auto take_parts = [&](Index n) {
      return reinterpret_cast<std::uint16_t*>(take(kParts * n / 2));
    };
    scores_ = take(2 * kScores);
    slopes_ = take(2 * kScores);
    keep_ = take(kScores);
    grad_keys_ = take(kAttentionKeys * width_);
    grad_values_ = take(kAttentionKeys * value_width_);
    shift_ = take(most_rows_);
    share_ = take(most_rows_);
    grad_dot_ = take(most_rows_);
    query_ = take_parts(most_rows_ * width_);
    query_turned_ = take_parts(most_rows_ * width_);
    grad_ = take_parts(most_rows_ * value_width_);
    grad_turned_ = take_parts(most_rows_ * value_width_);
    keys_ = take_parts(kAttentionKeys * width_);
    key_rows_ = take_parts(kAttentionKeys * width_);
    values_ = take_parts(kAttentionKeys * value_width_);
    weight_pairs_ = take_parts(2 * kScores);
    slope_pairs_ = take_parts(2 * kScores);
    slope_rows_ = take_parts(2 * kScores);
    packed_query_ = scratch;
  }

  // All of the range but for what is handed to refused(range): where the magnitudes of operands, or
  // a row that is not finite, do not suit the tiles.
  template <class Refused>
  void run(const AttentionRange& range, Refused refused) {
    const Index first = most(0, range.key_begin - head_.after - range.query_begin);
    const Index begin = range.query_begin + first / kTile * kTile;
    const Index end = least(range.query_end, range.key_end + head_.before);
    for (Index i = begin; i < end; i += most_rows_) {
      open(i, least(most_rows_, end - i));
      for (Index j = range.key_begin; j < range.key_end; j += kAttentionKeys)
        meet(j, least(kAttentionKeys, range.key_end - j), refused);
    }
  }

 private:
  static constexpr Index kGroups = 2, kItemRows = kGroups * kTile;  // queries of an item, by tiles
  static constexpr Index kScores = kItemRows * kAttentionKeys;
  static constexpr Index kTiles = 2;                               // of a panel of queries or keys
  static constexpr Index kStep = kParts * kTiles * kAmxTileItems;  // of such a panel

  struct Item {
    Block b;
    Index first;         // of the queries that are open
    Keys seen[kGroups];  // by each tile of queries, in whole steps
    bool plain;          // each query sees each of these, and none is padding
    int slot;
    bool used;
  };

  // So many that their parts stay in L2 for the most part.
  static Index most_rows(const AttentionHead<float>& head) {
    constexpr Index kBytes = 3 << 20, kMost = 1024;
    const Index row = 2 * 2 * kParts * (whole(head.width) + whole(head.value_width));
    const Index rows = least(kMost, ceil_div(head.queries, kItemRows) * kItemRows);
    return least(rows, most(1, kBytes / row / kItemRows) * kItemRows);
  }

  // ---- queries

  void open(Index begin, Index rows) {
    begin_ = begin;
    rows_ = rows;
    const Strided<float>& q = head_.query;
    const float* query = q.data + begin * q.row;
    Index row = q.row;
    if (q.column != 1) {
      row = padded<float>(head_.width);
      pack_rows(packed_query_, row, {query, q.row, q.column}, rows, head_.width, 1.0f);
      query = packed_query_;
    }
    const float* grad = upstream_.grad + begin * upstream_.grad_row;
    query_seen_ = grad_seen_ = {};
    split_queries(query_, query_turned_, query, row, head_.width, query_seen_);
    split_queries(grad_, grad_turned_, grad, upstream_.grad_row, head_.value_width, grad_seen_);
    open_rows();
  }

  void split_queries(std::uint16_t* as_rows, std::uint16_t* turned, const float* from, Index stride,
                     Index width, Magnitudes& seen) {
    const AmxKernels& kernels = amx::kernels();
    for (Index r = 0; r < rows_; r += kTile)
      kernels.split_rows(as_rows + r * whole(width) * kParts, from + r * stride, stride,
                         count(rows_ - r), kTile, width, kParts, seen);
    for (Index c = 0; c < width; c += kTile)
      kernels.split_left(turned + c * whole(rows_) * kParts, from + c, stride, count(width - c),
                         wide(width - c), rows_, kParts, seen);
  }

  void open_rows() {
    dot_bound_ = 0;
    for (Index r = 0; r < whole(rows_); ++r) {
      const bool there = r < rows_;
      const float top = there ? upstream_.row_max[begin_ + r] : 0;
      const float sum = there ? upstream_.row_sum[begin_ + r] : 0;
      shift_[r] = top == -kInfinity<float> ? 0 : top;
      share_[r] = sum == 0 ? 0 : amx::kScale / sum;
      grad_dot_[r] = there ? upstream_.grad_dot[begin_ + r] : 0;
      dot_bound_ = most_of(dot_bound_, grad_dot_[r]);
    }
  }
  static float most_of(float a, float b) { return __builtin_fmaxf(a, __builtin_fabsf(b)); }

  // Whether the rows of an item are finite, and so P and dS of finite operands, and their scores
  // are those of forward's tiles (see kernel_exponent.h).
  bool sound(const Item& t) const {
    float sum = 0, top = 0;
    for (Index r = t.first; r < t.first + t.b.rows; ++r) {
      sum += (shift_[r] + share_[r] + grad_dot_[r]) * 0.0f;
      top = most_of(top, shift_[r]);
    }
    return sum == 0 && top < kMostFused<float>;
  }

  // ---- a block of keys

  template <class Refused>
  void meet(Index j, Index columns, Refused refused) {
    if (cover_of(head_, {begin_, rows_, j, columns}) == Cover::none) return;
    if (!split(j, columns)) return refused({begin_, begin_ + rows_, j, j + columns});
    Index row = 0;
    Item last{}, now{}, next = find(row, j, columns, refused);
    fill(grad_keys_, kAttentionKeys * width_, 0.0f);
    fill(grad_values_, kAttentionKeys * value_width_, 0.0f);
    while (next.used || now.used || last.used) {
      next.slot = 1 - now.slot;
      Differentiation beside(*this, now, score_pieces(next) + gradient_pieces(last));
      if (next.used) find_scores(next, beside);
      if (last.used)
        add_gradients(last, beside);
      else
        sums_.settle();  // scores are read next
      beside.finish();
      last = std::exchange(now, next);
      next = next.used ? find(row, j, columns, refused) : Item{};
    }
    sums_.settle();
    close(j, columns);
  }

  // The next item, from the open queries' `row` on, that sees any key of the block.
  template <class Refused>
  Item find(Index& row, Index j, Index columns, Refused refused) const {
    while (row < rows_) {
      const Index first = std::exchange(row, row + kItemRows);
      Item t{
          {begin_ + first, least(kItemRows, rows_ - first), j, columns}, first, {}, true, 0, false};
      t.plain = columns % kTile == 0;
      for (Index g = 0; g * kTile < t.b.rows; ++g) {
        const Seen seen = seen_by(head_, t.b.part(g * kTile, least(kTile, t.b.rows - g * kTile)));
        t.seen[g] = seen.keys;
        t.used |= seen.keys.begin < seen.keys.end;
        t.plain &= seen.all;
      }
      if (!t.used) continue;
      if (sound(t)) return t;
      refused({t.b.i, t.b.i + t.b.rows, j, j + columns});
    }
    return {};
  }

  bool split(Index j, Index columns) {
    const AmxKernels& kernels = amx::kernels();
    Magnitudes keys, values;
    const float *key = head_.key.data + j * head_.key.row,
                *value = head_.value.data + j * head_.value.row;
    for (Index k = 0; k < columns; k += kTile) {
      kernels.split_turned(keys_ + k * width_ * kParts, key + k * head_.key.row, head_.key.row,
                           count(columns - k), kTile, head_.width, kParts, keys);
      kernels.split_turned(values_ + k * value_width_ * kParts, value + k * head_.value.row,
                           head_.value.row, count(columns - k), kTile, head_.value_width, kParts,
                           values);
    }
    if (to_.query)
      for (Index c = 0; c < head_.width; c += kTile)
        kernels.split_right(key_rows_ + c * kAttentionKeys * kParts, key + c, head_.key.row,
                            count(head_.width - c), wide(head_.width - c), columns, kParts, keys);
    return fits(keys, values);
  }

  bool fits(const Magnitudes& keys, const Magnitudes& values) const {
    const float keep = largest_weight(head_);
    const auto largest = [](const Magnitudes& m) { return __builtin_bit_cast(float, m.largest); };
    const Magnitudes slopes =
        up_to(keep * static_cast<float>(head_.value_width) * largest(grad_seen_) * largest(values) +
              dot_bound_);
    return gemm::amx_fits(query_seen_, keys, head_.width) &&
           gemm::amx_fits(grad_seen_, values, head_.value_width) &&
           gemm::amx_fits(up_to(keep), grad_seen_, rows_) &&
           gemm::amx_fits(slopes, query_seen_, rows_) &&
           gemm::amx_fits(slopes, keys, kAttentionKeys);
  }

  void close(Index j, Index columns) const {
    if (to_.key)
      add_turned(to_.key + j * head_.width, head_.width, grad_keys_, columns, head_.scale);
    if (to_.value)
      add_turned(to_.value + j * head_.value_width, head_.value_width, grad_values_, columns, 1.0f);
  }

  // to[k * width + c] += scale * from[c * kAttentionKeys + k].
  static void add_turned(float* to, Index width, const float* from, Index keys, float scale) {
    alignas(64) float turned[w * w];
    for (Index k = 0; k < keys; k += w)
      for (Index c = 0; c < width; c += w) {
        transpose_square(turned, w, from + c * kAttentionKeys + k, kAttentionKeys);
        const auto n = static_cast<int>(least(w, width - c));
        for (Index r = 0; r < least(w, keys - k); ++r) {
          float* at = to + (k + r) * width + c;
          fma(vec<float>::load(turned + r * w), vec<float>(scale), vec<float>::load(at, n))
              .store(at, n);
        }
      }
  }

  // ---- P and dS

  float* scores(const Item& t) const { return scores_ + t.slot * kScores; }
  float* slopes(const Item& t) const { return slopes_ + t.slot * kScores; }
  static std::uint16_t* parts(std::uint16_t* of_both, const Item& t) {
    return of_both + t.slot * kParts * kScores;
  }

  // Their making, cut into pieces.
  class Differentiation {
   public:
    Differentiation(TileBackward& task, const Item& item, Index pieces) : task_(task), item_(item) {
      if (!item.used) return;
      prepare_ = !item.plain || task.head_.dropout;
      if (prepare_) end_ += item.b.rows * kPrepare;
      for (const Keys& seen : item.seen)
        end_ += kTile / 2 * (seen.end - seen.begin) / kTile * kPair;
      piece_ = ceil_div(end_, most(1, pieces));
      skip();
    }
    PYFAST_INLINE void advance(Index) {
      due_ += piece_;
      if (spent_ < due_ && spent_ < end_) work(least(due_, end_));
    }
    void finish() {
      if (spent_ < end_) work(end_);
      if (item_.used) task_.clear_unseen(item_);
    }

   private:
    // What a row costs, and a step of two.
    static constexpr Index kPrepare = 1, kPair = 3;

    __attribute__((noinline)) void work(Index due) {
      while (spent_ < due) {
        if (prepare_ && prepared_ < item_.b.rows) {
          task_.prepare(item_, prepared_++);
          spent_ += kPrepare;
          continue;
        }
        task_.differentiate(item_, row_, key_);
        spent_ += kPair;
        key_ += kTile;
        if (key_ < item_.seen[row_ / kTile].end) continue;
        row_ += 2;
        skip();
      }
    }
    // To the first step of a row, or of the next tile's that sees any key.
    void skip() {
      for (; row_ < kItemRows; row_ = (row_ / kTile + 1) * kTile) {
        const Keys& seen = item_.seen[row_ / kTile];
        key_ = seen.begin;
        if (seen.begin < seen.end) return;
      }
    }

    TileBackward& task_;
    const Item& item_;
    Index end_ = 0, piece_ = 0, due_ = 0, spent_ = 0, row_ = 0, key_ = 0, prepared_ = 0;
    bool prepare_ = false;
  };

  // A row's scores masked, in units of log 2; what dropout leaves of its weights.
  void prepare(const Item& t, Index r) const {
    const Keys& seen = t.seen[r / kTile];
    if (!t.plain) {
      const MaskRow<float> mask(head_, t.b.i + r, t.b.j, t.b.columns);
      float* s = scores(t) + r * kAttentionKeys;
      for (Index k = seen.begin; k < seen.end; k += w)
        mask.apply(vec<float>::load(s + k), k, unit_, static_cast<float>(kLog2e)).store(s + k);
    }
    if (head_.dropout)
      fill_whole_keep(head_, t.b.i + r, t.b.j, t.b.columns, keep_ + r * kAttentionKeys);
  }

  // P and dS of queries r, r + 1 and keys k ... k + 32.
  PYFAST_INLINE void differentiate(const Item& t, Index r, Index k) const {
    const Index step = (k / kTile * kGroups + r / kTile) * kStep + r % kTile / 2 * kAmxDepth;
    std::uint16_t* weights = parts(weight_pairs_, t) + step;
    std::uint16_t* slopes = parts(slope_pairs_, t) + step;
    std::uint16_t* rows = parts(slope_rows_, t) + r / kTile * kAttentionKeys * kTile * kParts +
                          k / kTile * kStep + r % kTile * kAmxDepth;
    __m512i low[2][kParts];
    amx::unroll<2>([&](auto half) PYFAST_INLINED {
      const Slope first = slope(t, r, k + half * w), second = slope(t, r + 1, k + half * w);
      const auto p = amx::Parts<kParts>::of_scaled(first.weight.v),
                 q = amx::Parts<kParts>::of_scaled(second.weight.v);
      const auto d = amx::Parts<kParts>::of_scaled(first.slope.v),
                 e = amx::Parts<kParts>::of_scaled(second.slope.v);
      amx::unroll<kParts>([&](auto i) PYFAST_INLINED {
        const Index at = (i * kTiles + half) * kAmxTileItems;
        _mm512_store_si512(weights + at, amx::pair(p.part[i], q.part[i]));
        _mm512_store_si512(slopes + at, amx::pair(d.part[i], e.part[i]));
        if constexpr (half == 0) {
          low[0][i] = d.part[i];
          low[1][i] = e.part[i];
        } else {
          const Index part = i * kTiles * kAmxTileItems;
          _mm512_store_si512(rows + part, amx::join(low[0][i], d.part[i]));
          _mm512_store_si512(rows + part + kAmxDepth, amx::join(low[1][i], e.part[i]));
        }
      });
    });
  }

  struct Slope {
    vec<float> weight, slope;  // 2^40 times P and dS
  };
  PYFAST_INLINE Slope slope(const Item& t, Index r, Index k) const {
    const Index at = r * kAttentionKeys + k, row = t.first + r;
    const vec<float> unit(t.plain ? unit_ : 1.0f);
    const vec<float> s = fma(vec<float>::load(scores(t) + at), unit, vec<float>(-shift_[row]));
    const vec<float> weight = exp2(s) * vec<float>(share_[row]);
    const vec<float> d = vec<float>::load(slopes(t) + at), dot(-grad_dot_[row]);
    if (!head_.dropout) return {weight, weight * fma(d, vec<float>(amx::kUnscale), dot)};
    const vec<float> keep = r < t.b.rows ? vec<float>::load(keep_ + at) : vec<float>();
    return {weight * keep, weight * fma(d * vec<float>(amx::kUnscale), keep, dot)};
  }

  // Tiles of queries that see key `k`'s tile, from the first to the last.
  static Keys groups_of(const Item& t, Index k) {
    Keys groups{kGroups, 0};
    for (Index g = 0; g < kGroups; ++g)
      if (t.seen[g].begin <= k && k < t.seen[g].end) groups = {least(groups.begin, g), g + 1};
    return groups;
  }

  // Of those, the ones in between that do not.
  void clear_unseen(const Item& t) const {
    for (Index k = 0; k < kAttentionKeys; k += kTile) {
      const Keys groups = groups_of(t, k);
      for (Index g = groups.begin; g < groups.end; ++g) {
        if (t.seen[g].begin <= k && k < t.seen[g].end) continue;
        const Index step = (k / kTile * kGroups + g) * kStep;
        for (std::uint16_t* of : {weight_pairs_, slope_pairs_})
          fill(reinterpret_cast<float*>(parts(of, t) + step), kStep / 2, 0.0f);
      }
    }
  }

  // ---- the products

  static Index tile_pairs(const Item& t) {
    Index pairs = 0;
    for (const Keys& seen : t.seen) pairs += (seen.end - seen.begin) / kTile;
    return pairs;
  }
  Index score_pieces(const Item& t) const {
    return t.used ? 6 * tile_pairs(t) * (width_ + value_width_) / kTile : 0;
  }
  Index gradient_pieces(const Item& t) const {
    if (!t.used) return 0;
    const Index widths =
        (to_.key ? width_ : 0) + (to_.query ? width_ : 0) + (to_.value ? value_width_ : 0);
    return 6 * tile_pairs(t) * widths / kTile;
  }

  // Both are left 2^80 times too large.
  void find_scores(const Item& t, Differentiation& beside) {
    multiply_rows(t, query_, keys_, width_, scores(t), beside);
    multiply_rows(t, grad_, values_, value_width_, slopes(t), beside);
  }

  // By tiles of keys: those of the queries stay in L1.
  void multiply_rows(const Item& t, const std::uint16_t* left, const std::uint16_t* right,
                     Index width, float* to, Differentiation& beside) {
    for (Index k = 0; k < kAttentionKeys; k += kTile)
      for (Index g = 0; g < kGroups; ++g) {
        if (k < t.seen[g].begin || k >= t.seen[g].end) continue;
        sums_.store(width / kAmxDepth, panel(left + (t.first + g * kTile) * width * kParts, kTile),
                    panel(right + k * width * kParts, kTile), to + g * kTile * kAttentionKeys + k,
                    kAttentionKeys, beside);
      }
  }

  void add_gradients(const Item& t, Differentiation& beside) {
    if (to_.value)
      add_to_keys(t, grad_turned_, parts(weight_pairs_, t), head_.value_width, grad_values_,
                  beside);
    if (to_.key)
      add_to_keys(t, query_turned_, parts(slope_pairs_, t), head_.width, grad_keys_, beside);
    if (to_.query)
      for (Index r = 0; r < t.b.rows; r += kTile) add_to_queries(t, r, beside);
  }

  // to[c][key] += the sum over the item's queries of left[c][query] right[query][key].
  void add_to_keys(const Item& t, const std::uint16_t* left, const std::uint16_t* right,
                   Index width, float* to, Differentiation& beside) {
    for (Index k = 0; k < kAttentionKeys; k += kTile) {
      const Keys groups = groups_of(t, k);
      if (groups.begin < groups.end) add_to_tile(t, k, groups, left, right, width, to, beside);
    }
  }
  void add_to_tile(const Item& t, Index k, Keys groups, const std::uint16_t* left,
                   const std::uint16_t* right, Index width, float* to, Differentiation& beside) {
    const AmxOperand b = panel(right + (k / kTile * kGroups + groups.begin) * kStep, kTile);
    const Index first = t.first + groups.begin * kTile;
    for (Index c = 0; c < width; c += kTile) {
      const AmxOperand a =
          panel(left + (c * whole(rows_) + first * wide(width - c)) * kParts, width - c);
      add(width - c, kTile, groups.end - groups.begin, a, b,
          {to + c * kAttentionKeys + k, kAttentionKeys, least(kTile, whole(width) - c), kTile,
           amx::kUnscale},
          beside);
    }
  }

  void add_to_queries(const Item& t, Index r, Differentiation& beside) {
    const Keys& seen = t.seen[r / kTile];
    const Index steps = (seen.end - seen.begin) / kTile, rows = least(kTile, t.b.rows - r);
    if (steps <= 0) return;
    const AmxOperand a = panel(
        parts(slope_rows_, t) + r * kAttentionKeys * kParts + seen.begin / kTile * kStep, kTile);
    for (Index c = 0; c < head_.width; c += kTile) {
      const Index columns = head_.width - c;
      const AmxOperand b =
          panel(key_rows_ + (c * kAttentionKeys + seen.begin * wide(columns)) * kParts, columns);
      add(kTile, columns, steps, a, b,
          {to_.query + (t.b.i + r) * head_.width + c, head_.width, rows, least(kTile, columns),
           head_.scale * amx::kUnscale},
          beside);
    }
  }

  // Of products of so many rows and columns, if not whole pairs of tiles.
  void add(Index rows, Index columns, Index steps, const AmxOperand& a, const AmxOperand& b,
           const PassingSums::Target& target, Differentiation& beside) {
    if (least(rows, columns) > kAmxTile) return sums_.add(steps, a, b, target, beside);
    sums_.settle();
    with_tiles(rows, columns, [&]<int a_tiles, int b_tiles>() {
      multiply<a_tiles, b_tiles>(steps, a, b, beside);
      each_sum<a_tiles, b_tiles>([&](Index r, Index column, vec<float> sum) PYFAST_INLINED {
        if (r >= target.rows) return;
        float* at = target.to + r * target.ld + column;
        const auto n = static_cast<int>(least(w, target.columns - column));
        fma(sum, vec<float>(target.factor), vec<float>::load(at, n)).store(at, n);
      });
    });
  }

  const AttentionHead<float>& head_;
  const AttentionUpstream<float>& upstream_;
  const AttentionTargets<float>& to_;
  const float unit_;  // from a product of query and key on tiles to a score in units of log 2
  const Index most_rows_, width_, value_width_;  // the last two: by whole steps
  float *scores_, *slopes_, *keep_;              // of two items, and of one: [query][key]
  float *grad_keys_, *grad_values_;              // of the block, turned: [feature][key]
  float *shift_, *share_, *grad_dot_;            // of the open queries' rows; share: 2^40 / sum
  float* packed_query_;
  // Parts: of the open queries, the block, two items.
  std::uint16_t *query_, *query_turned_, *grad_, *grad_turned_, *keys_, *key_rows_, *values_,
      *weight_pairs_, *slope_pairs_, *slope_rows_;
  PassingSums sums_;
  Index begin_ = 0, rows_ = 0;
  Magnitudes query_seen_, grad_seen_;
  float dot_bound_ = 0;
};

#endif

}  // namespace
}  // namespace pyfast::PYFAST_ISA
