// The host's copies of what kernels compute, for tests/test_cuda_host.py: `_cuda.host`.
#include <pybind11/stl.h>

#include <algorithm>
#include <vector>

#include "cuda/core/call.h"
#include "cuda/core/device.h"
#include "cuda/ops/activation/functions.h"
#include "cuda/ops/dropout/draw.h"
#include "cuda/ops/norm/moments.h"
#include "cuda/ops/pool/windows.h"
#include "cuda/ops/softmax/online.h"
#include "ops/pool/arguments.h"

namespace pyfast::cuda {

void register_attention_host(py::module_& host);
void register_conv_host(py::module_& host);
void register_embedding_host(py::module_& host);
void register_hopper_host(py::module_& host);
void register_loss_host(py::module_& host);
void register_matmul_host(py::module_& host);
void register_pad_host(py::module_& host);
void register_pool_host(py::module_& host);
void register_unfold_host(py::module_& host);

namespace {

using Values = std::vector<float>;

// (maximum, sum) of values taken in pieces and merged.
py::tuple online_softmax(const Values& values, std::size_t piece) {
  OnlineSoftmax total;
  for (std::size_t begin = 0; begin < values.size(); begin += piece) {
    OnlineSoftmax part;
    for (std::size_t i = begin; i < values.size() && i < begin + piece; ++i) part.push(values[i]);
    total.merge(part);
  }
  return py::make_tuple(total.max, total.sum);
}

// (n, mean, m2) of values taken in pieces and merged; `packs` takes eight at once where they are.
py::tuple moments(const Values& values, std::size_t piece, bool packs) {
  Moments total;
  for (std::size_t begin = 0; begin < values.size(); begin += piece) {
    const std::size_t end = std::min(values.size(), begin + piece);
    Moments part;
    std::size_t i = begin;
    for (; packs && i + 8 <= end; i += 8) {
      float pack[8];
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(i), 8, pack);
      part.merge(Moments::of(pack));
    }
    for (; i < end; ++i) part.push(values[i], 1 / (part.n + 1));
    total.merge(part);
  }
  return py::make_tuple(total.n, total.mean, total.m2);
}

std::vector<bool> dropout_mask(double p, std::uint64_t seed, std::uint64_t offset,
                               std::int64_t span, std::int64_t n, bool by_fours) {
  const DropoutDraw draw{seed, offset, drop_threshold(p), span};
  std::vector<bool> mask;
  for (std::int64_t i = 0; i < n; ++i) {
    bool four[4];
    if (by_fours) draw.keeps4(i / 4 * 4, four);
    mask.push_back(by_fours ? four[i % 4] : draw.keeps(i));
  }
  return mask;
}

WindowAxis axis_of(std::int64_t in, std::int64_t out, py::handle window) {
  const Dims sizes{1, 1, in};
  if (window.is_none()) return window_axis(check_adaptive_pool("pool", 1, sizes, {out}).cols);
  const Dims w = to_shape(window, {"pool", "window"});  // kernel, stride, padding, dilation
  const PoolWindowSizes windows{{w[0]}, {w[1]}, {w[2]}, {w[3]}, w[4] != 0};
  return window_axis(check_max_pool("pool", 1, sizes, windows).cols);
}

// For each window its taps inside the input; for each input the windows that hold it.
py::tuple pool_windows(std::int64_t in, std::int64_t out, py::handle window) {
  const WindowAxis axis = axis_of(in, out, window);
  std::vector<std::vector<int>> taps, windows;
  for (int o = 0; o < axis.out; ++o) {
    taps.emplace_back();
    for (int i = axis.begin(o); i < axis.last_in(o); i += axis.step()) taps.back().push_back(i);
  }
  for (int i = 0; i < axis.in; ++i) {
    windows.emplace_back();
    for (int o = axis.first_window(i); o < axis.end_window(i); ++o)
      if (axis.holds(o, i)) windows.back().push_back(o);
  }
  return py::make_tuple(taps, windows);
}

const UnaryOp& find_op(const std::string& name) {
  for (const UnaryOp& op : unary_ops())
    if (name == op.name) return op;
  throw ValueError(concat("host: no function ", name));
}

Values unary(const std::string& name, double a, double b, const Values& x) {
  const UnaryFunction f = device_function(find_op(name).params(a, b));
  Values y;
  for (const float v : x) y.push_back(unary_value(f, v));
  return y;
}

Values unary_backward(const std::string& name, double a, double b, const Values& grad,
                      const Values& saved) {
  const UnaryFunction f = device_function(find_op(name).params(a, b));
  Values y;
  for (std::size_t i = 0; i < saved.size(); ++i)
    y.push_back(unary_gradient(f, grad.at(i), saved[i]));
  return y;
}

}  // namespace

void register_host(py::module_& m) {
  py::module_ host = m.def_submodule("host", "What kernels compute, run on the CPU, for tests.");
  host.def("online_softmax", &online_softmax);
  host.def("moments", &moments);
  host.def("dropout_mask", &dropout_mask);
  host.def("pool_windows", &pool_windows);
  host.def("describe", [](int status) { return describe(static_cast<cudaError_t>(status)); });
  host.def("unary", &unary);
  host.def("unary_backward", &unary_backward);
  register_attention_host(host);
  register_conv_host(host);
  register_embedding_host(host);
  register_hopper_host(host);
  register_loss_host(host);
  register_matmul_host(host);
  register_pad_host(host);
  register_pool_host(host);
  register_unfold_host(host);
}

}  // namespace pyfast::cuda
