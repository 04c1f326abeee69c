// Attention of a few queries against many keys, as in generation: keys and values stream from
// memory once, in place, for all rows: the queries of every head that shares them. Scores are dot
// products along the features.
#include "ops/attention/kernel_softmax.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
class Decode {
 public:
  static std::int64_t scratch_size(const AttentionGroup<T>& group) {
    const Index rows = padded<T>(group.heads * group.head.queries);
    const Index width = padded<T>(group.head.width),
                value_width = padded<T>(group.head.value_width);
    return rows * (width + value_width + kAttentionKeys) + kAttentionKeys * value_width +
           RunningSoftmax<T>::size(rows, rows);
  }

  Decode(const AttentionGroup<T>& group, T* scratch)
      : group_(group),
        head_(group.head),
        rows_(group.heads * head_.queries),
        masked_(is_masked(head_)),
        unit_(static_cast<T>(kLog2e) * (head_.scale < 0 ? -head_.scale : head_.scale)),
        ld_query_(padded<T>(head_.width)),
        ld_output_(padded<T>(head_.value_width)),
        query_(scratch),
        output_(query_ + padded<T>(rows_) * ld_query_),
        scores_(output_ + padded<T>(rows_) * ld_output_),
        values_(scores_ + padded<T>(rows_) * kAttentionKeys),
        softmax_(values_ + kAttentionKeys * ld_output_, padded<T>(rows_), padded<T>(rows_)) {}

  void run(Index key_begin, Index key_end, T* output, const RowStatistics<T>& rows) {
    open();
    for (Index j = key_begin; j < key_end; j += kAttentionKeys) {
      const Index columns = least(kAttentionKeys, key_end - j);
      const Keys keys = band(head_, {0, head_.queries, j, columns});
      if (keys.begin < keys.end) attend(j, columns, keys);
    }
    scale_rows(output, head_.value_width, head_.value_width, output_, ld_output_, rows_,
               softmax_.close(rows_, rows));
  }

 private:
  static constexpr Index w = vec<T>::size;

  T* scores(Index r) const { return scores_ + r * kAttentionKeys; }

  void open() {
    const Strided<T>& q = head_.query;
    for (Index g = 0; g < group_.heads; ++g)
      pack_rows(query_ + g * head_.queries * ld_query_, ld_query_,
                {q.data + g * group_.query_stride, q.row, q.column}, head_.queries, head_.width,
                head_.scale < 0 ? T{-1} : T{1});
    fill(output_, rows_ * ld_output_, T{0});
    softmax_.open(rows_);
  }

  // Of query row % queries of head row / queries.
  MaskRow<T> mask_row(Index row, Index j, Index columns) const {
    AttentionHead<T> head = head_;
    head.allowed.data += row / head.queries * group_.mask_stride;
    head.bias.data += row / head.queries * group_.mask_stride;
    return {head, row % head.queries, j, columns};
  }

  void attend(Index j, Index columns, Keys keys) {
    const T* first = head_.key.data + j * head_.key.row;
    Index r = 0;
    for (; r + 4 <= rows_; r += 4) dots<4>(r, first, keys);
    for (; r + 2 <= rows_; r += 2) dots<2>(r, first, keys);
    if (r < rows_) dots<1>(r, first, keys);
    const bool plain = !masked_ && columns % w == 0;
    softmax_.open_block(rows_);
    for (r = 0; r < rows_; ++r)
      if (plain)
        softmax_.see(r, scores(r), columns, unit_);
      else
        softmax_.see_masked(r, scores(r), keys, unit_, mask_row(r, j, columns));
    softmax_.raise(0, rows_);
    for (r = 0; r < rows_; ++r) softmax_.weigh(0, r, scores(r), keys, plain ? unit_ : T{1});
    add_values(j, columns, keys);
  }

