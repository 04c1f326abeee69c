// One multiply-add at a time, in double.
#include "core/memory.h"
#include "ops/matmul/layout.h"
#include "ops/matmul/matmul.h"

namespace pyfast::reference {

namespace {

// body(input, other, output) with the offsets of the elements of every multiply-add.
template <class Body>
void for_each_product(const MatmulLayout& s, Body body) {
  for (std::int64_t b = 0; b < s.batch.numel(); ++b) {
    const std::int64_t x = s.input.offset(s.batch, b), y = s.other.offset(s.batch, b);
    const std::int64_t z = s.output.offset(s.batch, b);
    for (std::int64_t i = 0; i < s.n; ++i)
      for (std::int64_t j = 0; j < s.m; ++j)
        for (std::int64_t d = 0; d < s.k; ++d)
          body(x + i * s.input.row_stride + d * s.input.col_stride,
               y + d * s.other.row_stride + j * s.other.col_stride,
               z + i * s.output.row_stride + j * s.output.col_stride);
  }
}

// Sums in double for the elements of a C-contiguous array, written to it at the end.
template <class T>
class Sums {
 public:
  explicit Sums(const TensorView& into) : into_(into), sums_(into.defined ? into.numel() : 0) {
    for (std::int64_t i = 0; i < sums_.size(); ++i) sums_[i] = 0;
  }
  void add(std::int64_t at, double value) {
    if (into_.defined) sums_[at] += value;
  }
  void write() {
    for (std::int64_t i = 0; i < sums_.size(); ++i) into_.as<T>()[i] = static_cast<T>(sums_[i]);
  }

 private:
  TensorView into_;
  Workspace<double> sums_;
};

// A C-contiguous array of the view's shape that need not exist: only its offsets are asked for.
TensorView packed_like(const TensorView& x) { return {nullptr, x.dtype, x.shape}; }

}  // namespace

void matmul_forward(const TensorView& input, const TensorView& other, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    Sums<T> sums(output);
    for_each_product(MatmulLayout(input, other, output), [&](auto x, auto y, auto z) {
      sums.add(z, double{input.as<T>()[x]} * double{other.as<T>()[y]});
    });
    sums.write();
  });
}

void matmul_backward(const TensorView& grad, const TensorView& input, const TensorView& other,
                     const TensorView& grad_input, const TensorView& grad_other) {
  visit(input.dtype, [&]<class T>() {
    Sums<T> dx(grad_input), dy(grad_other);
    // Offsets into one operand's gradient, beside those into the other operand and grad.
    for_each_product(MatmulLayout(packed_like(input), other, grad), [&](auto x, auto y, auto z) {
      dx.add(x, double{grad.as<T>()[z]} * double{other.as<T>()[y]});
    });
    for_each_product(MatmulLayout(input, packed_like(other), grad), [&](auto x, auto y, auto z) {
      dy.add(y, double{input.as<T>()[x]} * double{grad.as<T>()[z]});
    });
    dx.write();
    dy.write();
  });
}

}  // namespace pyfast::reference
