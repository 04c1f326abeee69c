// One pass over what is given, a vector at a time. Gradients of slopes are summed in double: beside
// the memory traffic that costs nothing.
#include "ops/activation/kernel_gated.h"

#include "simd/math.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void glu(T* y, const T* a, const T* b, std::int64_t n) {
  for_each_vector<T>(n, [=](std::int64_t i, int lanes) {
    store(load(a + i, lanes) * sigmoid(load(b + i, lanes)), y + i, lanes);
  });
}

template <class T>
void glu_backward(T* da, T* db, const T* g, const T* a, const T* b, std::int64_t n) {
  const vec<T> one(T{1});
  for_each_vector<T>(n, [=](std::int64_t i, int lanes) {
    const vec<T> s = sigmoid(load(b + i, lanes)), grad = load(g + i, lanes);
    store(grad * s, da + i, lanes);
    store(grad * (load(a + i, lanes) * s * (one - s)), db + i, lanes);
  });
}

template <class T>
PYFAST_INLINE vec<T> leak(vec<T> x, vec<T> value, vec<T> slope) {
  return select(x > vec<T>(), value, slope * value);
}

// What each element adds to its slope's gradient.
template <class T>
PYFAST_INLINE vec<T> slope_gradient(vec<T> x, vec<T> g) {
  return select(x > vec<T>(), vec<T>(), g * x);
}

// Adds a vector to as many doubles.
PYFAST_INLINE void add_to(vec<double>* sums, vec<double> v) { sums[0] += v; }
PYFAST_INLINE void add_to(vec<double>* sums, vec<float> v) {
  sums[0] += widen_low(v);
  sums[1] += widen_high(v);
}

template <class T>
void prelu(T* y, const T* x, T slope, std::int64_t n) {
  for_each_vector<T>(n, [=](std::int64_t i, int lanes) {
    const vec<T> v = load(x + i, lanes);
    store(leak(v, v, vec<T>(slope)), y + i, lanes);
  });
}

template <class T>
double prelu_backward(T* dx, const T* g, const T* x, T slope, std::int64_t n) {
  vec<double> sums[2];
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const vec<T> v = load(x + i, lanes), grad = load(g + i, lanes);
    store(leak(v, grad, vec<T>(slope)), dx + i, lanes);
    add_to(sums, slope_gradient(v, grad));
  });
  return reduce_add(sums[0] + sums[1]);
}

template <class T>
void prelu_columns(T* y, const T* x, const T* slopes, std::int64_t n) {
  for_each_vector<T>(n, [=](std::int64_t i, int lanes) {
    const vec<T> v = load(x + i, lanes);
    store(leak(v, v, load(slopes + i, lanes)), y + i, lanes);
  });
}

template <class T>
void prelu_columns_backward(T* dx, double* dslopes, const T* g, const T* x, const T* slopes,
                            std::int64_t n) {
  for_each_vector<T>(n, [=](std::int64_t i, int lanes) {
    const vec<T> v = load(x + i, lanes), grad = load(g + i, lanes);
    store(leak(v, grad, load(slopes + i, lanes)), dx + i, lanes);
    add_lanes(dslopes + i, slope_gradient(v, grad), lanes);
  });
}

}  // namespace

template <class T>
const GatedKernels<T>& gated_kernels() {
  static constexpr GatedKernels<T> table{&glu<T>,           &glu_backward<T>,
                                         &prelu<T>,         &prelu_backward<T>,
                                         &prelu_columns<T>, &prelu_columns_backward<T>};
  return table;
}

template const GatedKernels<float>& gated_kernels<float>();
template const GatedKernels<double>& gated_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
