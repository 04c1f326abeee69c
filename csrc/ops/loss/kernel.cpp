// Pointwise losses are three lines each: value, derivative by input, derivative by target. The
// classification losses work on rows of class scores.
#include "ops/loss/kernel.h"

#include "simd/across.h"
#include "simd/math.h"

namespace pyfast::PYFAST_ISA {

namespace {

// The first lanes of v, and zeros.
template <class T>
PYFAST_INLINE vec<T> head(vec<T> v, int lanes) {
  return lanes == vec<T>::size ? v : select(mask<T>::first(lanes), v, vec<T>(T{0}));
}

template <class T>
PYFAST_INLINE vec<T> sign(vec<T> d) {
  const vec<T> zero(T{0}), one(T{1});
  return select(d > zero, one, select(d < zero, -one, d));  // 0 and NaN are kept
}

template <class T>
PYFAST_INLINE vec<T> softplus(vec<T> x) {
  return log1p(exp(-abs(x))) + max_nan(x, vec<T>(T{0}));
}

template <class T>
struct Mse {
  static PYFAST_INLINE vec<T> value(vec<T> x, vec<T> t, vec<T>, T) { return (x - t) * (x - t); }
  static PYFAST_INLINE vec<T> dx(vec<T> x, vec<T> t, vec<T>, T) { return vec<T>(T{2}) * (x - t); }
  static PYFAST_INLINE vec<T> dt(vec<T> x, vec<T> t, vec<T>, T) { return vec<T>(T{2}) * (t - x); }
};

template <class T>
struct L1 {
  static PYFAST_INLINE vec<T> value(vec<T> x, vec<T> t, vec<T>, T) { return abs(x - t); }
  static PYFAST_INLINE vec<T> dx(vec<T> x, vec<T> t, vec<T>, T) { return sign(x - t); }
  static PYFAST_INLINE vec<T> dt(vec<T> x, vec<T> t, vec<T>, T) { return sign(t - x); }
};

// Quadratic within `knee`, then a line of slope `slope`: Girshick, 2015; Huber, 1964.
template <class T, bool huber>
struct Smooth {
  static PYFAST_INLINE vec<T> value(vec<T> x, vec<T> t, vec<T>, T knee) {
    const vec<T> a = abs(x - t), half(T{0.5}), k(knee), slope(huber ? knee : T{1});
    return select(a < k, half * a * a * (slope / k), slope * (a - half * k));
  }
  static PYFAST_INLINE vec<T> dx(vec<T> x, vec<T> t, vec<T>, T knee) {
    const vec<T> d = x - t, k(knee), slope(huber ? knee : T{1});
    return select(abs(d) < k, d * (slope / k), slope * sign(d));
  }
  static PYFAST_INLINE vec<T> dt(vec<T> x, vec<T> t, vec<T> pos, T knee) {
    return -dx(x, t, pos, knee);
  }
};

// Logarithms are bounded by -100, as in PyTorch, so that the loss stays finite.
template <class T>
struct Bce {
  static PYFAST_INLINE vec<T> one(vec<T> x) { return max_nan(log(x), vec<T>(T{-100})); }
  static PYFAST_INLINE vec<T> zero(vec<T> x) { return max_nan(log1p(-x), vec<T>(T{-100})); }
  static PYFAST_INLINE vec<T> value(vec<T> x, vec<T> t, vec<T>, T) {
    return (t - vec<T>(T{1})) * zero(x) - t * one(x);
  }
  static PYFAST_INLINE vec<T> dx(vec<T> x, vec<T> t, vec<T>, T) {
    return (x - t) / max_nan(x * (vec<T>(T{1}) - x), vec<T>(static_cast<T>(1e-12)));
  }
  static PYFAST_INLINE vec<T> dt(vec<T> x, vec<T>, vec<T>, T) { return zero(x) - one(x); }
};

template <class T>
struct BceLogits {
  static PYFAST_INLINE vec<T> weight(vec<T> t, vec<T> pos) {
    return fma(pos - vec<T>(T{1}), t, vec<T>(T{1}));
  }
  static PYFAST_INLINE vec<T> value(vec<T> x, vec<T> t, vec<T> pos, T) {
    const vec<T> slope = select(x > vec<T>(T{0}), vec<T>(T{1}) - t, -(pos * t));
    return fma(slope, x, weight(t, pos) * log1p(exp(-abs(x))));
  }
  // weight sigmoid(x) - pos t; where both are nearly pos, 1 - t - weight sigmoid(-x), which 1 - t
  // does not round.
  static PYFAST_INLINE vec<T> dx(vec<T> x, vec<T> t, vec<T> pos, T) {
    const vec<T> w = weight(t, pos);
    const mask<T> near = (x > vec<T>(T{0})) & (t >= vec<T>(T{0.5}));
    const vec<T> rest = select(near, vec<T>(T{1}) - t, -(pos * t));
    return fma(select(near, -w, w), sigmoid(select(near, -x, x)), rest);
  }
  static PYFAST_INLINE vec<T> dt(vec<T> x, vec<T>, vec<T> pos, T) {
    return (pos - vec<T>(T{1})) * softplus(-x) - x;
  }
};

template <class T>
struct Kl {
  static PYFAST_INLINE vec<T> value(vec<T> x, vec<T> t, vec<T>, T) {
    const vec<T> zero(T{0});
    return fma(-t, x, select(t == zero, zero, t * log(t)));
  }
  static PYFAST_INLINE vec<T> dx(vec<T>, vec<T> t, vec<T>, T) { return -t; }
  static PYFAST_INLINE vec<T> dt(vec<T> x, vec<T> t, vec<T>, T) {
    return log(t) + vec<T>(T{1}) - x;
  }
};

template <class T>
struct KlLog {
  static PYFAST_INLINE vec<T> value(vec<T> x, vec<T> t, vec<T>, T) { return exp(t) * (t - x); }
  static PYFAST_INLINE vec<T> dx(vec<T>, vec<T> t, vec<T>, T) { return -exp(t); }
  static PYFAST_INLINE vec<T> dt(vec<T> x, vec<T> t, vec<T>, T) {
    return exp(t) * (t - x + vec<T>(T{1}));
  }
};

// body.template operator()<Rule>() with the rule of `loss`.
template <class T, class Body>
PYFAST_INLINE void with_rule(Loss loss, Body body) {
  switch (loss) {
    case Loss::mse: return body.template operator()<Mse<T>>();
    case Loss::l1: return body.template operator()<L1<T>>();
    case Loss::smooth_l1: return body.template operator()<Smooth<T, false>>();
    case Loss::huber: return body.template operator()<Smooth<T, true>>();
    case Loss::bce: return body.template operator()<Bce<T>>();
    case Loss::bce_logits: return body.template operator()<BceLogits<T>>();
    case Loss::kl: return body.template operator()<Kl<T>>();
    case Loss::kl_log: return body.template operator()<KlLog<T>>();
  }
}

// Sums are taken over runs of at most kRun elements in T, and these in double.
constexpr std::int64_t kRun = 256;

template <class T>
double pointwise(Loss loss, double scale, PointwiseOperands<T> in, T* out, std::int64_t n) {
  double total = 0;
  with_rule<T>(loss, [&]<class Rule>() {
    for (std::int64_t start = 0; start < n; start += kRun) {
      vec<T> sum(T{0});
      for_each_vector<T>(n - start < kRun ? n - start : kRun, [&](std::int64_t j, int lanes) {
        const std::int64_t i = start + j;
        const vec<T> pos = in.pos ? load(in.pos + i, lanes) : vec<T>(T{1});
        vec<T> v =
            Rule::value(load(in.x + i, lanes), load(in.t + i, lanes), pos, static_cast<T>(scale));
        if (in.weight) v *= load(in.weight + i, lanes);
        if (out) store(v, out + i, lanes);
        sum += head(v, lanes);
      });
      total += static_cast<double>(reduce_add(sum));
    }
  });
  return total;
}

template <class T>
void pointwise_backward(Loss loss, double scale, PointwiseOperands<T> in, const T* grad, bool one,
                        T* dx, T* dt, std::int64_t n) {
  with_rule<T>(loss, [&]<class Rule>() {
    for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
      const vec<T> x = load(in.x + i, lanes), t = load(in.t + i, lanes);
      const vec<T> pos = in.pos ? load(in.pos + i, lanes) : vec<T>(T{1});
      vec<T> g = one ? vec<T>(grad[0]) : load(grad + i, lanes);
      if (in.weight) g *= load(in.weight + i, lanes);
      store(g * Rule::dx(x, t, pos, static_cast<T>(scale)), dx + i, lanes);
      if (dt) store(g * Rule::dt(x, t, pos, static_cast<T>(scale)), dt + i, lanes);
    });
  });
}

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
T row_top(const T* x, std::int64_t n) {
  const T lowest = -static_cast<T>(__builtin_inf());
  vec<T> top[kSums] = {vec<T>(lowest), vec<T>(lowest), vec<T>(lowest), vec<T>(lowest)};
  in_flight<T>(n, [&](int k, std::int64_t i, int lanes)
                      PYFAST_INLINED { top[k] = max_nan(top[k], load(x + i, lanes, lowest)); });
  return reduce_max(max_nan(max_nan(top[0], top[1]), max_nan(top[2], top[3])));
}

