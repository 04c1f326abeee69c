// The kernels of attention run on the CPU, thread by thread (core/emulator.h), for
// tests/test_cuda_attention.py.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <vector>

#include "cuda/core/host_array.h"
#include "cuda/ops/attention/backward.cuh"
#include "cuda/ops/attention/classify.cuh"
#include "cuda/ops/attention/emulated_sm90a.h"
#include "cuda/ops/attention/forward.cuh"
#include "cuda/ops/attention/ranges.cuh"
#include "ops/attention/arguments.h"

namespace pyfast::cuda {

namespace {

py::array fresh(DType dtype, const Dims& shape) {
  const char* format = dtype == DType::f32 ? "f4" : dtype == DType::b8 ? "?" : "u2";
  py::array x(py::dtype(format),
              std::vector<py::ssize_t>(shape.span().begin(), shape.span().end()));
  std::memset(x.mutable_data(), 0xFF, static_cast<std::size_t>(x.nbytes()));
  return x;
}

struct Operands {
  py::array query, key, value;
  std::optional<py::array> mask;
  DType dtype;

  AttentionInputs inputs() const {
    AttentionInputs in{view_of(query, dtype), view_of(key, dtype), view_of(value, dtype), {}};
    if (mask) in.mask = view_of(*mask, mask->itemsize() == 1 ? DType::b8 : dtype);
    return in;
  }
};

std::vector<std::uint8_t> classified(AttentionPlan& plan) {
  std::vector<std::uint8_t> covers(static_cast<std::size_t>(plan.squares.size()), 0xFF);
  if (!covers.empty()) classify_on(plan, covers.data(), EmulatedLaunch{});
  plan.problem.squares = covers.data();
  return covers;
}

// Where packed sequences begin among queries and keys.
using Starts = std::optional<
    std::array<py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>, 2>>;

// Ranges of rows that must live as long as the call.
struct Packed {
  std::vector<RowRange> of_queries, of_keys;

  Packed(const char* op, const Starts& starts, AttentionPlan& plan) {
    if (!starts) return;
    const TensorView q = view_of((*starts)[0], DType::i64), k = view_of((*starts)[1], DType::i64);
    check_starts(op, q, k);
    of_queries.resize(static_cast<std::size_t>(plan.problem.queries));
    of_keys.resize(static_cast<std::size_t>(plan.problem.keys));
    ranges_on(plan.problem, q, k, {of_queries.data(), of_keys.data()}, EmulatedLaunch{});
    plan.problem.key_ranges = of_queries.data();
    plan.problem.query_ranges = of_keys.data();
  }
};

void set_copies(bool late) { Emulator::self().late_copies = late; }
void set_order(bool last_first) { Emulator::self().last_first = last_first; }

int hopper_blocks = 0;
// By the kernels of sm_90a on so many blocks of threads; 0: by the portable ones.
void set_hopper(int blocks) { hopper_blocks = blocks; }

void run_forward(const AttentionPlan& plan, const TensorView& output, const AttentionRows& rows) {
  if (hopper_blocks > 0) return emulate_forward_sm90a(plan, hopper_blocks, output, rows);
  const py::array parts = fresh(
      DType::f32, {plan.cut.splits, rows.max.numel(), std::int64_t{plan.problem.value_width} + 2});
  forward_into(plan, output, rows, view_of(parts, DType::f32), EmulatedLaunch{});
}

py::tuple forward(const std::string& dtype, const py::array& query, const py::array& key,
                  const py::array& value, std::optional<py::array> mask, py::handle dropout_p,
                  bool is_causal, py::handle scale, bool enable_gqa, std::uint64_t seed,
                  std::uint64_t offset, py::handle window_size, const Starts& starts) {
  const char* op = "scaled_dot_product_attention";
  AttentionSettings settings(op, dropout_p, is_causal, scale, enable_gqa, seed, offset,
                             window_size);
  const Operands operands{query, key, value, std::move(mask), dtype_of(dtype)};
  const AttentionInputs inputs = operands.inputs();
  const AttentionLayout layout = check_attention(inputs, settings.params, settings.scale_given);
  AttentionPlan plan = attention_plan(op, settings.params, layout, inputs);
  py::array output = fresh(plan.dtype, layout.output_shape());
  py::array max = fresh(DType::f32, layout.row_shape());
  py::array sum = fresh(DType::f32, layout.row_shape());
  if (max.size() > 0) {
    const std::vector<std::uint8_t> covers = classified(plan);
    const Packed packed(op, starts, plan);
    run_forward(plan, view_of(output, plan.dtype),
                {view_of(max, DType::f32), view_of(sum, DType::f32)});
  }
  return py::make_tuple(output, max, sum);
}

py::tuple backward(const std::string& dtype, const py::array& grad, const py::array& query,
                   const py::array& key, const py::array& value, std::optional<py::array> mask,
                   const py::array& output, const py::array& row_max, const py::array& row_sum,
                   py::handle dropout_p, bool is_causal, py::handle scale, bool enable_gqa,
                   std::uint64_t seed, std::uint64_t offset, const std::array<bool, 4>& needs,
                   py::handle window_size, const Starts& starts) {
  const char* op = "scaled_dot_product_attention_backward";
  AttentionSettings settings(op, dropout_p, is_causal, scale, enable_gqa, seed, offset,
                             window_size);
  const Operands operands{query, key, value, std::move(mask), dtype_of(dtype)};
  const AttentionInputs inputs = operands.inputs();
  const TensorView g = view_of(grad, operands.dtype), y = view_of(output, operands.dtype);
  const AttentionRows rows{view_of(row_max, DType::f32), view_of(row_sum, DType::f32)};
  const AttentionLayout layout =
      check_backward(op, inputs, g, y, rows, settings.params, settings.scale_given, needs[3]);
  AttentionPlan plan = attention_plan(op, settings.params, layout, inputs);
  py::object arrays[4] = {py::none(), py::none(), py::none(), py::none()};
  TensorView views[4];
  const TensorView* like[4] = {&inputs.query, &inputs.key, &inputs.value, &inputs.mask};
  for (std::size_t i = 0; i < 4; ++i) {
    if (!needs[i]) continue;
    const py::array made = fresh(like[i]->dtype, like[i]->shape);
    views[i] = view_of(made, like[i]->dtype);
    arrays[i] = made;
  }
  const BackwardTargets to =
      backward_targets(op, settings.params, layout, {views[0], views[1], views[2], views[3]});
  const std::vector<std::uint8_t> covers = classified(plan);
  const Packed packed(op, starts, plan);
  if (hopper_blocks > 0) {
    emulate_backward_sm90a(plan, hopper_blocks, g, y, rows, to);
  } else {
    const py::array dots = fresh(DType::f32, layout.row_shape());
    backward_into(plan, g, y, rows, view_of(dots, DType::f32), to, EmulatedLaunch{});
  }
  return py::make_tuple(arrays[0], arrays[1], arrays[2], arrays[3]);
}

}  // namespace

void register_attention_host(py::module_& host) {
  host.def("late_copies", &set_copies);
  host.def("last_first", &set_order);
  host.def("whole_warps", [](bool whole) { Emulator::self().whole_warps = whole; });
  host.def("use_hopper", &set_hopper);
  host.def("scaled_dot_product_attention", &forward);
  host.def("scaled_dot_product_attention_backward", &backward);
}

}  // namespace pyfast::cuda
