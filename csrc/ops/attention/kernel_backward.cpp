// Attention backward, a panel of queries against a range of keys. Each block's weights P are
// recomputed from the log-sum-exp; with dP = value grad^T and D = the row sums of grad * output,
//
//   dS = P * (dP - D),  dquery = scale dS key,  dkey = scale dS^T query,  dvalue = P^T grad
//
// (Dao et al., 2022, algorithm 4). P and dS are tiles [key][query]: rows to dkey and dvalue, whose
// lanes are features, and the panel of a product for dquery.
#include "ops/attention/tile.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
constexpr int kLanes = vec<T>::size;

// Everything in scratch. A `_t` matrix is [feature][query], the others [query][padded feature].
template <class T>
struct Work {
  T *query, *query_t, *grad, *grad_t, *grad_query, *rows;  // the panel
  T *lse, *row_sum;                                        // one per query
  T *weights, *slopes, *bias, *keep;                       // tiles: P, dS, mask, dropout
  Index padded_width, padded_value_width;
  bool finite;  // no infinity or NaN in query or grad

  Work(const AttentionHead<T>& head, T* at)
      : padded_width(round_up(head.width, kLanes<T>)),
        padded_value_width(round_up(head.value_width, kLanes<T>)),
        finite(true) {
    constexpr Index panel = kPanel<T>, tile = panel * kAttentionKeys;
    const auto take = [&at](Index n) {
      T* here = at;
      at += n;
      return here;
    };
    query = take(panel * padded_width);
    query_t = take(panel * padded_width);
    grad_query = take(panel * padded_width);
    grad = take(panel * padded_value_width);
    grad_t = take(panel * padded_value_width);
    lse = take(panel);
    row_sum = take(panel);
    rows = take(tile);
    weights = take(tile);
    slopes = take(tile);
    bias = take(tile);
    keep = take(tile);
  }
};

template <class T>
std::int64_t scratch(const AttentionHead<T>& head) {
  const Index width = round_up(head.width, kLanes<T>);
  const Index value_width = round_up(head.value_width, kLanes<T>);
  return kPanel<T> * (3 * width + 2 * value_width + 2 + 5 * kAttentionKeys);
}

// Row sums of grad * output, and the log-sum-exp, made safe for lanes that hold no query or one
// that saw nothing: +inf there gives weights of 0.
template <class T>
void load_rows(const AttentionHead<T>& head, const AttentionUpstream<T>& up, Index i, Index rows,
               Index lanes, const Work<T>& w) {
  for (Index r = 0; r < lanes; ++r) {
    w.lse[r] = kInfinity<T>;
    w.row_sum[r] = T{0};
    if (r >= rows) continue;
    if (up.lse[i + r] != -kInfinity<T>) w.lse[r] = up.lse[i + r];
    const T* g = w.grad + r * w.padded_value_width;
    const T* y = up.output + (i + r) * head.value_width;
    vec<T> sum{};
    for (Index d = 0; d < head.value_width; d += kLanes<T>) {
      const int n = static_cast<int>(least(kLanes<T>, head.value_width - d));
      sum = fma(vec<T>::load(g + d), vec<T>::load(y + d, n), sum);
    }
    w.row_sum[r] = reduce_add(sum);
  }
}

template <class T>
void open(const AttentionHead<T>& head, const AttentionUpstream<T>& up, Index i, Index rows,
          Index lanes, Work<T>& w) {
  const Strided<T> query{head.query.data + i * head.query.row, head.query.row, head.query.column};
  const Strided<T> grad{up.grad + i * head.value_width, head.value_width, 1};
  pack_rows(w.query, w.padded_width, query, rows, head.width, head.scale);
  pack_rows(w.grad, w.padded_value_width, grad, rows, head.value_width, T{1});
  const Strided<T> packed_query{w.query, w.padded_width, 1};
  const Strided<T> packed_grad{w.grad, w.padded_value_width, 1};
  transpose(w.query_t, lanes, packed_query, rows, head.width, lanes);
  transpose(w.grad_t, lanes, packed_grad, rows, head.value_width, lanes);
  for (Index k = 0; k < head.width * lanes; ++k) w.grad_query[k] = T{0};
  load_rows(head, up, i, rows, lanes, w);
  w.finite = head.mask == AttentionMask::none || (all_finite(packed_query, rows, head.width) &&
                                                  all_finite(packed_grad, rows, head.value_width));
}

