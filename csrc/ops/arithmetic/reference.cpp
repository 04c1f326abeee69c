#include <cmath>

#include "core/copy.h"
#include "ops/arithmetic/arithmetic.h"

namespace pyfast::reference {

namespace {

double combine(Binary operation, double a, double b) {
  switch (operation) {
    case Binary::add: return a + b;
    case Binary::subtract: return a - b;
    case Binary::multiply: return a * b;
    case Binary::divide: return a / b;
  }
  return 0;
}

double value(Elementary function, double x) {
  switch (function) {
    case Elementary::negative: return -x;
    case Elementary::absolute: return std::fabs(x);
    case Elementary::exp: return std::exp(x);
    case Elementary::expm1: return std::expm1(x);
    case Elementary::log: return std::log(x);
    case Elementary::log1p: return std::log1p(x);
    case Elementary::sqrt: return std::sqrt(x);
  }
  return 0;
}

// Element i, in C order, of a stretched view.
template <class T>
double element(const TensorView& view, std::int64_t i) {
  std::int64_t offset = 0;
  for (int axis = view.rank() - 1; axis >= 0; --axis) {
    offset += i % view.shape[axis] * view.strides[axis];
    i /= view.shape[axis];
  }
  return double{view.as<T>()[offset]};
}

}  // namespace

void binary(const BinaryParams& params, const TensorView& a, const TensorView& b,
            const TensorView& output) {
  const TensorView x = stretched(a, params.shape), y = stretched(b, params.shape);
  visit(a.dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < params.shape.numel(); ++i)
      output.as<T>()[i] =
          static_cast<T>(combine(params.operation, element<T>(x, i), element<T>(y, i)));
  });
}

void elementary(Elementary function, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    for (std::int64_t i = 0; i < input.numel(); ++i)
      output.as<T>()[i] = static_cast<T>(value(function, double{x.data()[i]}));
  });
}

}  // namespace pyfast::reference
