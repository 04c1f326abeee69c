// Softmax of a row: maximum, then exp and its sum while the row is in L1, then one scaling pass.
// Short rows: the same, a vector of rows at a time (simd/across.h).
// Rows that are not contiguous are taken a vector of neighbouring columns at a time.
#include "ops/softmax/kernel.h"

#include "simd/across.h"
#include "simd/math.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
T infinity() {
  return static_cast<T>(__builtin_inf());
}

template <class T>
T scalar_log(T x) {  // every lane the same: the vector function serves
  T lanes[vec<T>::size];
  log(vec<T>(x)).store(lanes);
  return lanes[0];
}

// v / sum, by products: what rounding took from 1 / sum is put back.
template <class T>
struct Share {
  vec<T> inverse, rest;
  PYFAST_INLINE explicit Share(vec<T> sum)
      : inverse(vec<T>(T{1}) / sum), rest(fma(-inverse, sum, vec<T>(T{1})) * inverse) {}
  PYFAST_INLINE Share(T i, T r) : inverse(i), rest(r) {}
  PYFAST_INLINE vec<T> operator()(vec<T> v) const { return fma(v, inverse, v * rest); }
};

constexpr int kSums = 4;  // vectors in flight

// step(k, i, lanes) for every vector of n values, k < kSums naming the partial result to add to.
template <class T, class Step>
PYFAST_INLINE void in_flight(std::int64_t n, Step step) {
  constexpr int w = vec<T>::size;
  std::int64_t i = 0;
  for (; i + kSums * w <= n; i += kSums * w)
#pragma GCC unroll 4
    for (int k = 0; k < kSums; ++k) step(k, i + k * w, w);
  for (; i + w <= n; i += w) step(0, i, w);
  if (i < n) step(1, i, static_cast<int>(n - i));
}

template <class T>
T row_max(const T* x, std::int64_t n) {
  const vec<T> lowest(-infinity<T>());
  vec<T> top[kSums] = {lowest, lowest, lowest, lowest};
  in_flight<T>(n, [&](int k, std::int64_t i, int lanes) PYFAST_INLINED {
    top[k] = max_nan(top[k], load(x + i, lanes, -infinity<T>()));
  });
  return reduce_max(max_nan(max_nan(top[0], top[1]), max_nan(top[2], top[3])));
}

