// Attention forward: for every block of keys, scores = keys x panel, running maximum and sum, and
// output = output * exp(old maximum - new) + values x weights, all transposed (see tile.h).
#include "ops/attention/tile.h"

namespace pyfast::PYFAST_ISA {

namespace {

// A panel under way, in scratch; lanes lie kPanel<T> apart at most.
template <class T>
struct Panel {
  T *query, *output, *top, *sum;  // [width][lanes], [value_width][lanes], [lanes], [lanes]

  static constexpr Index size(Index width, Index value_width) {
    return kPanel<T> * (width + value_width + 2);
  }
  Panel(T* at, Index width, Index value_width)
      : query(at),
        output(query + kPanel<T> * width),
        top(output + kPanel<T> * value_width),
        sum(top + kPanel<T>) {}
};

// Tiles that every block writes anew.
template <class T>
struct Tiles {
  static constexpr Index kTile = kPanel<T> * kAttentionKeys;
  static constexpr Index size = 4 * kTile + kPanel<T>;
  T *scores, *bias, *keep, *rows, *rescale;

  explicit Tiles(T* at)
      : scores(at),
        bias(at + kTile),
        keep(at + 2 * kTile),
        rows(at + 3 * kTile),
        rescale(at + 4 * kTile) {}
};

template <class T>
std::int64_t scratch(const AttentionHead<T>& head) {
  return Tiles<T>::size + kAttentionPanels * Panel<T>::size(head.width, head.value_width);
}

template <class T, int NV>
void open(const AttentionHead<T>& head, const Panel<T>& p, Index i, Index rows) {
  constexpr Index lanes = NV * vec<T>::size;
  const Strided<T> from{head.query.data + i * head.query.row, head.query.row, head.query.column};
  transpose(p.query, lanes, from, rows, head.width, lanes);
  for (Index k = 0; k < head.width * lanes; ++k) p.query[k] *= head.scale;
  for (Index k = 0; k < head.value_width * lanes; ++k) p.output[k] = T{0};
  for (Index r = 0; r < lanes; ++r) {
    p.top[r] = -kInfinity<T>;
    p.sum[r] = T{0};
  }
}

// scores += bias; -inf where the mask forbids, whatever the score. Raises top to the new maximum.
// True when some pair was forbidden.
template <class T, int NV>
PYFAST_INLINE bool raise_top(T* scores, Index keys, const T* bias, vec<T> (&top)[NV]) {
  constexpr int w = vec<T>::size;
  const vec<T> forbidden(-kInfinity<T>);
  vec<T> lowest{};
  for (Index j = 0; j < keys * NV; j += NV) {
    for (int v = 0; v < NV; ++v) {
      vec<T> s = vec<T>::load(scores + (j + v) * w);
      if (bias) {
        const vec<T> b = vec<T>::load(bias + (j + v) * w);
        lowest = min(b, lowest);
        s = select(b == forbidden, forbidden, s + b);
        s.store(scores + (j + v) * w);
      }
      top[v] = max(s, top[v]);  // a NaN is left to its exp
    }
  }
  return (lowest == forbidden).any();
}

// scores become weights relative to the running maximum; rescale is what older sums are worth.
// True when the mask forbade some pair.
template <class T, int NV>
bool soften(T* scores, Index keys, const T* bias, const Panel<T>& p, T* rescale) {
  constexpr int w = vec<T>::size;
  const vec<T> forbidden(-kInfinity<T>);
  vec<T> top[NV], shift[NV], sum[NV];
  for (int v = 0; v < NV; ++v) top[v] = vec<T>::load(p.top + v * w);
  const bool masked = raise_top<T, NV>(scores, keys, bias, top);
  // Nothing seen yet: any finite shift makes exp(-inf - shift) the 0 it should be.
  for (int v = 0; v < NV; ++v) shift[v] = select(top[v] == forbidden, vec<T>(T{0}), top[v]);
  for (Index j = 0; j < keys * NV; j += NV) {
    for (int v = 0; v < NV; ++v) {
      const vec<T> weight = exp(vec<T>::load(scores + (j + v) * w) - shift[v]);
      sum[v] += weight;
      weight.store(scores + (j + v) * w);
    }
  }
  for (int v = 0; v < NV; ++v) {
    const vec<T> factor = exp(vec<T>::load(p.top + v * w) - shift[v]);
    factor.store(rescale + v * w);
    fma(vec<T>::load(p.sum + v * w), factor, sum[v]).store(p.sum + v * w);
    top[v].store(p.top + v * w);
  }
  return masked;
}

template <class T, int NV>
void add_values(const Strided<T>& values, Index value_width, Index keys, bool masked,
                const Tiles<T>& t, const Panel<T>& p) {
  constexpr Index lanes = NV * vec<T>::size;
  const Strided<T> columns{values.data, values.column, values.row};
  if (!masked || all_finite(values, keys, value_width))
    return product<T, NV, Into::rescale>(columns, value_width, keys, t.scores, lanes, p.output,
                                         lanes, t.rescale);
  for (Index d = 0; d < value_width; ++d)
    for (Index r = 0; r < lanes; ++r) p.output[d * lanes + r] *= t.rescale[r];
  masked_product(columns, value_width, keys, t.scores, t.bias, lanes, p.output);
}

template <class T, int NV>
void attend(const AttentionHead<T>& head, const Block& b, const Panel<T>& p, const Tiles<T>& t) {
  constexpr Index lanes = NV * vec<T>::size;
  const Cover seen = cover_of(head, b);
  if (seen == Cover::none) return;
  const bool biased = seen == Cover::some;
  if (biased) fill_bias(head, b, lanes, t.bias, t.rows);
  const Strided<T> keys{head.key.data + b.j * head.key.row, head.key.row, head.key.column};
  product<T, NV, Into::replace>(keys, b.columns, head.width, p.query, lanes, t.scores, lanes);
  const bool masked = soften<T, NV>(t.scores, b.columns, biased ? t.bias : nullptr, p, t.rescale);
  if (head.dropout) {
    fill_keep<T, lanes>(head, b, t.keep);
    for (Index k = 0; k < b.columns * lanes; ++k) t.scores[k] *= t.keep[k];
  }
  const Strided<T> values{head.value.data + b.j * head.value.row, head.value.row,
                          head.value.column};
  add_values<T, NV>(values, head.value_width, b.columns, masked, t, p);
}

// output / sum, and the log-sum-exp; 0 and -inf where nothing was seen.
template <class T, int NV>
void close(const AttentionHead<T>& head, const Panel<T>& p, Index rows, T* output, T* lse) {
  constexpr Index lanes = NV * vec<T>::size;
  constexpr int w = vec<T>::size;
  for (int v = 0; v < NV; ++v) {
    const vec<T> sum = vec<T>::load(p.sum + v * w), zero(T{0});
    const vec<T> top = vec<T>::load(p.top + v * w), forbidden(-kInfinity<T>);
    select(sum == zero, zero, vec<T>(T{1}) / sum).store(p.sum + v * w);
    (select(top == forbidden, zero, top) + log(sum)).store(p.top + v * w);
  }
  for (Index d = 0; d < head.value_width; ++d)
    for (Index r = 0; r < lanes; ++r) p.output[d * lanes + r] *= p.sum[r];
  transpose(output, head.value_width, {p.output, lanes, 1}, head.value_width, rows,
            head.value_width);
  for (Index r = 0; r < rows; ++r) lse[r] = p.top[r];
}

template <class T>
void forward(const AttentionHead<T>& head, const AttentionRange& range, T* output, T* lse,
             T* scratch) {
  const Tiles<T> tiles(scratch);
  const auto for_panels = [&](auto body) {
    T* at = scratch + Tiles<T>::size;
    for (Index i = range.query_begin; i < range.query_end; i += kPanel<T>) {
      body(Panel<T>(at, head.width, head.value_width), i, least(kPanel<T>, range.query_end - i));
      at += Panel<T>::size(head.width, head.value_width);
    }
  };
  for_panels([&](const Panel<T>& p, Index i, Index rows) {
    with_vectors<T>(rows, [&]<int NV>() { open<T, NV>(head, p, i, rows); });
  });
  for (Index j = range.key_begin; j < range.key_end; j += kAttentionKeys) {
    for_panels([&](const Panel<T>& p, Index i, Index rows) {
      const Index end = visible_end(head, i + rows, range.key_end);
      if (j >= end) return;
      const Block block{i, rows, j, least(kAttentionKeys, end - j)};
      with_vectors<T>(rows, [&]<int NV>() { attend<T, NV>(head, block, p, tiles); });
    });
  }
  for_panels([&](const Panel<T>& p, Index i, Index rows) {
    with_vectors<T>(rows, [&]<int NV>() {
      close<T, NV>(head, p, rows, output + i * head.value_width, lse + i);
    });
  });
}

}  // namespace

template <class T>
const AttentionForwardKernels<T>& attention_forward_kernels() {
  static constexpr AttentionForwardKernels<T> table{static_cast<int>(kPanel<T>), &scratch<T>,
                                                    &forward<T>};
  return table;
}

template const AttentionForwardKernels<float>& attention_forward_kernels<float>();
template const AttentionForwardKernels<double>& attention_forward_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
