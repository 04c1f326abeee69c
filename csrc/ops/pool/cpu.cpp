#include <cstring>
#include <optional>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/pool/kernel.h"
#include "ops/pool/pool.h"

namespace pyfast {

namespace {

// Largest offset inside a window that a float lane carries exactly (kernel.cpp's argmax).
constexpr std::int64_t kExactOffset = 1 << 24;

// The input as kernels read it: along its rows, across its channels (channels-last strides), or
// packed where its strides suit neither.
template <class T>
class Image {
 public:
  Image(const PoolParams& params, const TensorView& input, int lanes)
      : data_(input.as<T>()), strides_(image_strides(params, input)) {
    if (strides_.col == 1 || params.cols.in == 1) return;
    // Half-empty registers cost more than packing; so do positions that a lane cannot hold.
    across_channels_ = strides_.channel == 1 && 2 * params.channels >= lanes &&
                       params.rows.kernel * params.rows.dilation <= kExactOffset / params.cols.in;
    if (across_channels_) return;
    packed_.emplace(input);
    data_ = packed_->data();
    strides_ = {params.channels * params.input_plane(), params.input_plane(), params.cols.in, 1};
  }
  bool across_channels() const { return across_channels_; }

  // The rows under row `o` of outputs.
  PoolRow<T> row(const PoolParams& params, std::int64_t image, std::int64_t channel,
                 PoolWindow window) const {
    return {
        data_ + image * strides_.image + channel * strides_.channel + window.first * strides_.row,
        window.count, params.rows.dilation * strides_.row, &params.cols};
  }
  std::int64_t pixel_step() const { return strides_.col; }

 private:
  const T* data_;
  ImageStrides strides_;
  bool across_channels_ = false;
  std::optional<Contiguous<T>> packed_;
};

template <class T>
PoolDivisor<T> divisor_at(const PoolParams& params, std::int64_t o) {
  return {static_cast<T>(params.divisor_override),
          static_cast<T>(extent_at(params.rows, o, params.count_include_pad)),
          params.count_include_pad};
}

PoolIndexing indexing(const PoolParams& params, PoolWindow window) {
  return {window.first * params.cols.in, params.rows.dilation * params.cols.in};
}

std::int64_t row_cost(const PoolParams& params) {
  return 16 + params.cols.out * (params.rows.kernel + params.cols.kernel) / 4;
}

// on_row(row, row o, output offset), or on_channels(bundle, row o, output offset), for every row
// of outputs.
template <class T, class OnRow, class OnChannels>
void for_each_row(const PoolParams& params, const Image<T>& x, int lanes, OnRow on_row,
                  OnChannels on_channels) {
  const std::int64_t rows = params.rows.out, width = x.across_channels() ? lanes : 1;
  const std::int64_t bundles = (params.channels + width - 1) / width;
  if (params.output_shape.numel() == 0) return;
  parallel_for(params.images * bundles * rows, grain_for(row_cost(params) * width),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t o = i % rows, image = i / rows / bundles;
                   const std::int64_t channel = i / rows % bundles * width;
                   const std::int64_t rest = params.channels - channel;
                   const std::int64_t at =
                       ((image * params.channels + channel) * rows + o) * params.cols.out;
                   const auto row = x.row(params, image, channel, window_at(params.rows, o));
                   if (!x.across_channels())
                     on_row(row, o, at);
                   else
                     on_channels(PoolChannels<T>{row, x.pixel_step(), params.output_plane(),
                                                 static_cast<int>(rest < width ? rest : width)},
                                 o, at);
                 }
               });
}

template <class T>
void max_only(const PoolParams& params, const Image<T>& x, T* y, const PoolKernels<T>& kernels) {
  for_each_row(
      params, x, kernels.lanes,
      [&](const PoolRow<T>& row, std::int64_t, std::int64_t at) { kernels.max_row(y + at, row); },
      [&](const PoolChannels<T>& bundle, std::int64_t, std::int64_t at) {
        kernels.max_channels(y + at, bundle);
      });
}

template <class T>
void max_with_indices(const PoolParams& params, const Image<T>& x, T* y, std::int64_t* index,
                      const PoolKernels<T>& kernels) {
  for_each_row(
      params, x, kernels.lanes,
      [&](const PoolRow<T>& row, std::int64_t o, std::int64_t at) {
        kernels.argmax_row(y + at, index + at, row, indexing(params, window_at(params.rows, o)));
      },
      [&](const PoolChannels<T>& bundle, std::int64_t o, std::int64_t at) {
        kernels.argmax_channels(y + at, index + at, bundle,
                                indexing(params, window_at(params.rows, o)));
      });
}

// body(plane) for every plane, each handled by one thread from first to last output.
template <class Body>
void for_each_plane(const PoolParams& params, Body body) {
  parallel_for(params.planes(), grain_for(params.input_plane() + params.output_plane()),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t plane = begin; plane < end; ++plane) body(plane);
               });
}

template <class T>
void clear(T* x, std::int64_t n) {
  std::memset(x, 0, static_cast<std::size_t>(n) * sizeof(T));
}

}  // namespace

void max_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      const TensorView& indices) {
  visit(input.dtype, [&]<class T>() {
    const auto& kernels = pool_kernels<T>();
    const Image<T> x(params, input, kernels.lanes);
    if (indices.defined)
      max_with_indices(params, x, output.as<T>(), indices.as<std::int64_t>(), kernels);
    else
      max_only(params, x, output.as<T>(), kernels);
  });
}

void max_pool_backward(const PoolParams& params, const TensorView& grad, const TensorView& indices,
                       const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    const Contiguous<std::int64_t> index(indices);
    const std::int64_t size = params.input_plane(), outputs = params.output_plane();
    for_each_plane(params, [&](std::int64_t plane) {
      T* dx = grad_input.as<T>() + plane * size;
      const T* from = g.data() + plane * outputs;
      const std::int64_t* where = index.data() + plane * outputs;
      check_pool_indices(params.op, where, outputs, size);
      clear(dx, size);
      for (std::int64_t i = 0; i < outputs; ++i) dx[where[i]] += from[i];
    });
  });
}

void avg_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const auto& kernels = pool_kernels<T>();
    const Image<T> x(params, input, kernels.lanes);
    T* y = output.as<T>();
    for_each_row(
        params, x, kernels.lanes,
        [&](const PoolRow<T>& row, std::int64_t o, std::int64_t at) {
          kernels.avg_row(y + at, row, divisor_at<T>(params, o));
        },
        [&](const PoolChannels<T>& bundle, std::int64_t o, std::int64_t at) {
          kernels.avg_channels(y + at, bundle, divisor_at<T>(params, o));
        });
  });
}

void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    const auto& kernels = pool_kernels<T>();
    const std::int64_t width = params.cols.in;
    for_each_plane(params, [&](std::int64_t plane) {
      const Workspace<T> spread(width), scaled(params.cols.out);
      T* dx = grad_input.as<T>() + plane * params.input_plane();
      clear(dx, params.input_plane());
      for (std::int64_t o = 0; o < params.rows.out; ++o) {
        const PoolWindow window = window_at(params.rows, o);
        kernels.spread_row(spread.data(), scaled.data(),
                           g.data() + (plane * params.rows.out + o) * params.cols.out, params.cols,
                           divisor_at<T>(params, o));
        for (std::int64_t r = 0; r < window.count; ++r)
          kernels.add_row(dx + (window.first + r) * width, spread.data(), width);
      }
    });
  });
}

}  // namespace pyfast
