// Attention forward. For each block of keys, packed once for all panels of the task: scores =
// query key^T, their running maximum, weights and running sum, and output = output * (what it is
// still worth) + weights value.
//
// The scores' maximum, the shift and the log-sum-exp are kept in units of log 2: the scale goes
// into the one FMA before exp2, which is 9 instructions (see simd/math.h).
#include "ops/attention/kernel_mask.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
class Forward {
 public:
  static std::int64_t scratch_size(const AttentionHead<T>& head) {
    constexpr Index rows = kAttentionPanels * kAttentionPanel;
    const Index width = padded<T>(head.width), value_width = padded<T>(head.value_width);
    return rows * (width + value_width + w + 1) + kAttentionKeys * (width + value_width) +
           kAttentionPanel * (kAttentionKeys + 3);
  }

  Forward(const AttentionHead<T>& head, const AttentionRange& range, T* scratch)
      : head_(head),
        range_(range),
        masked_(is_masked(head)),
        unit_(static_cast<T>(kLog2e) * (head.scale < 0 ? -head.scale : head.scale)),
        ld_query_(padded<T>(head.width)),
        ld_output_(padded<T>(head.value_width)) {
    constexpr Index rows = kAttentionPanels * kAttentionPanel, panel = kAttentionPanel;
    const auto take = [&scratch](Index n) { return std::exchange(scratch, scratch + n); };
    packed_query_ = take(rows * ld_query_);
    output_ = take(rows * ld_output_);
    sums_ = take(rows * vec<T>::size);
    tops_ = take(rows);
    keys_ = take(kAttentionKeys * padded<T>(head.width));
    values_ = take(kAttentionKeys * ld_output_);
    scores_ = take(panel * kAttentionKeys);
    highest_ = take(panel);
    shift_ = take(panel);
    factors_ = take(panel);
  }

  void run(T* output, T* lse) {
    open();
    for (Index j = range_.key_begin; j < range_.key_end; j += kAttentionKeys) {
      bool packed = false;
      for (Index i = range_.query_begin; i < range_.query_end; i += kAttentionPanel) {
        const Block b{i, least(kAttentionPanel, range_.query_end - i), j,
                      least(kAttentionKeys, range_.key_end - j)};
        const Cover seen = cover_of(head_, b);
        if (seen == Cover::none) continue;
        if (!packed) pack_block(b);
        packed = true;
        attend(b, seen == Cover::all && b.columns % vec<T>::size == 0);
      }
    }
    close(output, lse);
  }

 private:
  static constexpr Index w = vec<T>::size;

  void open() {
    const Index rows = range_.query_end - range_.query_begin;
    const Strided<T>& q = head_.query;
    const T* from = q.data + range_.query_begin * q.row;
    if (q.column == 1 && head_.scale >= 0) {
      query_ = {from, q.row};
    } else {
      pack_rows(packed_query_, ld_query_, {from, q.row, q.column}, rows, head_.width,
                head_.scale < 0 ? T{-1} : T{1});
      query_ = {packed_query_, ld_query_};
    }
    fill(output_, rows * ld_output_, T{0});
    fill(sums_, rows * w, T{0});
    fill(tops_, padded<T>(rows), -kInfinity<T>);
  }

  void pack_block(const Block& b) {
    const Strided<T>&k = head_.key, &v = head_.value;
    pack_strips(keys_, k.data + b.j * k.row, k.row, k.column, b.columns, head_.width);
    const T* values = v.data + b.j * v.row;
    pack_strips(values_, values, v.column, v.row, head_.value_width, b.columns);
    finite_ = !masked_ || all_finite<T>({values, v.row, v.column}, b.columns, head_.value_width);
  }