// weights: scores become P times dropout; slopes: dP becomes dS. Both 0 where the mask forbids.
// True when it forbade some pair.
template <class T, int NV>
bool differentiate(const Work<T>& t, Index keys, bool biased, bool dropout) {
  constexpr int w = vec<T>::size;
  const vec<T> forbidden(-kInfinity<T>), zero(T{0});
  vec<T> lowest{};
  for (int v = 0; v < NV; ++v) {
    const vec<T> lse = vec<T>::load(t.lse + v * w), row_sum = vec<T>::load(t.row_sum + v * w);
    for (Index j = 0; j < keys; ++j) {
      const Index at = (j * NV + v) * w;
      vec<T> score = vec<T>::load(t.weights + at), slope = vec<T>::load(t.slopes + at);
      const vec<T> bias = biased ? vec<T>::load(t.bias + at) : zero;
      lowest = min(bias, lowest);
      if (biased) score = select(bias == forbidden, forbidden, score + bias);
      const vec<T> weight = exp(score - lse);
      const vec<T> keep = dropout ? vec<T>::load(t.keep + at) : vec<T>(T{1});
      vec<T> kept = weight * keep;
      slope = weight * (dropout ? fma(slope, keep, -row_sum) : slope - row_sum);
      if (biased) {
        kept = select(bias == forbidden, zero, kept);
        slope = select(bias == forbidden, zero, slope);
      }
      kept.store(t.weights + at);
      slope.store(t.slopes + at);
    }
  }
  return (lowest == forbidden).any();
}

// target[j] += sum_i tile[j][i] rows[i] for the queries i that the mask lets key j be seen by.
template <class T>
void masked_rows(const T* tile, Index lanes, const Block& b, const T* rows, Index width,
                 const T* bias, T* target) {
  for (Index j = 0; j < b.columns; ++j)
    for (Index i = 0; i < b.rows; ++i)
      if (bias[j * lanes + i] != -kInfinity<T>)
        for (Index d = 0; d < width; ++d)
          target[j * width + d] += tile[j * lanes + i] * rows[i * width + d];
}

// The shares of dkey or dvalue: target[j] += sum_i tile[j][i] rows[i].
template <class T>
void add_rows(const T* tile, Index lanes, const Block& b, const T* rows, Index width,
              const T* careful_bias, T* target) {
  if (careful_bias) return masked_rows(tile, lanes, b, rows, width, careful_bias, target);
  product_wide<T>({tile, lanes, 1}, b.columns, b.rows, rows, width, target);
}

template <class T, int NV>
void add_query(const AttentionHead<T>& head, const Block& b, bool masked, const Work<T>& w) {
  constexpr Index lanes = NV * vec<T>::size;
  const Strided<T> keys{head.key.data + b.j * head.key.row, head.key.row, head.key.column};
  const Strided<T> columns{keys.data, keys.column, keys.row};
  if (masked && !all_finite(keys, b.columns, head.width))
    return masked_product(columns, head.width, b.columns, w.slopes, w.bias, lanes, w.grad_query);
  product<T, NV, Into::add>(columns, head.width, b.columns, w.slopes, lanes, w.grad_query, lanes);
}

