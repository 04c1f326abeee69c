// Columns: a vector holds neighbouring channels, so statistics are vectors too. Column sums take 64
// rows at a time in T, two vectors wide to hide the latency, and add those up in double.
#include "ops/norm/kernel.h"
#include "ops/norm/kernel_activation.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr std::int64_t kBlockRows = 64;

// Entries c ... of Affine, the first n lanes.
template <class T>
struct Lanes {
  vec<T> mean, scale, shift;
  PYFAST_INLINE Lanes(Affine<T> a, std::int64_t c, int n)
      : mean(vec<T>::load(a.mean + c, n)),
        scale(vec<T>::load(a.scale + c, n)),
        shift(vec<T>::load(a.shift + c, n)) {}
  PYFAST_INLINE vec<T> operator()(vec<T> x) const { return fma(x - mean, scale, shift); }
};

template <class T>
PYFAST_INLINE int lanes_at(std::int64_t i, std::int64_t n) {
  return static_cast<int>(n - i < vec<T>::size ? n - i : vec<T>::size);
}

template <class T>
void forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
             Activation activation) {
  constexpr int w = vec<T>::size;
  with_fused(activation, [=](auto act) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* from = x + r * cols;
      T* to = y + r * cols;
      for (std::int64_t c = 0; c < cols; c += w) {
        const int n = lanes_at<T>(c, cols);
        const Lanes<T> s(affine, c, n);
        act.forward(s(vec<T>::load(from + c, n))).store(to + c, n);
      }
    }
  });
}

// Through a tile of kBlockRows x one vector, written along channels and read along rows.
template <class T>
void forward_transposed(T* y, std::int64_t y_stride, const T* x, std::int64_t x_stride,
                        std::int64_t rows, std::int64_t cols, Affine<T> affine,
                        Activation activation) {
  constexpr int w = vec<T>::size;
  T tile[kBlockRows * w];
  with_fused(activation, [=, &tile](auto act) {
    for (std::int64_t r = 0; r < rows; r += kBlockRows) {
      const std::int64_t height = rows - r < kBlockRows ? rows - r : kBlockRows;
      for (std::int64_t c = 0; c < cols; c += w) {
        const int n = lanes_at<T>(c, cols);
        const Lanes<T> s(affine, c, n);
        for (std::int64_t i = 0; i < height; ++i)
          act.forward(s(vec<T>::load(x + (r + i) * x_stride + c, n))).store(tile + i * w);
        for (int k = 0; k < n; ++k) {
          T* to = y + (c + k) * y_stride + r;
          std::int64_t i = 0;
          for (; i + w <= height; i += w) vec<T>::load_strided(tile + i * w + k, w).store(to + i);
          for (; i < height; ++i) to[i] = tile[i * w + k];
        }
      }
    }
  });
}

template <class T>
void add_lanes(double* total, vec<T> sums, int n) {
  T lanes[vec<T>::size];
  sums.store(lanes);
  for (int k = 0; k < n; ++k) total[k] += double{lanes[k]};
}

// One vector of columns; two rows at a time.
template <class T, class Act>
void column_sums(const T* g, const T* x, std::int64_t rows, std::int64_t row_stride, int n,
                 const Lanes<T>& s, Act act, double* sum, double* weighted) {
  for (std::int64_t r = 0; r < rows; r += kBlockRows) {
    vec<T> sums[2], products[2];
    const auto step = [&](int k, std::int64_t row) __attribute__((always_inline)) {
      const vec<T> d = vec<T>::load(x + row * row_stride, n) - s.mean;
      const vec<T> dz =
          act.backward(vec<T>::load(g + row * row_stride, n), fma(d, s.scale, s.shift));
      sums[k] += dz;
      products[k] = fma(dz, d, products[k]);
    };
    const std::int64_t end = r + kBlockRows < rows ? r + kBlockRows : rows;
    std::int64_t i = r;
    for (; i + 2 <= end; i += 2) {
      step(0, i);
      step(1, i + 1);
    }
    if (i < end) step(0, i);
    add_lanes(sum, sums[0] + sums[1], n);
    add_lanes(weighted, products[0] + products[1], n);
  }
}

template <class T>
void sums(const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
          Activation activation, double* sum, double* weighted) {
  constexpr int w = vec<T>::size;
  with_fused(activation, [=](auto act) {
    for (std::int64_t c = 0; c < cols; c += w) {
      const int n = lanes_at<T>(c, cols);
      for (int k = 0; k < n; ++k) sum[c + k] = weighted[c + k] = 0;
      column_sums(g + c, x + c, rows, cols, n, Lanes<T>(affine, c, n), act, sum + c, weighted + c);
    }
  });
}

template <class T>
void backward(T* dx, const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
              AffineGradient<T> gradient, Activation activation) {
  constexpr int w = vec<T>::size;
  with_fused(activation, [=](auto act) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; c += w) {
        const int n = lanes_at<T>(c, cols);
        const std::int64_t at = r * cols + c;
        const Lanes<T> s(affine, c, n);
        const vec<T> d = vec<T>::load(x + at, n) - s.mean;
        const vec<T> dz = act.backward(vec<T>::load(g + at, n), fma(d, s.scale, s.shift));
        const vec<T> a = vec<T>::load(gradient.a + c, n), b = vec<T>::load(gradient.b + c, n);
        fma(a, dz, fma(b, d, vec<T>::load(gradient.c + c, n))).store(dx + at, n);
      }
  });
}

}  // namespace

template <class T>
const ColumnKernels<T>& norm_column_kernels() {
  static constexpr ColumnKernels<T> table{&forward<T>, &forward_transposed<T>, &sums<T>,
                                          &backward<T>};
  return table;
}

template const ColumnKernels<float>& norm_column_kernels<float>();
template const ColumnKernels<double>& norm_column_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
