// A row (the last axis) at a time: the kept part is one copy, the two borders follow the mode.
#include <algorithm>
#include <cstring>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/pad/pad.h"

namespace pyfast {

namespace {

constexpr std::int64_t kOutside = INT64_MIN;  // no offset: those of reversed views are negative

// The input position that output position o shows; kOutside where the constant is.
std::int64_t source(const PadAxis& axis, PadMode mode, std::int64_t o) {
  const std::int64_t i = o - axis.before;
  const std::int64_t kept_end = axis.kept_begin() + axis.kept();
  if (i >= axis.kept_begin() && i < kept_end) return i;
  switch (mode) {
    case PadMode::constant: return kOutside;
    case PadMode::reflect: return i < 0 ? -i : i < axis.in ? i : 2 * (axis.in - 1) - i;
    case PadMode::replicate: return i < 0 ? 0 : i < axis.in ? i : axis.in - 1;
    case PadMode::circular: return i < axis.kept_begin() ? i + axis.kept() : i - axis.kept();
  }
  return kOutside;
}

// Offset in the input of the row that is shown by row `row` of axes [first, last) of the output;
// kOutside where the constant is.
std::int64_t source_row(const PadParams& params, const Dims& strides, int first, std::int64_t row) {
  std::int64_t offset = 0;
  for (int i = params.output_shape.rank() - 2; i >= first; --i) {
    const std::int64_t at = source(params.axis(i), params.mode, row % params.output_shape[i]);
    if (at == kOutside) return kOutside;
    offset += at * strides[i];
    row /= params.output_shape[i];
  }
  return offset;
}

template <class T>
void copy_kept(T* y, const T* x, std::int64_t n, std::int64_t stride) {
  if (stride == 1) {
    std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(T));
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i * stride];
  }
}

// body(o) for the outputs of a row outside its kept part.
template <class Body>
void for_each_border(const PadAxis& axis, Body body) {
  for (std::int64_t o = 0; o < axis.kept_at(); ++o) body(o);
  for (std::int64_t o = axis.kept_at() + axis.kept(); o < axis.out(); ++o) body(o);
}

template <class T>
void pad_row(T* y, const T* x, std::int64_t stride, const PadAxis& axis, PadMode mode, T value) {
  copy_kept(y + axis.kept_at(), x + axis.kept_begin() * stride, axis.kept(), stride);
  if (mode == PadMode::constant)
    for_each_border(axis, [&](std::int64_t o) { y[o] = value; });
  else
    for_each_border(axis, [&](std::int64_t o) { y[o] = x[source(axis, mode, o) * stride]; });
}

// An array without axes is a row of one element.
PadParams with_rows(PadParams params) {
  if (params.output_shape.rank() > 0) return params;
  params.input_shape = params.output_shape = {1};
  params.before = params.after = {0};
  return params;
}

int first_padded(const PadParams& params) {
  int axis = 0;
  while (axis < params.before.rank() - 1 && params.before[axis] == 0 && params.after[axis] == 0)
    ++axis;
  return axis;
}

// Elements of axes [from, to) of a shape.
std::int64_t extent(const Dims& shape, int from, int to) {
  std::int64_t n = 1;
  for (int i = from; i < to; ++i) n *= shape[i];
  return n;
}

template <class T>
void spread_row(T* dx, const T* g, const PadAxis& axis, PadMode mode) {
  T* kept = dx + axis.kept_begin();
  const T* from = g + axis.kept_at();
  for (std::int64_t i = 0; i < axis.kept(); ++i) kept[i] += from[i];
  for_each_border(axis, [&](std::int64_t o) { dx[source(axis, mode, o)] += g[o]; });
}

// What was padded is cropped, what was cropped is zero.
PadParams opposite(const PadParams& params) {
  PadParams back{PadMode::constant,  0.0,           params.output_shape,
                 params.input_shape, params.before, params.after};
  for (int i = 0; i < back.before.rank(); ++i) {
    back.before[i] = -params.before[i];
    back.after[i] = -params.after[i];
  }
  return back;
}

}  // namespace

void pad_forward(const PadParams& given, const TensorView& input, const TensorView& output) {
  if (output.numel() == 0) return;
  visit(input.dtype, [&]<class T>() {
    const PadParams params = with_rows(given);
    const int last = params.output_shape.rank() - 1;
    const PadAxis axis = params.axis(last);
    const Dims strides = input.rank() == 0 ? Dims{1} : input.strides;
    const T value = static_cast<T>(params.value);
    parallel_for(extent(params.output_shape, 0, last), grain_for(16 + axis.out() / 2),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     T* y = output.as<T>() + row * axis.out();
                     const std::int64_t from = source_row(params, strides, 0, row);
                     if (from == kOutside)
                       std::fill(y, y + axis.out(), value);
                     else
                       pad_row(y, input.as<T>() + from, strides[last], axis, params.mode, value);
                   }
                 });
  });
}

void pad_backward(const PadParams& params, const TensorView& grad, const TensorView& grad_input) {
  if (params.mode == PadMode::constant) return pad_forward(opposite(params), grad, grad_input);
  if (grad_input.numel() == 0) return;
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    const int first = first_padded(params), last = params.output_shape.rank() - 1;
    const PadAxis axis = params.axis(last);
    const std::int64_t block = extent(params.input_shape, first, last + 1);
    const std::int64_t rows = extent(params.output_shape, first, last);
    const Dims strides = contiguous_strides(params.input_shape);
    parallel_for(extent(params.output_shape, 0, first), grain_for(block + rows * axis.out()),
                 [&](std::int64_t begin, std::int64_t end) {
                   T* dx = grad_input.as<T>();
                   std::fill(dx + begin * block, dx + end * block, T{0});
                   for (std::int64_t row = begin * rows; row < end * rows; ++row)
                     spread_row(
                         dx + row / rows * block + source_row(params, strides, first, row % rows),
                         g.data() + row * axis.out(), axis, params.mode);
                 });
  });
}

}  // namespace pyfast
