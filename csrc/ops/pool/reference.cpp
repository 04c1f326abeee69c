// One output at a time, walking every tap of its window; sums in double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/copy.h"
#include "ops/pool/pool.h"

namespace pyfast::reference {

namespace {

// body(input position) for every tap of output o that lies inside the input.
template <class Body>
void for_each_tap(const PoolAxis& a, std::int64_t o, Body body) {
  if (a.adaptive) {
    for (std::int64_t i = 0; i < a.in; ++i)
      if ((i + 1) * a.out > o * a.in && i * a.out < (o + 1) * a.in) body(i);
    return;
  }
  for (std::int64_t k = 0; k < a.kernel; ++k) {
    const std::int64_t i = o * a.stride - a.padding + k * a.dilation;
    if (i >= a.in) break;
    if (i >= 0) body(i);
  }
}

// body(flat position in the input plane) for every tap, in row-major order.
template <class Body>
void for_each_tap(const PoolParams& p, std::int64_t row, std::int64_t col, Body body) {
  for_each_tap(p.rows, row, [&](std::int64_t r) {
    for_each_tap(p.cols, col, [&](std::int64_t c) { body(r * p.cols.in + c); });
  });
}

// body(plane, row, col, flat output position) for every output.
template <class Body>
void for_each_output(const PoolParams& p, Body body) {
  std::int64_t at = 0;
  for (std::int64_t plane = 0; plane < p.planes(); ++plane)
    for (std::int64_t row = 0; row < p.rows.out; ++row)
      for (std::int64_t col = 0; col < p.cols.out; ++col) body(plane, row, col, at++);
}

double counted(const PoolAxis& a, std::int64_t o, bool include_pad) {
  double n = 0;
  if (a.adaptive || !include_pad) {
    for_each_tap(a, o, [&](std::int64_t) { ++n; });
    return n;
  }
  for (std::int64_t k = 0; k < a.kernel; ++k)
    if (o * a.stride - a.padding + k < a.in + a.padding) ++n;
  return n;
}

double divisor(const PoolParams& p, std::int64_t row, std::int64_t col) {
  if (p.divisor_override != 0) return static_cast<double>(p.divisor_override);
  return counted(p.rows, row, p.count_include_pad) * counted(p.cols, col, p.count_include_pad);
}

// Which tap of the window of output (row, col) the flat position `where` is.
std::uint8_t tap_of(const PoolParams& p, std::int64_t row, std::int64_t col, std::int64_t where) {
  const std::int64_t r = where / p.cols.in - (row * p.rows.stride - p.rows.padding);
  const std::int64_t c = where % p.cols.in - (col * p.cols.stride - p.cols.padding);
  return static_cast<std::uint8_t>(r / p.rows.dilation * p.cols.kernel + c / p.cols.dilation);
}

// Of all outputs, in their planes, whichever kind the indices are.
std::vector<std::int64_t> positions(const PoolParams& p, const TensorView& indices) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(indices.numel()));
  if (indices.dtype == DType::i64) {
    const Contiguous<std::int64_t> index(indices);
    check_pool_indices(p.op, index.data(), indices.numel(), p.input_plane());
    std::copy(index.data(), index.data() + indices.numel(), all.begin());
    return all;
  }
  const Contiguous<std::uint8_t> taps(indices);
  const PoolTapCheck check_taps(p);
  for (std::int64_t plane = 0; plane < p.planes(); ++plane)
    check_taps(taps.data() + plane * p.output_plane());
  for_each_output(p, [&](auto, auto row, auto col, auto at) {
    all[static_cast<std::size_t>(at)] = position_of_tap(p, row, col, taps.data()[at]);
  });
  return all;
}

}  // namespace

void max_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      const TensorView& indices) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    const std::int64_t size = params.input_plane();
    for_each_output(params, [&](auto plane, auto row, auto col, auto at) {
      T best = -std::numeric_limits<T>::infinity();
      std::int64_t where = -1;
      for_each_tap(params, row, col, [&](std::int64_t i) {
        const T v = x.data()[plane * size + i];
        if (where >= 0 && !(v > best) && !std::isnan(v)) return;
        best = v;
        where = i;
      });
      output.as<T>()[at] = best;
      if (!indices.defined) return;
      if (indices.dtype == DType::i64)
        indices.as<std::int64_t>()[at] = where;
      else
        indices.as<std::uint8_t>()[at] = tap_of(params, row, col, where);
    });
  });
}

void max_pool_backward(const PoolParams& params, const TensorView& grad, const TensorView& indices,
                       const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    const std::vector<std::int64_t> index = positions(params, indices);
    const std::int64_t size = params.input_plane();
    std::vector<double> sums(static_cast<std::size_t>(grad_input.numel()));
    for_each_output(params, [&](auto plane, auto, auto, auto at) {
      const std::int64_t i = plane * size + index[static_cast<std::size_t>(at)];
      sums[static_cast<std::size_t>(i)] += double{g.data()[at]};
    });
    for (std::size_t i = 0; i < sums.size(); ++i) grad_input.as<T>()[i] = static_cast<T>(sums[i]);
  });
}

void avg_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    const std::int64_t size = params.input_plane();
    for_each_output(params, [&](auto plane, auto row, auto col, auto at) {
      double sum = 0;
      for_each_tap(params, row, col,
                   [&](std::int64_t i) { sum += double{x.data()[plane * size + i]}; });
      output.as<T>()[at] = static_cast<T>(sum / divisor(params, row, col));
    });
  });
}

void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    const std::int64_t size = params.input_plane();
    std::vector<double> sums(static_cast<std::size_t>(grad_input.numel()));
    for_each_output(params, [&](auto plane, auto row, auto col, auto at) {
      const double share = double{g.data()[at]} / divisor(params, row, col);
      for_each_tap(params, row, col, [&](std::int64_t i) {
        sums[static_cast<std::size_t>(plane * size + i)] += share;
      });
    });
    for (std::size_t i = 0; i < sums.size(); ++i) grad_input.as<T>()[i] = static_cast<T>(sums[i]);
  });
}

}  // namespace pyfast::reference
