// Attention forward. For each block of keys, packed once for all panels of the task: scores =
// query key^T, their running softmax, and output = output * (what it is still worth) + weights
// value.
#include "ops/attention/kernel_softmax.h"
#include "ops/attention/kernel_tiles_forward.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
class Forward {
 public:
  static std::int64_t scratch_size(const AttentionHead<T>& head) {
    const Index width = padded<T>(head.width), value_width = padded<T>(head.value_width);
    return kRows * (width + value_width) + kAttentionKeys * (width + value_width) +
           kPanel * kAttentionKeys + RunningSoftmax<T>::size(kRows, kPanel) +
           TileForward<T>::size(head, kRows);
  }

  Forward(const AttentionHead<T>& head, const AttentionRange& range, const AttentionHead<T>* next,
          T* scratch)
      : head_(head),
        range_(range),
        rows_(range.query_end - range.query_begin),
        masked_(is_masked(head)),
        unit_(static_cast<T>(kLog2e) * (head.scale < 0 ? -head.scale : head.scale)),
        ld_query_(padded<T>(head.width)),
        ld_output_(padded<T>(head.value_width)),
        packed_query_(scratch),
        output_(packed_query_ + kRows * ld_query_),
        keys_(output_ + kRows * ld_output_),
        values_(keys_ + kAttentionKeys * ld_query_),
        scores_(values_ + kAttentionKeys * ld_output_),
        softmax_(scores_ + kPanel * kAttentionKeys, kRows, kPanel),
        tiles_(head, next, kRows, unit_, softmax_, output_, ld_output_,
               scores_ + kPanel * kAttentionKeys + RunningSoftmax<T>::size(kRows, kPanel)) {}

  void run(T* output, const RowStatistics<T>& rows) {
    open();
    for (Index j = range_.key_begin; j < range_.key_end; j += kAttentionKeys) {
      keys_packed_ = values_packed_ = false;
      const Index columns = least(kAttentionKeys, range_.key_end - j);
      if (on_tiles(j, columns)) continue;
      for (Index i = range_.query_begin; i < range_.query_end; i += kPanel) {
        const Block b{i, least(kPanel, range_.query_end - i), j, columns};
        const Cover seen = cover_of(head_, b);
        if (seen == Cover::none) continue;
        attend(b, seen == Cover::all && b.columns % vec<T>::size == 0);
      }
    }
    close(output, rows);
  }

 private:
  static constexpr Index w = vec<T>::size, kRows = kAttentionPanels * kAttentionPanel;
  static constexpr Index kPanel = kAttentionPanel;

  void open() {
    const Strided<T>& q = head_.query;
    const T* from = q.data + range_.query_begin * q.row;
    if (q.column == 1 && head_.scale >= 0) {
      query_ = {from, q.row};
    } else {
      pack_rows(packed_query_, ld_query_, {from, q.row, q.column}, rows_, head_.width,
                head_.scale < 0 ? T{-1} : T{1});
      query_ = {packed_query_, ld_query_};
    }
    fill(output_, rows_ * ld_output_, T{0});
    softmax_.open(rows_);
    tiles_.open(query_, range_.query_begin, rows_);
  }

  void pack_keys(const Block& b) {
    if (keys_packed_) return;
    keys_packed_ = true;
    const Strided<T>& k = head_.key;
    pack_strips(keys_, k.data + b.j * k.row, k.row, k.column, b.columns, head_.width);
  }

  void pack_values(const Block& b) {
    if (values_packed_) return;
    values_packed_ = true;
    const Strided<T>& v = head_.value;
    const T* values = v.data + b.j * v.row;
    pack_strips(values_, values, v.column, v.row, head_.value_width, b.columns);
    finite_ = !masked_ || all_finite<T>({values, v.row, v.column}, b.columns, head_.value_width);
  }

  // `plain`: no score of the block is masked, nor padding.
  void attend(const Block& b, bool plain) {
    const Index first = b.i - range_.query_begin;
    find_scores(b, first, plain);
    soften(b, first, plain);
    add_values(b, first, plain);
  }

  // A block of keys for every query, if the tiles take it.
  bool on_tiles(Index j, Index columns) {
    const auto refused = [&](const Block& b, Index first, const T* weights) {
      pack_values(b);
      product_strips<Into::rescale>(Left<T>{weights, kAttentionKeys}, b.rows, 0, b.columns, values_,
                                    b.columns, head_.value_width, output_ + first * ld_output_,
                                    ld_output_, softmax_.factors());
    };
    const auto beyond = [&](const Block& b, bool plain) { attend(b, plain); };
    return tiles_.attend(j, columns, refused, beyond);
  }