  // `plain`: no score of the block is masked, nor padding.
  void attend(const Block& b, bool plain) {
    const Index first = b.i - range_.query_begin;
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      product_columns<Into::replace>(query_.from(first + r, 0), rows, k.begin, k.end, keys_,
                                     head_.width, b.columns, scores_ + r * kAttentionKeys,
                                     kAttentionKeys);
    });
    soften(b, first, plain);
    if (!plain && !finite_) return add_values_carefully(b, first);
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      product_strips<Into::rescale>(Left<T>{scores_ + r * kAttentionKeys, kAttentionKeys}, rows,
                                    k.begin, k.end, values_, b.columns, head_.value_width,
                                    output_ + (first + r) * ld_output_, ld_output_, factors_ + r);
    });
  }

  // Scores become weights relative to the running maximum; factors: what older sums are worth.
  void soften(const Block& b, Index first, bool plain) {
    fill(highest_, padded<T>(b.rows), -kInfinity<T>);
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      for (Index end = r + rows; r < end; ++r)
        highest_[r] =
            plain ? unit_ * highest(scores_ + r * kAttentionKeys, b.columns) : mask_row(b, r, k);
    });
    raise_tops(b.rows, first);
    for_spans(head_, b, !plain, [&](Index r, Index rows, Keys k) {
      const T unit = plain ? unit_ : T{1};
      for (Index end = r + rows; r < end; ++r) weigh(b, r, first + r, k, unit);
    });
  }

  static PYFAST_INLINE T highest(const T* scores, Index n) {
    vec<T> top(-kInfinity<T>);
    for (Index k = 0; k < n; k += w) top = max(vec<T>::load(scores + k), top);
    return backend::reduce_max(top.v);  // a NaN is left to its exp
  }

  // Masks a row's scores and puts them in units of log 2; their maximum.
  T mask_row(const Block& b, Index r, Keys keys) {
    const MaskRow<T> row(head_, b.i + r, b.j, b.columns);
    T* scores = scores_ + r * kAttentionKeys;
    vec<T> top(-kInfinity<T>);
    for (Index k = keys.begin / w * w; k < keys.end; k += w) {
      const vec<T> s = row.apply(vec<T>::load(scores + k), k, unit_, static_cast<T>(kLog2e));
      s.store(scores + k);
      top = max(s, top);
    }
    return backend::reduce_max(top.v);
  }

  void raise_tops(Index rows, Index first) {
    const vec<T> none(-kInfinity<T>);
    for (Index r = 0; r < rows; r += w) {
      const vec<T> old = vec<T>::load(tops_ + first + r);
      const vec<T> top = max(vec<T>::load(highest_ + r), old);
      // Nothing seen yet: any finite shift makes exp2(-inf - shift) the 0 it should be.
      const vec<T> shift = select(top == none, vec<T>(), top);
      top.store(tops_ + first + r);
      shift.store(shift_ + r);
      exp2(old - shift).store(factors_ + r);
    }
  }

  void weigh(const Block& b, Index r, Index state, Keys keys, T unit) {
    T* scores = scores_ + r * kAttentionKeys;
    const vec<T> scale(unit), shift(-shift_[r]);
    vec<T> sum;
    for (Index k = keys.begin / w * w; k < keys.end; k += w) {
      const vec<T> weight = exp2(fma(vec<T>::load(scores + k), scale, shift));
      weight.store(scores + k);
      sum += weight;
    }
    T* sums = sums_ + state * w;
    fma(vec<T>::load(sums), vec<T>(factors_[r]), sum).store(sums);
    if (!head_.dropout) return;
    T keep[kAttentionKeys];
    fill_keep(head_, b.i + r, b.j, b.columns, keep);
    for (Index k = keys.begin; k < keys.end; ++k) scores[k] *= keep[k];
  }

  // Leaves out the masked pairs: a weight of 0 would not keep an infinity or NaN from spreading.
  void add_values_carefully(const Block& b, Index first) {
    for (Index r = 0; r < b.rows; ++r) {
      const MaskRow<T> row(head_, b.i + r, b.j, b.columns);
      T* output = output_ + (first + r) * ld_output_;
      for (Index d = 0; d < ld_output_; ++d) output[d] *= factors_[r];
      for (Index k = 0; k < b.columns; ++k) {
        if (!row.allows(k)) continue;
        product_strips<Into::add>(Left<T>{scores_ + r * kAttentionKeys, kAttentionKeys}, 1, k,
                                  k + 1, values_, b.columns, head_.value_width, output, ld_output_);
      }
    }
  }

  // output / sum, and the log-sum-exp; 0 and -inf where nothing was seen.
  void close(T* output, T* lse) {
    const Index rows = range_.query_end - range_.query_begin;
    for (Index r = 0; r < rows; ++r)  // sums_[r] belongs to a row that is done with
      sums_[r] = reduce_add(vec<T>::load(sums_ + r * w));
    const vec<T> none(-kInfinity<T>), zero;
    for (Index r = 0; r < rows; r += w) {
      const vec<T> sum = vec<T>::load(sums_ + r), top = vec<T>::load(tops_ + r);
      const vec<T> base = select(top == none, zero, top) * vec<T>(static_cast<T>(kLn2));
      (base + log(sum)).store(lse + range_.query_begin + r, static_cast<int>(least(w, rows - r)));
      select(sum == zero, zero, vec<T>(T{1}) / sum).store(sums_ + r);
    }
    for (Index r = 0; r < rows; ++r) {
      const T* from = output_ + r * ld_output_;
      T* to = output + (range_.query_begin + r) * head_.value_width;
      for (Index d = 0; d < head_.value_width; d += w) {
        const vec<T> x = vec<T>::load(from + d) * vec<T>(sums_[r]);
        const Index n = head_.value_width - d;
        n >= w ? x.store(to + d) : x.store(to + d, static_cast<int>(n));
      }
    }
  }

  const AttentionHead<T>& head_;
  const AttentionRange& range_;
  const bool masked_;
  const T unit_;  // from a product of query and key to a score in units of log 2
  const Index ld_query_, ld_output_;
  Left<T> query_{};  // rows of the task, in place or packed, negated for scale < 0
  T *packed_query_, *output_;
  T *sums_, *tops_;                 // of their weights so far, one vector and one number a row
  T *keys_, *values_;               // the packed block
  T* scores_;                       // [kAttentionPanel][kAttentionKeys]
  T *highest_, *shift_, *factors_;  // one number per row of the panel
  bool finite_ = true;              // no infinity or NaN in values_
};

template <class T>
void forward(const AttentionHead<T>& head, const AttentionRange& range, T* output, T* lse,
             T* scratch) {
  Forward<T>(head, range, scratch).run(output, lse);
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
