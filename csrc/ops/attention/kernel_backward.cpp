// Attention backward: blocks of keys, packed once, against panels of queries. Each block's weights
// P are recomputed from the rows' maxima and sums, bit by bit as in forward; with dP = grad value^T
// and D = the row sums of grad * output,
//
//   dS = P * (dP - D),  dquery = scale dS key,  dkey = scale dS^T query,  dvalue = P^T grad
//
// (Dao et al., 2022, algorithm 4). P and dS are tiles [query][key]: for dkey and dvalue, products
// read them turned.
#include "ops/attention/kernel_slopes.h"
#include "ops/attention/kernel_tiles_backward.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
class Backward {
 public:
  static std::int64_t scratch_size(const AttentionHead<T>& head) {
    const Index width = padded<T>(head.width), value_width = padded<T>(head.value_width);
    return kAttentionPanel * (2 * width + value_width) + whole_blocks(head) * block_size(head) +
           TileBackward<T>::size(head);
  }

  Backward(const AttentionHead<T>& head, const AttentionUpstream<T>& upstream,
           const AttentionTargets<T>& targets, T* scratch)
      : head_(head),
        upstream_(upstream),
        to_(targets),
        masked_(is_masked(head)),
        unit_(static_cast<T>(kLog2e) * head.scale),
        width_(padded<T>(head.width)),
        value_width_(padded<T>(head.value_width)),
        tiles_(head, upstream, targets,
               scratch + scratch_size(head) - TileBackward<T>::size(head)) {
    const auto take = [&scratch](Index n) { return std::exchange(scratch, scratch + n); };
    query_ = take(kAttentionPanel * width_);
    grad_ = take(kAttentionPanel * value_width_);
    grad_query_ = take(kAttentionPanel * width_);
    blocks_ = scratch;
    choose(0);
  }

  void run(const AttentionRange& range) {
    if (!head_.tiles || to_.mask) return on_registers(range);
    tiles_.run(range, [&](const AttentionRange& part) { on_registers(part); });
  }

 private:
  static constexpr Index w = vec<T>::size;
  using Tile = Left<T>;
  using TurnedTile = Left<T, true>;

  // Blocks of keys that a panel meets together: all of the head's where they are few and stay in
  // L2, each with what it is packed into; else one.
  static Index whole_blocks(const AttentionHead<T>& head) {
    const Index blocks = ceil_div(head.keys, kAttentionKeys);
    constexpr Index kBytes = 1 << 20, size = sizeof(T);
    return blocks <= kMostBlocks && blocks * block_size(head) * size <= kBytes ? most(1, blocks)
                                                                               : 1;
  }
  static Index block_size(const AttentionHead<T>& head) {
    return 2 * kAttentionPanel * kAttentionKeys +
           kAttentionKeys * (3 * padded<T>(head.width) + 2 * padded<T>(head.value_width));
  }
  // Which block's scores, keys, values and gradients are at hand.
  void choose(Index block) {
    T* at = blocks_ + block * block_size(head_);
    const auto take = [&at](Index n) { return std::exchange(at, at + n); };
    weights_ = take(kAttentionPanel * kAttentionKeys);
    slopes_ = take(kAttentionPanel * kAttentionKeys);
    keys_ = take(kAttentionKeys * width_);
    key_rows_ = take(kAttentionKeys * width_);
    values_ = take(kAttentionKeys * value_width_);
    grad_keys_ = take(kAttentionKeys * width_);
    grad_values_ = take(kAttentionKeys * value_width_);
    block_ = block;
  }