  void find_scores(const Block& b, Index first, bool plain) {
    pack_keys(b);
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      product_columns(query_.from(first + r, 0), rows, k.begin, k.end, keys_, head_.width,
                      b.columns, scores(r), kAttentionKeys);
    });
  }

  void add_values(const Block& b, Index first, bool plain) {
    pack_values(b);
    if (!plain && !finite_) return add_values_carefully(b, first);
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      product_strips<Into::rescale>(Left<T>{scores(r), kAttentionKeys}, rows, k.begin, k.end,
                                    values_, b.columns, head_.value_width,
                                    output_ + (first + r) * ld_output_, ld_output_,
                                    softmax_.factors() + r);
    });
  }

  T* scores(Index r) const { return scores_ + r * kAttentionKeys; }

  // Scores become weights.
  void soften(const Block& b, Index first, bool plain) {
    softmax_.open_block(b.rows);
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      for (Index end = r + rows; r < end; ++r)
        if (plain)
          softmax_.see(r, scores(r), b.columns, unit_);
        else
          softmax_.see_masked(r, scores(r), k, unit_, {head_, b.i + r, b.j, b.columns});
    });
    softmax_.raise(first, b.rows);
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      for (Index end = r + rows; r < end; ++r) {
        softmax_.weigh(first, r, scores(r), k, plain ? unit_ : T{1});
        if (head_.dropout) drop(b, r, k);
      }
    });
  }

  void drop(const Block& b, Index r, Keys keys) {
    T keep[kAttentionKeys];
    fill_keep(head_, b.i + r, b.j, b.columns, keep);
    for (Index k = keys.begin; k < keys.end; ++k) scores(r)[k] *= keep[k];
  }

  // Leaves out the masked pairs: a weight of 0 would not keep an infinity or NaN from spreading.
  void add_values_carefully(const Block& b, Index first) {
    for (Index r = 0; r < b.rows; ++r) {
      const MaskRow<T> row(head_, b.i + r, b.j, b.columns);
      T* output = output_ + (first + r) * ld_output_;
      for (Index d = 0; d < ld_output_; ++d) output[d] *= softmax_.factors()[r];
      for (Index k = 0; k < b.columns; ++k) {
        if (!row.allows(k)) continue;
        product_strips<Into::add>(Left<T>{scores(r), kAttentionKeys}, 1, k, k + 1, values_,
                                  b.columns, head_.value_width, output, ld_output_);
      }
    }
  }

  void close(T* output, const RowStatistics<T>& rows) {
    const Index i = range_.query_begin;
    const T* factors = softmax_.close(rows_, {rows.max + i, rows.sum + i});
    scale_rows(output + i * head_.output_row, head_.output_row, head_.value_width, output_,
               ld_output_, rows_, factors);
  }

  const AttentionHead<T>& head_;
  const AttentionRange& range_;
  const Index rows_;
  const bool masked_;
  const T unit_;  // from a product of query and key to a score in units of log 2
  const Index ld_query_, ld_output_;
  Left<T> query_{};              // in place or packed, negated for scale < 0
  T *packed_query_, *output_;    // rows of the task
  T *keys_, *values_, *scores_;  // the packed block, and [kPanel][kAttentionKeys]
  RunningSoftmax<T> softmax_;
  TileForward<T> tiles_;
  bool keys_packed_ = false, values_packed_ = false;
  bool finite_ = true;  // no infinity or NaN in values_
};

template <class T>
void forward(const AttentionHead<T>& head, const AttentionRange& range,
             const AttentionHead<T>* next, T* output, const RowStatistics<T>& rows, T* scratch) {
  Forward<T>(head, range, next, scratch).run(output, rows);
}

template <class T>
void classify(const AttentionHead<T>& head, Index begin, Index end, MaskSpan* spans) {
  for (Index i = begin; i < end; i += kAttentionRows) {
    for (Index j = 0; j < head.keys; j += kAttentionKeys) {
      const Block b{i, least(kAttentionRows, end - i), j, least(kAttentionKeys, head.keys - j)};
      *spans++ = head.mask == AttentionMask::boolean ? span(head.allowed, b) : span(head.bias, b);
    }
  }
}

}  // namespace

template <class T>
const AttentionForwardKernels<T>& attention_forward_kernels() {
  static constexpr AttentionForwardKernels<T> table{&Forward<T>::scratch_size, &classify<T>,
                                                    &forward<T>};
  return table;
}

template const AttentionForwardKernels<float>& attention_forward_kernels<float>();
template const AttentionForwardKernels<double>& attention_forward_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