// y = exp(x - top) (or x - top when log), returns the sum of the exponentials. Fetches the next
// row meanwhile: its maximum, the first pass over it, has nothing to compute.
template <bool log, class T>
T shift_and_sum(T* y, const T* x, std::int64_t n, T top) {
  const vec<T> shift(top);
  vec<T> sums[kSums];
  in_flight<T>(n, [&](int k, std::int64_t i, int lanes) PYFAST_INLINED {
    __builtin_prefetch(x + n + i, 0, 3);
    const vec<T> d = load(x + i, lanes, -infinity<T>()) - shift, e = exp(d);
    sums[k] += e;
    store(log ? d : e, y + i, lanes);
  });
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
void forward_row(T* y, const T* x, std::int64_t n, bool log) {
  const T top = row_max(x, n);
  const T sum = log ? shift_and_sum<true>(y, x, n, top) : shift_and_sum<false>(y, x, n, top);
  if (log) {
    const vec<T> shift(scalar_log(sum));
    map(y, y, n, [=](vec<T> v) { return v - shift; });
  } else {
    const Share<T> share{vec<T>(sum)};
    map(y, y, n, [=](vec<T> v) { return share(v); });
  }
}

// A row a lane: rows <= vec<T>::size of them, of V vectors each.
template <bool log, int V, class T>
void forward_short(T* y, const T* x, int rows, std::int64_t n) {
  constexpr int w = vec<T>::size;
  const vec<T> lowest(-infinity<T>());
  PerRow<T> tops, sums;
  T each[w], kept[w * V * w];
  const auto load_at = [&](int r, int k) PYFAST_INLINED {
    return load(x + r * n + k * w, lanes_of<T, V>(k, n), -infinity<T>());
  };
  for (int r = 0; r < rows; ++r) {
    vec<T> top = load_at(r, 0);
    for (int k = 1; k < V; ++k) top = max_nan(top, load_at(r, k));
    tops.set(r, top);
  }
  tops.reduce(rows, [](vec<T> a, vec<T> b) PYFAST_INLINED { return max_nan(a, b); }).store(each);
  for (int r = 0; r < rows; ++r) {
    vec<T> sum;
    for (int k = 0; k < V; ++k) {
      const vec<T> d = load_at(r, k) - vec<T>(each[r]), e = exp(d);
      sum += e;
      (log ? d : e).store(kept + (r * V + k) * w);
    }
    sums.set(r, sum);
  }
  const vec<T> all = sums.sum(rows);
  const Share<T> shares(all);
  T rest[w];
  (log ? pyfast::PYFAST_ISA::log(all) : shares.inverse).store(each);
  shares.rest.store(rest);
  for (int r = 0; r < rows; ++r)
    for (int k = 0; k < V; ++k) {
      const vec<T> v = vec<T>::load(kept + (r * V + k) * w);
      store(log ? v - vec<T>(each[r]) : Share<T>(each[r], rest[r])(v), y + r * n + k * w,
            lanes_of<T, V>(k, n));
    }
}

template <class T>
void forward_rows(T* y, const T* x, std::int64_t rows, std::int64_t n, bool log) {
  constexpr int w = vec<T>::size;
  if (n > kShortRow * w) {
    for (std::int64_t r = 0; r < rows; ++r) forward_row(y + r * n, x + r * n, n, log);
    return;
  }
  with_vectors<T>(n, [&]<int V>() PYFAST_INLINED {
    for (std::int64_t r = 0; r < rows; r += w) {
      const int some = static_cast<int>(rows - r < w ? rows - r : w);
      log ? forward_short<true, V>(y + r * n, x + r * n, some, n)
          : forward_short<false, V>(y + r * n, x + r * n, some, n);
    }
  });
}

template <bool log, int V, class T>
void backward_short(T* dx, const T* g, const T* y, int rows, std::int64_t n) {
  constexpr int w = vec<T>::size;
  PerRow<T> sums;
  T each[w];
  for (int r = 0; r < rows; ++r) {
    vec<T> sum;
    for (int k = 0; k < V; ++k) {
      const std::int64_t at = r * n + k * w;
      const int lanes = lanes_of<T, V>(k, n);
      const vec<T> gi = load(g + at, lanes);
      sum = log ? sum + gi : fma(gi, load(y + at, lanes), sum);
    }
    sums.set(r, sum);
  }
  sums.sum(rows).store(each);
  for (int r = 0; r < rows; ++r)
    for (int k = 0; k < V; ++k) {
      const std::int64_t at = r * n + k * w;
      const int lanes = lanes_of<T, V>(k, n);
      const vec<T> gi = load(g + at, lanes), yi = load(y + at, lanes), sum(each[r]);
      store(log ? fma(-exp(yi), sum, gi) : yi * (gi - sum), dx + at, lanes);
    }
}

// Of g, or of g y: all gradients of a row share its rounding.
template <bool log, class T>
T backward_sum(const T* g, const T* y, std::int64_t n) {
  constexpr int w = vec<T>::size;
  WideSum<T> sum;
  by_fours<T>(n, [&](std::int64_t i, auto at) PYFAST_INLINED {
    const vec<T> a = at(g, i), b = at(g, i + w), c = at(g, i + 2 * w), d = at(g, i + 3 * w);
    if constexpr (log)
      sum.add(a, b, c, d);
    else
      sum.add(fma(a, at(y, i), b * at(y, i + w)) + fma(c, at(y, i + 2 * w), d * at(y, i + 3 * w)));
  });
  return static_cast<T>(sum.total());
}

template <bool log, class T>
void backward_of(T* dx, const T* g, const T* y, std::int64_t n) {
  const vec<T> sum(backward_sum<log>(g, y, n));
  in_flight<T>(n, [&](int, std::int64_t i, int lanes) PYFAST_INLINED {
    __builtin_prefetch(g + n + i, 0, 3);
    __builtin_prefetch(y + n + i, 0, 3);
    const vec<T> gi = load(g + i, lanes), yi = load(y + i, lanes);
    store(log ? fma(-exp(yi), sum, gi) : yi * (gi - sum), dx + i, lanes);
  });
}

template <class T>
void backward_rows(T* dx, const T* g, const T* y, std::int64_t rows, std::int64_t n, bool log) {
  constexpr int w = vec<T>::size;
  if (n > kShortRow * w) {
    for (std::int64_t at = 0; at < rows * n; at += n)
      log ? backward_of<true>(dx + at, g + at, y + at, n)
          : backward_of<false>(dx + at, g + at, y + at, n);
    return;
  }
  with_vectors<T>(n, [&]<int V>() PYFAST_INLINED {
    for (std::int64_t r = 0; r < rows; r += w) {
      const std::int64_t at = r * n;
      const int some = static_cast<int>(rows - r < w ? rows - r : w);
      log ? backward_short<true, V>(dx + at, g + at, y + at, some, n)
          : backward_short<false, V>(dx + at, g + at, y + at, some, n);
    }
  });
}

template <class T>
void forward_columns(T* y, const T* x, std::int64_t n, std::int64_t columns, std::int64_t stride,
                     bool log) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < columns; c += w) {
    const int m = static_cast<int>(columns - c < w ? columns - c : w);
    vec<T> top(-infinity<T>()), sum(T{0});
    for (std::int64_t i = 0; i < n; ++i) top = max_nan(top, vec<T>::load(x + c + i * stride, m));
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> d = vec<T>::load(x + c + i * stride, m) - top, e = exp(d);
      sum += e;
      (log ? d : e).store(y + c + i * stride, m);
    }
    const vec<T> shift = pyfast::PYFAST_ISA::log(sum);
    const Share<T> share(sum);
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> v = vec<T>::load(y + c + i * stride, m);
      (log ? v - shift : share(v)).store(y + c + i * stride, m);
    }
  }
}

template <class T>
void backward_columns(T* dx, const T* g, const T* y, std::int64_t n, std::int64_t columns,
                      std::int64_t stride, bool log) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < columns; c += w) {
    const int m = static_cast<int>(columns - c < w ? columns - c : w);
    vec<T> sum(T{0});
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> gi = vec<T>::load(g + c + i * stride, m);
      sum = log ? sum + gi : fma(gi, vec<T>::load(y + c + i * stride, m), sum);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> gi = vec<T>::load(g + c + i * stride, m);
      const vec<T> yi = vec<T>::load(y + c + i * stride, m);
      (log ? fma(-exp(yi), sum, gi) : yi * (gi - sum)).store(dx + c + i * stride, m);
    }
  }
}

}  // namespace

template <class T>
const SoftmaxKernels<T>& softmax_kernels() {
  static constexpr SoftmaxKernels<T> table{&forward_rows<T>, &backward_rows<T>, &forward_columns<T>,
                                           &backward_columns<T>};
  return table;
}

template const SoftmaxKernels<float>& softmax_kernels<float>();
template const SoftmaxKernels<double>& softmax_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
