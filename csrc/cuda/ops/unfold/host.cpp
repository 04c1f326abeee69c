// im2col and col2im entry by entry as the kernels do it, on the CPU, for tests/test_cuda_host.py.
#include "core/arguments.h"
#include "cuda/core/host_array.h"
#include "cuda/ops/unfold/places.h"

namespace pyfast::cuda {

namespace {

UnfoldOptions options(const char* op, py::handle settings) {
  const py::tuple s = py::reinterpret_borrow<py::tuple>(settings);
  return {op, to_dims(s[0], {op, "kernel_size"}, 2), to_dims(s[1], {op, "dilation"}, 2),
          to_dims(s[2], {op, "padding"}, 2), to_dims(s[3], {op, "stride"}, 2)};
}

HostArray unfold(const HostArray& image, const py::tuple& settings) {
  const UnfoldParams p = check_unfold(options("unfold", settings), view_of(image));
  const UnfoldPlaces places(p);
  HostArray columns = new_array(p.output_shape);
  for (std::int64_t i = 0; i < p.output_shape.numel(); ++i) {
    const std::int64_t at = places.source(i);
    columns.mutable_data()[i] = at == kZero ? 0.0f : image.data()[at];
  }
  return columns;
}

HostArray fold(const HostArray& columns, py::handle output_size, const py::tuple& settings) {
  const UnfoldParams p = check_fold(options("fold", settings), view_of(columns),
                                    to_dims(output_size, {"fold", "output_size"}, 2));
  const UnfoldPlaces places(p);
  HostArray image = new_array(p.output_shape);
  for (std::int64_t i = 0; i < p.output_shape.numel(); ++i) {
    float sum = 0;
    places.each_place(i, [&](std::int64_t entry) { sum += columns.data()[entry]; });
    image.mutable_data()[i] = sum;
  }
  return image;
}

}  // namespace

void register_unfold_host(py::module_& host) {
  host.def("unfold", &unfold);
  host.def("fold", &fold);
}

}  // namespace pyfast::cuda