  void on_registers(const AttentionRange& range) {
    const bool all = range.key_begin == 0 && range.key_end == head_.keys;
    if (all && ceil_div(head_.keys, kAttentionKeys) == whole_blocks(head_))
      return by_whole_rows(range);
    RowSlopes<T> slopes(head_, upstream_);
    for (Index j = range.key_begin; j < range.key_end; j += kAttentionKeys) {
      const Index columns = least(kAttentionKeys, range.key_end - j);
      bool packed = false;
      for (Index i = range.query_begin; i < range.query_end; i += kAttentionPanel) {
        const Block b{i, least(kAttentionPanel, range.query_end - i), j, columns};
        const Cover seen = cover_of(head_, b);
        if (seen == Cover::none) continue;
        if (!packed) open_block(b);
        packed = true;
        const bool plain = is_plain(seen, columns);
        pack_panel(b);
        find_scores(b, plain);
        for (Index r = 0; r < b.rows; ++r)
          if (const Stretch<T> row = stretch(b, r, plain); row.keys.begin < row.keys.end)
            plain ? slopes.template of_block<false>(b, r, row)
                  : slopes.template of_block<true>(b, r, row);
        add_gradients(b, plain);
      }
      if (packed) close_block(j, columns);
    }
  }

  // The same where a panel meets all keys together.
  void by_whole_rows(const AttentionRange& range) {
    const Index blocks = whole_blocks(head_);
    RowSlopes<T> slopes(head_, upstream_);
    const auto block = [&](Index n, Index i) {
      const Index j = n * kAttentionKeys;
      return Block{i, least(kAttentionPanel, range.query_end - i), j,
                   least(kAttentionKeys, range.key_end - j)};
    };
    for (Index n = 0; n < blocks; ++n) {
      choose(n);
      open_block(block(n, range.query_begin));
    }
    for (Index i = range.query_begin; i < range.query_end; i += kAttentionPanel) {
      Cover seen[kMostBlocks];
      bool any = false;
      for (Index n = 0; n < blocks; ++n) {
        seen[n] = cover_of(head_, block(n, i));
        any |= seen[n] != Cover::none;
      }
      if (!any) continue;
      pack_panel(block(0, i));
      const auto each = [&](auto body) {
        for (Index n = 0; n < blocks; ++n) {
          if (seen[n] == Cover::none) continue;
          const Block b = block(n, i);
          choose(n);
          body(b, is_plain(seen[n], b.columns));
        }
      };
      each([&](const Block& b, bool plain) { find_scores(b, plain); });
      for (Index r = 0; r < block(0, i).rows; ++r) {
        Stretch<T> row[kMostBlocks];
        Index count = 0;
        bool masked = false;
        each([&](const Block& b, bool plain) {
          row[count] = stretch(b, r, plain);
          count += row[count].keys.begin < row[count].keys.end;
          masked |= !plain;
        });
        masked ? slopes.template of_row<true>(i + r, row, count)
               : slopes.template of_row<false>(i + r, row, count);
      }
      each([&](const Block& b, bool plain) { add_gradients(b, plain); });
    }
    for (Index n = 0; n < blocks; ++n) {
      choose(n);
      close_block(n * kAttentionKeys, block(n, range.query_begin).columns);
    }
    choose(0);
  }
  static bool is_plain(Cover seen, Index columns) { return seen == Cover::all && columns % w == 0; }

  void open_block(const Block& b) {
    const Strided<T>&k = head_.key, &v = head_.value;
    const T *keys = k.data + b.j * k.row, *values = v.data + b.j * v.row;
    pack_strips(keys_, keys, k.row, k.column, b.columns, head_.width);
    pack_strips(values_, values, v.row, v.column, b.columns, head_.value_width);
    if (to_.query) pack_strips(key_rows_, keys, k.column, k.row, head_.width, b.columns);
    fill(grad_keys_, b.columns * width_, T{0});
    fill(grad_values_, b.columns * value_width_, T{0});
    keys_finite_[block_] =
        !masked_ || all_finite<T>({keys, k.row, k.column}, b.columns, head_.width);
  }

  void close_block(Index j, Index columns) {
    if (to_.key) add_rows(to_.key + j * head_.width, head_.width, grad_keys_, columns, head_.scale);
    if (to_.value)
      add_rows(to_.value + j * head_.value_width, head_.value_width, grad_values_, columns, T{1});
  }

