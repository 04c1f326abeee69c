// How the inputs of pooling are read, and how the work is cut: by output rows of planes, or of
// bundles of neighbouring channels.
#pragma once

#include <optional>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/pool/kernel.h"
#include "ops/pool/pool.h"

namespace pyfast {

// The input as kernels read it: along its rows, across its channels (channels-last strides), or
// packed where its strides suit neither.
template <class T>
class Image {
 public:
  Image(const PoolParams& params, const TensorView& input, int lanes)
      : data_(input.as<T>()), strides_(image_strides(params, input)), lanes_(lanes) {
    if (strides_.col == 1 || params.cols.in == 1) return;
    // Half-empty registers cost more than packing; so do positions that a lane cannot hold.
    across_channels_ = strides_.channel == 1 && 2 * params.channels >= lanes &&
                       params.rows.kernel * params.rows.dilation <= kExactOffset / params.cols.in;
    if (across_channels_) return;
    packed_.emplace(input);
    data_ = packed_->data();
    strides_ = {params.channels * params.input_plane(), params.input_plane(), params.cols.in, 1};
  }

  // on_rows(plane, output offset, begin, end), or on_channels(bundle, output offset, begin, end),
  // for output rows [begin, end) of every plane, or of every bundle of channels, in parallel.
  template <class OnRows, class OnChannels>
  void for_each(const PoolParams& params, OnRows on_rows, OnChannels on_channels) const {
    const std::int64_t rows = params.rows.out, width = across_channels_ ? lanes_ : 1;
    const std::int64_t bundles = (params.channels + width - 1) / width;
    if (params.output_shape.numel() == 0) return;
    parallel_for(
        params.images * bundles * rows, grain_for(row_cost(params) * width),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end;) {
            const std::int64_t bundle = i / rows, first = i % rows;
            const std::int64_t left = rows - first, n = end - i < left ? end - i : left;
            const std::int64_t channel = bundle % bundles * width;
            const std::int64_t image = bundle / bundles;
            const std::int64_t at = (image * params.channels + channel) * params.output_plane();
            const PoolPlane<T> plane{data_ + image * strides_.image + channel * strides_.channel,
                                     strides_.row, &params.rows, &params.cols};
            const std::int64_t rest = params.channels - channel;
            if (across_channels_)
              on_channels(PoolChannels<T>{plane, strides_.col, params.output_plane(),
                                          static_cast<int>(rest < width ? rest : width)},
                          at, first, first + n);
            else
              on_rows(plane, at, first, first + n);
            i += n;
          }
        });
  }

 private:
  // Largest offset inside a window that a float lane carries exactly (kernel_best.h).
  static constexpr std::int64_t kExactOffset = 1 << 24;

  static std::int64_t row_cost(const PoolParams& params) {
    const std::int64_t most = 1 << 20;
    const std::int64_t rows = params.rows.kernel < most ? params.rows.kernel : most;
    const std::int64_t cols = params.cols.kernel < most ? params.cols.kernel : most;
    return 16 + params.cols.out * (rows + cols) / 4;
  }

  const T* data_;
  ImageStrides strides_;
  int lanes_;
  bool across_channels_ = false;
  std::optional<Contiguous<T>> packed_;
};

// What is pooled and how, as the kernels see it.
struct PoolProblem {
  PoolParams params;
  TensorView input;
};

// Windows that tile their planes meet no border: the planes of an input in C order are then one
// tall plane, which spares small ones the cost of a call each. Not for positions within a plane.
inline PoolProblem stacked(const PoolParams& params, const TensorView& input) {
  PoolProblem tall{params, input};
  PoolAxis &rows = tall.params.rows, &cols = tall.params.cols;
  for (PoolAxis* axis : {&rows, &cols})
    if (axis->adaptive && axis->out > 0 && axis->in % axis->out == 0) {
      const std::int64_t size = axis->in / axis->out;
      *axis = {axis->in, axis->out, size, size, 0, 1, false, 0, axis->out};
    }
  if (rows.out == 1 && rows.kernel == rows.in) rows.stride = rows.kernel;  // it has no next window
  const bool tiles = !rows.adaptive && rows.padding == 0 && rows.dilation == 1 &&
                     rows.stride == rows.kernel && rows.in == rows.out * rows.kernel;
  if (!tiles || !input.contiguous()) return tall;
  rows.in *= params.planes();
  rows.out *= params.planes();
  rows.inner_begin = 0;
  rows.inner_end = rows.out;
  tall.params.spatial = 2;
  tall.params.images = tall.params.channels = 1;
  tall.input = TensorView(input.data, input.dtype, Dims{1, rows.in, cols.in});
  return tall;
}

// body(first plane, planes) for consecutive planes, each handled by one thread from first to last
// output.
template <class Body>
void for_planes(const PoolParams& params, Body body) {
  parallel_for(params.planes(), grain_for(params.input_plane() + params.output_plane()),
               [&](std::int64_t begin, std::int64_t end) { body(begin, end - begin); });
}

}  // namespace pyfast
