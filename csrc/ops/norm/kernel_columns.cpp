// Columns: a vector holds neighbouring channels, so statistics are vectors too. Column sums take 64
// rows at a time in T, two vectors wide to hide the latency, and add those up in double.
#include "ops/norm/kernel.h"
#include "ops/norm/kernel_activation.h"
#include "simd/loop.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr std::int64_t kBlockRows = 64;

// Entries of Affine, one a lane, from column c on.
template <class T>
struct Lanes {
  vec<T> origin, scale, scale_rest, shift;
  PYFAST_INLINE Lanes(Affine<T> a, std::int64_t c, int lanes)
      : origin(load(a.origin + c, lanes)),
        scale(load(a.scale + c, lanes)),
        scale_rest(load(a.scale_rest + c, lanes)),
        shift(load(a.shift + c, lanes)) {}
  PYFAST_INLINE vec<T> operator()(vec<T> d) const {  // of d = x - origin
    return fma(d, scale, fma(d, scale_rest, shift));
  }
};

template <class T>
void forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
             Activation activation) {
  with_fused(activation, [=](auto act) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = r * cols;
      for_each_vector<T>(cols, [&](std::int64_t c, int lanes) PYFAST_INLINED {
        const Lanes<T> s(affine, c, lanes);
        fetch_ahead(x + at + c);
        fetch_ahead(y + at + c);
        const vec<T> d = load(x + at + c, lanes) - s.origin;
        store(act.forward(s(d)), y + at + c, lanes);
      });
    }
  });
}

// A tile of kBlockRows x one vector: written along channels, read along rows.
template <class T>
void write_transposed(T* y, std::int64_t y_stride, const T* tile, std::int64_t rows, int columns) {
  constexpr int w = vec<T>::size;
  for (int k = 0; k < columns; ++k) {
    T* to = y + k * y_stride;
    std::int64_t i = 0;
    for (; i + w <= rows; i += w) vec<T>::load_strided(tile + i * w + k, w).store(to + i);
    for (; i < rows; ++i) to[i] = tile[i * w + k];
  }
}

template <class T>
void forward_transposed(T* y, std::int64_t y_stride, const T* x, std::int64_t x_stride,
                        std::int64_t rows, std::int64_t cols, Affine<T> affine,
                        Activation activation) {
  constexpr int w = vec<T>::size;
  T tile[kBlockRows * w];
  with_fused(activation, [=, &tile](auto act) {
    for (std::int64_t r = 0; r < rows; r += kBlockRows) {
      const std::int64_t height = rows - r < kBlockRows ? rows - r : kBlockRows;
      for_each_vector<T>(cols, [&](std::int64_t c, int lanes) PYFAST_INLINED {
        const Lanes<T> s(affine, c, lanes);
        for (std::int64_t i = 0; i < height; ++i) {
          const vec<T> d = load(x + (r + i) * x_stride + c, lanes) - s.origin;
          act.forward(s(d)).store(tile + i * w);
        }
        write_transposed(y + c * y_stride + r, y_stride, tile, height, lanes);
      });
    }
  });
}

// One vector of columns, two rows at a time.
template <class T, class Act>
PYFAST_INLINE void column_sums(const T* g, const T* x, std::int64_t rows, std::int64_t stride,
                               int lanes, const Lanes<T>& s, vec<T> centre, Act act, double* sum,
                               double* weighted) {
  for (std::int64_t r = 0; r < rows; r += kBlockRows) {
    vec<T> sums[2], products[2];
    const auto step = [&](int k, std::int64_t row) PYFAST_INLINED {
      const vec<T> xi = load(x + row * stride, lanes), z = s(xi - s.origin);
      const vec<T> dz = act.backward(load(g + row * stride, lanes), z);
      sums[k] += dz;
      products[k] = fma(dz, xi - centre, products[k]);
    };
    const std::int64_t end = r + kBlockRows < rows ? r + kBlockRows : rows;
    std::int64_t i = r;
    for (; i + 2 <= end; i += 2) {
      step(0, i);
      step(1, i + 1);
    }
    if (i < end) step(0, i);
    add_lanes(sum, sums[0] + sums[1], lanes);
    add_lanes(weighted, products[0] + products[1], lanes);
  }
}

template <class T>
void sums(const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
          Activation activation, double* sum, double* weighted) {
  for (std::int64_t c = 0; c < cols; ++c) sum[c] = weighted[c] = 0;
  with_fused(activation, [=](auto act) {
    for_each_vector<T>(cols, [&](std::int64_t c, int lanes) PYFAST_INLINED {
      column_sums(g + c, x + c, rows, cols, lanes, Lanes<T>(affine, c, lanes),
                  load(affine.centre + c, lanes), act, sum + c, weighted + c);
    });
  });
}

template <class T>
void backward(T* dx, const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
              AffineGradient<T> gradient, Activation activation) {
  with_fused(activation, [=](auto act) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = r * cols;
      for_each_vector<T>(cols, [&](std::int64_t c, int lanes) PYFAST_INLINED {
        const Lanes<T> s(affine, c, lanes);
        fetch_ahead(x + at + c);
        fetch_ahead(g + at + c);
        fetch_ahead(dx + at + c);
        const vec<T> d = load(x + at + c, lanes) - s.origin;
        const vec<T> dz = act.backward(load(g + at + c, lanes), s(d));
        const vec<T> rest = fma(load(gradient.b + c, lanes), d, load(gradient.c + c, lanes));
        const vec<T> slope =
            fma(load(gradient.a + c, lanes), dz, fma(load(gradient.a_rest + c, lanes), dz, rest));
        store(load(gradient.unit + c, lanes) * slope, dx + at + c, lanes);
      });
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
