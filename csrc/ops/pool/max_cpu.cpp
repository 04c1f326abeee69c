#include <algorithm>
#include <cstring>

#include "ops/pool/image.h"

namespace pyfast {

namespace {

template <class T>
void max_only(const PoolParams& params, const Image<T>& x, T* y) {
  const auto max_rows = pool_row_kernels<T>().max_rows;
  const auto max_channels = pool_channel_kernels<T>().max_rows;
  using std::int64_t;
  x.for_each(
      params,
      [&](const PoolPlane<T>& plane, int64_t at, int64_t begin, int64_t end) {
        max_rows(y + at, plane, begin, end);
      },
      [&](const PoolChannels<T>& bundle, int64_t at, int64_t begin, int64_t end) {
        max_channels(y + at, bundle, begin, end);
      });
}

// Index is int64 for positions, uint8 for taps; the kernels are those of that kind.
template <class T, class Index, class OnRows, class OnChannels>
void max_with(const PoolParams& params, const Image<T>& x, T* y, Index* index, OnRows on_rows,
              OnChannels on_channels) {
  using std::int64_t;
  x.for_each(
      params,
      [&](const PoolPlane<T>& plane, int64_t at, int64_t begin, int64_t end) {
        on_rows(y + at, index + at, plane, begin, end);
      },
      [&](const PoolChannels<T>& bundle, int64_t at, int64_t begin, int64_t end) {
        on_channels(y + at, index + at, bundle, begin, end);
      });
}

template <class T>
void by_positions(const PoolParams& params, const T* g, const std::int64_t* index, T* dx) {
  const std::int64_t size = params.input_plane(), outputs = params.output_plane();
  for_planes(params, [&](std::int64_t first, std::int64_t planes) {
    for (std::int64_t plane = first; plane < first + planes; ++plane) {
      T* to = dx + plane * size;
      const T* from = g + plane * outputs;
      const std::int64_t* where = index + plane * outputs;
      check_pool_indices(params.op, where, outputs, size);
      std::fill(to, to + size, T{0});
      for (std::int64_t i = 0; i < outputs; ++i) to[where[i]] += from[i];
    }
  });
}

// dx[where the tap leads] += g, for windows that no kernel gathers.
template <class T>
void scatter_plane(const PoolParams& params, const T* g, const std::uint8_t* taps, T* dx) {
  std::fill(dx, dx + params.input_plane(), T{0});
  for (std::int64_t row = 0; row < params.rows.out; ++row)
    for (std::int64_t col = 0; col < params.cols.out; ++col)
      dx[position_of_tap(params, row, col, *taps++)] += *g++;
}

template <class T>
void by_taps(const PoolParams& params, const T* g, const std::uint8_t* taps, T* dx) {
  const auto& kernels = pool_gradient_kernels<T>();
  const PoolTapCheck check_taps(params);
  const bool gathers = kernels.gathers(params.rows, params.cols);
  const std::int64_t size = params.input_plane(), outputs = params.output_plane();
  for_planes(params, [&](std::int64_t first, std::int64_t planes) {
    const Workspace<T> scratch(gathers ? kernels.scratch(params.rows, params.cols) : 0);
    std::fill(scratch.data(), scratch.data() + scratch.size(), T{0});
    for (std::int64_t p = first; p < first + planes; ++p) {
      const T* from = g + p * outputs;
      const std::uint8_t* numbers = taps + p * outputs;
      check_taps(numbers);
      if (gathers)
        kernels.max_plane(dx + p * size, from, numbers, params.rows, params.cols, scratch.data());
      else
        scatter_plane(params, from, numbers, dx + p * size);
    }
  });
}

}  // namespace

void max_pool_forward(const PoolParams& given, const TensorView& image, const TensorView& output,
                      const TensorView& indices) {
  const bool positions = indices.defined && indices.dtype != DType::u8;
  const PoolProblem problem = positions ? PoolProblem{given, image} : stacked(given, image);
  const PoolParams& params = problem.params;
  const TensorView& input = problem.input;
  visit(input.dtype, [&]<class T>() {
    const Image<T> x(params, input, pool_channel_kernels<T>().lanes);
    const auto& rows = pool_argmax_kernels<T>();
    const auto& channels = pool_channel_kernels<T>();
    T* y = output.as<T>();
    if (!indices.defined)
      max_only(params, x, y);
    else if (indices.dtype == DType::u8)
      max_with(params, x, y, indices.as<std::uint8_t>(), rows.taps, channels.taps);
    else
      max_with(params, x, y, indices.as<std::int64_t>(), rows.positions, channels.positions);
  });
}

void max_pool_backward(const PoolParams& params, const TensorView& grad, const TensorView& indices,
                       const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    T* dx = grad_input.as<T>();
    if (indices.dtype == DType::u8)
      by_taps(params, g.data(), Contiguous<std::uint8_t>(indices).data(), dx);
    else
      by_positions(params, g.data(), Contiguous<std::int64_t>(indices).data(), dx);
  });
}

}  // namespace pyfast