template <class T>
void add_mask(const AttentionTargets<T>& to, const Block& b, const T* slopes, Index lanes) {
  for (Index j = 0; j < b.columns; ++j) {
    T* column = to.mask + (b.j + j) * to.mask_column + b.i * to.mask_row;
    const T* slope = slopes + j * lanes;
    if (to.mask_row == 0) {
      T sum{0};
      for (Index i = 0; i < b.rows; ++i) sum += slope[i];
      *column += sum;
    } else {
      for (Index i = 0; i < b.rows; ++i) column[i * to.mask_row] += slope[i];
    }
  }
}

// All shares of one block; `first` is the row of its first key in the targets.
template <class T, int NV>
void block_backward(const AttentionHead<T>& head, const Block& b, Index first, const Work<T>& w,
                    const AttentionTargets<T>& to) {
  constexpr Index lanes = NV * vec<T>::size;
  const Cover seen = cover_of(head, b);
  if (seen == Cover::none) return;
  const bool biased = seen == Cover::some;
  if (biased) fill_bias(head, b, lanes, w.bias, w.rows);
  if (head.dropout) fill_keep<T, static_cast<int>(lanes)>(head, b, w.keep);
  const Strided<T> keys{head.key.data + b.j * head.key.row, head.key.row, head.key.column};
  const Strided<T> values{head.value.data + b.j * head.value.row, head.value.row,
                          head.value.column};
  product<T, NV, Into::replace>(keys, b.columns, head.width, w.query_t, lanes, w.weights, lanes);
  product<T, NV, Into::replace>(values, b.columns, head.value_width, w.grad_t, lanes, w.slopes,
                                lanes);
  const bool masked = differentiate<T, NV>(w, b.columns, biased, head.dropout);
  const T* careful = masked && !w.finite ? w.bias : nullptr;
  if (to.value)
    add_rows(w.weights, lanes, b, w.grad, w.padded_value_width, careful,
             to.value + first * w.padded_value_width);
  if (to.key)
    add_rows(w.slopes, lanes, b, w.query, w.padded_width, careful, to.key + first * w.padded_width);
  if (to.query) add_query<T, NV>(head, b, masked, w);
  if (to.mask) add_mask(to, b, w.slopes, lanes);
}

template <class T>
void close(const AttentionHead<T>& head, const Work<T>& w, Index i, Index rows, Index lanes,
           T* target) {
  T* by_row = w.query;  // no longer needed
  transpose(by_row, head.width, {w.grad_query, lanes, 1}, head.width, rows, head.width);
  T* to = target + i * head.width;
  for (Index k = 0; k < rows * head.width; ++k) to[k] += head.scale * by_row[k];
}

template <class T>
void backward(const AttentionHead<T>& head, const AttentionRange& range,
              const AttentionUpstream<T>& upstream, const AttentionTargets<T>& targets,
              T* scratch) {
  Work<T> work(head, scratch);
  for (Index i = range.query_begin; i < range.query_end; i += kPanel<T>) {
    const Index rows = least(kPanel<T>, range.query_end - i);
    const Index end = visible_end(head, i + rows, range.key_end);
    if (range.key_begin >= end) continue;
    with_vectors<T>(rows, [&]<int NV>() {
      constexpr Index lanes = NV * vec<T>::size;
      open(head, upstream, i, rows, lanes, work);
      for (Index j = range.key_begin; j < end; j += kAttentionKeys) {
        const Block block{i, rows, j, least(kAttentionKeys, end - j)};
        block_backward<T, NV>(head, block, j - range.key_begin, work, targets);
      }
      if (targets.query) close(head, work, i, rows, lanes, targets.query);
    });
  }
}

}  // namespace

template <class T>
const AttentionBackwardKernels<T>& attention_backward_kernels() {
  static constexpr AttentionBackwardKernels<T> table{static_cast<int>(kPanel<T>), kLanes<T>,
                                                     &scratch<T>, &backward<T>};
  return table;
}

template const AttentionBackwardKernels<float>& attention_backward_kernels<float>();
template const AttentionBackwardKernels<double>& attention_backward_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