  // scores[r ... r + rows][k] for the keys k, two at a time so that queries are loaded half as
  // often.
  template <int rows>
  void dots(Index r, const T* keys, Keys range) {
    const Index step = head_.key.row;
    Index k = range.begin;
    for (; k + 2 <= range.end; k += 2) dot<rows, 2>(r, keys + k * step, step, k);
    if (k < range.end) dot<rows, 1>(r, keys + k * step, step, k);
  }

  template <int rows, int count>
  PYFAST_INLINE void dot(Index r, const T* keys, Index step, Index k) {
    typename vec<T>::native sums[rows * count] = {};
    const T* query = query_ + r * ld_query_;
    const auto add = [&](Index d, auto load) PYFAST_INLINED {
      typename vec<T>::native key[count];
      unroll<count>([&](auto c) PYFAST_INLINED { key[c] = load(keys + c * step + d).v; });
      unroll<rows>([&](auto i) PYFAST_INLINED {
        const auto q = vec<T>::load(query + i * ld_query_ + d).v;
        unroll<count>([&](auto c) PYFAST_INLINED {
          sums[i * count + c] = backend::fma(q, key[c], sums[i * count + c]);
        });
      });
    };
    Index d = 0;
    for (; d + w <= head_.width; d += w)
      add(d, [](const T* p) PYFAST_INLINED { return vec<T>::load(p); });
    if (const auto n = static_cast<int>(head_.width - d))
      add(d, [n](const T* p) PYFAST_INLINED { return vec<T>::load(p, n); });
    unroll<rows * count>([&](auto i) PYFAST_INLINED {
      scores(r + i / count)[k + i % count] = reduce_add(vec<T>(sums[i]));
    });
  }

  void add_values(Index j, Index columns, Keys keys) {
    const Strided<T>& v = head_.value;
    const Strided<T> values{v.data + j * v.row, v.row, v.column};
    const bool in_place = v.column == 1 && head_.value_width % w == 0;
    if (!in_place) pack_rows(values_, ld_output_, values, columns, head_.value_width, T{1});
    const T* rows = in_place ? values.data : values_;
    const Index step = in_place ? v.row : ld_output_;
    if (masked_ && !all_finite(values, columns, head_.value_width))
      return add_values_carefully(j, columns, rows, step);
    product_rows<Into::rescale>(Left<T>{scores_ + keys.begin, kAttentionKeys}, rows_,
                                keys.end - keys.begin, rows + keys.begin * step, step, ld_output_,
                                output_, ld_output_, softmax_.factors());
  }

  void add_values_carefully(Index j, Index columns, const T* values, Index step) {
    for (Index r = 0; r < rows_; ++r) {
      const MaskRow<T> mask = mask_row(r, j, columns);
      T* output = output_ + r * ld_output_;
      for (Index d = 0; d < ld_output_; ++d) output[d] *= softmax_.factors()[r];
      for (Index k = 0; k < columns; ++k)
        if (mask.allows(k))
          product_rows<Into::add>(Left<T>{scores(r) + k, kAttentionKeys}, 1, 1, values + k * step,
                                  step, ld_output_, output, ld_output_);
    }
  }

  const AttentionGroup<T>& group_;
  const AttentionHead<T>& head_;
  const Index rows_;
  const bool masked_;
  const T unit_;  // from a product of query and key to a score in units of log 2
  const Index ld_query_, ld_output_;
  T *query_, *output_, *scores_, *values_;  // rows; values only where they are packed
  RunningSoftmax<T> softmax_;
};

template <class T>
void decode(const AttentionGroup<T>& group, Index key_begin, Index key_end, T* output,
            const RowStatistics<T>& rows, T* scratch) {
  Decode<T>(group, scratch).run(key_begin, key_end, output, rows);
}

}  // namespace

template <class T>
const AttentionDecodeKernels<T>& attention_decode_kernels() {
  static constexpr AttentionDecodeKernels<T> table{&Decode<T>::scratch_size, &decode<T>};
  return table;
}

template const AttentionDecodeKernels<float>& attention_decode_kernels<float>();
template const AttentionDecodeKernels<double>& attention_decode_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