template <class T>
void row_log_sum_exp(const T* x, std::int64_t n, T& top, double& log_sum) {
  const T lowest = -static_cast<T>(__builtin_inf()), best = row_top(x, n);
  vec<T> sums[kSums];
  in_flight<T>(n, [&](int k, std::int64_t i, int lanes) PYFAST_INLINED {
    sums[k] += exp(load(x + i, lanes, lowest) - vec<T>(best));
  });
  T result[vec<T>::size];
  log(vec<T>(reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3])))).store(result);
  top = best;
  log_sum = double{result[0]};
}

// A row a lane: rows <= vec<T>::size of them, of V vectors each.
template <int V, class T>
void short_log_sum_exp(const T* x, int rows, std::int64_t n, T* best, double* logs) {
  constexpr int w = vec<T>::size;
  const T lowest = -static_cast<T>(__builtin_inf());
  PerRow<T> tops, sums;
  T tops_of[w];
  double logs_of[w];
  const auto load_at = [&](int r, int k) PYFAST_INLINED {
    return load(x + r * n + k * w, lanes_of<T, V>(k, n), lowest);
  };
  for (int r = 0; r < rows; ++r) {
    vec<T> top = load_at(r, 0);
    for (int k = 1; k < V; ++k) top = max_nan(top, load_at(r, k));
    tops.set(r, top);
  }
  tops.reduce(rows, [](vec<T> a, vec<T> b) PYFAST_INLINED { return max_nan(a, b); }).store(tops_of);
  for (int r = 0; r < rows; ++r) {
    vec<T> sum;
    for (int k = 0; k < V; ++k) sum += exp(load_at(r, k) - vec<T>(tops_of[r]));
    sums.set(r, sum);
  }
  vec<double> low, high;
  sums.sum(rows, low, high);
  log(low).store(logs_of);
  if (sizeof(T) == 4) log(high).store(logs_of + vec<double>::size);
  for (int r = 0; r < rows; ++r) best[r] = tops_of[r], logs[r] = logs_of[r];
}