  // to (rows x columns, C-ordered) += scale * from, whose rows are padded.
  static void add_rows(T* to, Index columns, const T* from, Index rows, T scale) {
    for (Index r = 0; r < rows; ++r, to += columns, from += padded<T>(columns)) {
      Index c = 0;
      for (; c + w <= columns; c += w)
        fma(vec<T>::load(from + c), vec<T>(scale), vec<T>::load(to + c)).store(to + c);
      for (; c < columns; ++c) to[c] += scale * from[c];
    }
  }

  void pack_panel(const Block& b) {
    const Strided<T>& q = head_.query;
    const Strided<T> query{q.data + b.i * q.row, q.row, q.column};
    const Strided<T> grad{upstream_.grad + b.i * upstream_.grad_row, upstream_.grad_row, 1};
    pack_rows(query_, width_, query, b.rows, head_.width, T{1});
    pack_rows(grad_, value_width_, grad, b.rows, head_.value_width, T{1});
    panel_finite_ = !masked_ || (all_finite(query, b.rows, head_.width) &&
                                 all_finite(grad, b.rows, head_.value_width));
  }

  // Scores and dP. `plain`: no score of the block is masked, nor padding.
  void find_scores(const Block& b, bool plain) {
    if (!plain) {  // what the band leaves out of the products is read by those of the turned tiles
      fill(weights_, b.rows * kAttentionKeys, T{0});
      fill(slopes_, b.rows * kAttentionKeys, T{0});
    }
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      const Index at = r * kAttentionKeys;
      product_columns(Tile{query_ + r * width_, width_}, rows, k.begin, k.end, keys_, head_.width,
                      b.columns, weights_ + at, kAttentionKeys);
      product_columns(Tile{grad_ + r * value_width_, value_width_}, rows, k.begin, k.end, values_,
                      head_.value_width, b.columns, slopes_ + at, kAttentionKeys);
      if (plain) return;
      for (Index row = r; row < r + rows; ++row) apply_mask(b, row, k);
    });
  }

  // Scores become multiples of log 2, -inf where a pair is forbidden.
  void apply_mask(const Block& b, Index r, Keys keys) {
    const MaskRow<T> mask(head_, b.i + r, b.j, b.columns);
    T* scores = weights_ + r * kAttentionKeys;
    for (Index k = keys.begin / w * w; k < keys.end; k += w)
      mask.apply(vec<T>::load(scores + k), k, unit_, static_cast<T>(kLog2e)).store(scores + k);
  }

  void add_gradients(const Block& b, bool plain) {
    if (to_.value) add_turned(b, plain, weights_, grad_, value_width_, grad_values_);
    if (to_.key) add_turned(b, plain, slopes_, query_, width_, grad_keys_);
    if (to_.query) add_query(b, plain);
    if (to_.mask) add_mask(b);
  }

  Stretch<T> stretch(const Block& b, Index r, bool plain) const {
    const Index of_span = plain ? 0 : (b.i + r) % kAttentionRows, first = most(0, r - of_span);
    const Block rows = b.part(first, span_rows(b, first));
    return {weights_ + r * kAttentionKeys,
            slopes_ + r * kAttentionKeys,
            plain ? Keys{0, b.columns} : visible(head_, rows),
            plain ? unit_ : T{1},
            b.j,
            b.columns,
            plain};
  }

  // target[key] += sum over queries of tile[query][key] rows[query].
  void add_turned(const Block& b, bool plain, const T* tile, const T* rows, Index width,
                  T* target) {
    if (!plain && !panel_finite_)
      return add_pairs(b, [&](Index r, Index k) {
        product_rows<Into::add>(TurnedTile{tile + r * kAttentionKeys + k, kAttentionKeys}, 1, 1,
                                rows + r * width, width, width, target + k * width, width);
      });
    const bool banded = !band_covers(head_, b);
    const Index step = banded ? kAttentionRows : b.columns;
    for (Index k = 0; k < b.columns; k += step) {
      const Index count = least(step, b.columns - k), key = b.j + k;
      const Index begin = most(0, key - head_.after - b.i);
      const Index end = least(b.rows, key + count + head_.before - b.i);
      if (begin >= end) continue;
      product_rows<Into::add>(TurnedTile{tile + begin * kAttentionKeys + k, kAttentionKeys}, count,
                              end - begin, rows + begin * width, width, width, target + k * width,
                              width);
    }
  }

  void add_query(const Block& b, bool plain) {
    fill(grad_query_, b.rows * width_, T{0});
    const auto add = [&](Index r, Index rows, Keys k) {
      product_strips<Into::add>(Tile{slopes_ + r * kAttentionKeys, kAttentionKeys}, rows, k.begin,
                                k.end, key_rows_, b.columns, head_.width, grad_query_ + r * width_,
                                width_);
    };
    if (!plain && !keys_finite_[block_])
      add_pairs(b, [&](Index r, Index k) { add(r, 1, {k, k + 1}); });
    else
      for_spans(head_, b, !plain, add);
    add_rows(to_.query + b.i * head_.width, head_.width, grad_query_, b.rows, head_.scale);
  }

  // body(row, key) for the allowed pairs only: taken where an operand holds an infinity or NaN,
  // which a weight of 0 would not keep from spreading.
  template <class Body>
  void add_pairs(const Block& b, Body body) {
    for (Index r = 0; r < b.rows; ++r) {
      const MaskRow<T> row(head_, b.i + r, b.j, b.columns);
      for (Index k = 0; k < b.columns; ++k)
        if (row.allows(k)) body(r, k);
    }
  }

  void add_mask(const Block& b) {
    for (Index r = 0; r < b.rows; ++r) {
      T* row = to_.mask + (b.i + r) * to_.mask_row + b.j * to_.mask_column;
      for (Index k = 0; k < b.columns; ++k)
        row[k * to_.mask_column] += slopes_[r * kAttentionKeys + k];
    }
  }

  const AttentionHead<T>& head_;
  const AttentionUpstream<T>& upstream_;
  const AttentionTargets<T>& to_;
  const bool masked_;
  const T unit_;                     // from a product of query and key to a score in units of log 2
  const Index width_, value_width_;  // padded
  T *query_, *grad_, *grad_query_;   // the panel: [query][padded feature]
  T *weights_, *slopes_;             // tiles [query][key]: scores and P, dP and dS
  T *keys_, *key_rows_, *values_, *grad_keys_,
      *grad_values_;  // the block: strips of keys, features, keys; rows
  T* blocks_;
  Index block_ = 0;
  bool keys_finite_[kMostBlocks];  // no infinity or NaN in a block of key
  bool panel_finite_ = true;       // nor in query and grad
  TileBackward<T> tiles_;
};

template <class T>
void backward(const AttentionHead<T>& head, const AttentionRange& range,
              const AttentionUpstream<T>& upstream, const AttentionTargets<T>& targets,
              T* scratch) {
  Backward<T>(head, upstream, targets, scratch).run(range);
}

template <class T>
void row_dots(const T* a, Index a_row, const T* b, Index b_row, Index rows, Index columns,
              T* dots) {
  constexpr Index w = vec<T>::size;
  for (Index r = 0; r < rows; ++r, a += a_row, b += b_row) {
    vec<T> sum;
    for (Index d = 0; d < columns; d += w) {
      const int n = static_cast<int>(least(w, columns - d));
      sum = fma(vec<T>::load(a + d, n), vec<T>::load(b + d, n), sum);
    }
    dots[r] = reduce_add(sum);
  }
}

}  // namespace

template <class T>
const AttentionBackwardKernels<T>& attention_backward_kernels() {
  static constexpr AttentionBackwardKernels<T> table{&Backward<T>::scratch_size, &row_dots<T>,
                                                     &backward<T>};
  return table;
}

template const AttentionBackwardKernels<float>& attention_backward_kernels<float>();
template const AttentionBackwardKernels<double>& attention_backward_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
