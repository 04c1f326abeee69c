// Columns: a vector holds neighbouring channels, so statistics are vectors too. Column sums take 64
// rows at a time in T, two vectors wide to hide the latency, and add those up in double.
#include "ops/norm/kernel.h"
#include "ops/norm/kernel_activation.h"
#include "ops/norm/kernel_loops.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr std::int64_t kBlockRows = 64;

// Entries of Affine, one a lane; `load` reads as many as there are columns left.
template <class T>
struct Lanes {
  vec<T> mean, scale, shift;
  template <class Load>
  PYFAST_INLINE Lanes(Affine<T> a, std::int64_t c, Load load)
      : mean(load(a.mean + c)), scale(load(a.scale + c)), shift(load(a.shift + c)) {}
};

template <class T>
void forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
             Activation activation) {
  with_fused(activation, [=](auto act) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = r * cols;
      over_row<T>(cols, [&](std::int64_t c, auto load, auto store) __attribute__((always_inline)) {
        const Lanes<T> s(affine, c, load);
        store(y + at + c, act.forward(fma(load(x + at + c) - s.mean, s.scale, s.shift)));
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
      over_row<T>(cols, [&](std::int64_t c, auto load, auto) __attribute__((always_inline)) {
        const Lanes<T> s(affine, c, load);
        for (std::int64_t i = 0; i < height; ++i) {
          const vec<T> d = load(x + (r + i) * x_stride + c) - s.mean;
          act.forward(fma(d, s.scale, s.shift)).store(tile + i * w);
        }
        const int columns = static_cast<int>(cols - c < w ? cols - c : w);
        write_transposed(y + c * y_stride + r, y_stride, tile, height, columns);
      });
    }
  });
}

// One vector of columns, two rows at a time.
template <class T, class Load, class Act>
PYFAST_INLINE void column_sums(const T* g, const T* x, std::int64_t rows, std::int64_t stride,
                               int columns, const Lanes<T>& s, Load load, Act act, double* sum,
                               double* weighted) {
  for (std::int64_t r = 0; r < rows; r += kBlockRows) {
    vec<T> sums[2], products[2];
    const auto step = [&](int k, std::int64_t row) __attribute__((always_inline)) {
      const vec<T> d = load(x + row * stride) - s.mean;
      const vec<T> dz = act.backward(load(g + row * stride), fma(d, s.scale, s.shift));
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
    add_lanes(sum, sums[0] + sums[1], columns);
    add_lanes(weighted, products[0] + products[1], columns);
  }
}

template <class T>
void sums(const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
          Activation activation, double* sum, double* weighted) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < cols; ++c) sum[c] = weighted[c] = 0;
  with_fused(activation, [=](auto act) {
    over_row<T>(cols, [&](std::int64_t c, auto load, auto) __attribute__((always_inline)) {
      const int columns = static_cast<int>(cols - c < w ? cols - c : w);
      column_sums(g + c, x + c, rows, cols, columns, Lanes<T>(affine, c, load), load, act, sum + c,
                  weighted + c);
    });
  });
}

template <class T>
void backward(T* dx, const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
              AffineGradient<T> gradient, Activation activation) {
  with_fused(activation, [=](auto act) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = r * cols;
      over_row<T>(cols, [&](std::int64_t c, auto load, auto store) __attribute__((always_inline)) {
        const Lanes<T> s(affine, c, load);
        const vec<T> d = load(x + at + c) - s.mean;
        const vec<T> dz = act.backward(load(g + at + c), fma(d, s.scale, s.shift));
        const vec<T> rest = fma(load(gradient.b + c), d, load(gradient.c + c));
        store(dx + at + c, fma(load(gradient.a + c), dz, rest));
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