template <class T>
void log_sum_exp(const T* x, std::int64_t rows, std::int64_t n, T* tops, double* logs) {
  constexpr int w = vec<T>::size;
  if (n > kShortRow * w) {
    for (std::int64_t r = 0; r < rows; ++r) row_log_sum_exp(x + r * n, n, tops[r], logs[r]);
    return;
  }
  with_vectors<T>(n, [&]<int V>() PYFAST_INLINED {
    for (std::int64_t r = 0; r < rows; r += w)
      short_log_sum_exp<V>(x + r * n, static_cast<int>(rows - r < w ? rows - r : w), n, tops + r,
                           logs + r);
  });
}

template <class T>
T smoothing(const T* x, const T* weight, T top, T log, std::int64_t n) {
  vec<T> sum(T{0});
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const vec<T> d = vec<T>(top) - load(x + i, lanes) + vec<T>(log);
    sum += head(weight ? d * load(weight + i, lanes) : d, lanes);
  });
  return reduce_add(sum);
}

// weight_c (a t_c + b)
template <class T>
PYFAST_INLINE vec<T> soften(const T* t, const T* weight, T a, T b, int lanes) {
  const vec<T> q = fma(vec<T>(a), load(t, lanes), vec<T>(b));
  return weight ? q * load(weight, lanes) : q;
}

template <class T>
T soft_target(const T* x, const T* t, const T* weight, T top, T log, T a, T b, std::int64_t n) {
  vec<T> sum(T{0});
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const vec<T> q = soften(t + i, weight ? weight + i : nullptr, a, b, lanes);
    const vec<T> v = q * (vec<T>(top) - load(x + i, lanes) + vec<T>(log));
    sum += head(v, lanes);
  });
  return reduce_add(sum);
}

template <class T>
void backward(T* dx, const T* x, const T* weight, T log, T p, T b, std::int64_t n) {
  const T top = row_top(x, n);
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const vec<T> e = exp(load(x + i, lanes) - vec<T>(top) - vec<T>(log));
    const vec<T> w = weight ? load(weight + i, lanes) : vec<T>(T{1});
    store(fma(vec<T>(p), e, -(vec<T>(b) * w)), dx + i, lanes);
  });
}

template <class T>
void soft_backward(T* dx, T* dt, const T* x, const T* t, const T* weight, T log, T g, T a, T b,
                   std::int64_t n) {
  const vec<T> top(row_top(x, n)), log_sum(log);
  vec<T> sum(T{0});
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const vec<T> q = soften(t + i, weight ? weight + i : nullptr, a, b, lanes);
    sum += head(q, lanes);
  });
  const vec<T> total(reduce_add(sum)), scale(g);
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const T* w = weight ? weight + i : nullptr;
    const vec<T> below = top - load(x + i, lanes) + log_sum, q = soften(t + i, w, a, b, lanes);
    store(scale * (total * exp(-below) - q), dx + i, lanes);
    if (!dt) return;
    const vec<T> share = w ? vec<T>(a) * load(w, lanes) : vec<T>(a);
    store(scale * share * below, dt + i, lanes);
  });
}

}  // namespace

template <class T>
const LossKernels<T>& loss_kernels() {
  static constexpr LossKernels<T> table{&pointwise<T>,    &pointwise_backward<T>, &log_sum_exp<T>,
                                        &smoothing<T>,    &soft_target<T>,        &backward<T>,
                                        &soft_backward<T>};
  return table;
}

template const LossKernels<float>& loss_kernels<float>();
template const LossKernels<double>& loss_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
