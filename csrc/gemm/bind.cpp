// The engine on its own, for tests: every epilogue, and how a shape is cut up.
#include "core/copy.h"
#include "core/python.h"
#include "gemm/amx.h"
#include "gemm/gemm.h"
#include "gemm/kernel.h"
#include "gemm/plan.h"

namespace pyfast {

namespace {

constexpr const char* kOp = "gemm";

// A vector of n, or None.
Input vector(py::handle object, const char* name, const TensorView& a, std::int64_t n) {
  Input v = Input::optional(object, {kOp, name});
  if (v->defined) {
    require_same_dtype({kOp, name}, v, "a", a);
    require_shape({kOp, name}, v, Dims{n});
  }
  return v;
}

// (activation(z), z) for z = alpha row_scale (a b) + row_bias + col_bias + residual; column_major
// has C written that way, and returned transposed.
py::object epilogue(py::handle left, py::handle right, double alpha, py::handle row_scale,
                    py::handle row_bias, py::handle col_bias, py::handle residual,
                    py::handle activation, bool column_major) {
  const Input a(left, {kOp, "a"}), b(right, {kOp, "b"});
  require_rank({kOp, "a"}, a, 2);
  require_same_dtype({kOp, "b"}, b, "a", a);
  require_rank({kOp, "b"}, b, 2);
  const std::int64_t m = a->shape[0], n = b->shape[1], k = a->shape[1];
  require_shape({kOp, "b"}, b, {k, n});
  const Input scale = vector(row_scale, "row_scale", a, m);
  const Input rows = vector(row_bias, "row_bias", a, m), cols = vector(col_bias, "col_bias", a, n);
  const Input r = Input::optional(residual, {kOp, "residual"});
  if (r->defined) {
    require_same_dtype({kOp, "residual"}, r, "a", a);
    require_shape({kOp, "residual"}, r, {m, n});
  }
  const Activation f = to_activation(activation, {kOp, "activation"});
  const Dims shape = column_major ? Dims{n, m} : Dims{m, n};
  const Output c(kOp, a->dtype, shape), linear(kOp, a->dtype, shape);
  visit(a->dtype, [&]<class T>() {
    const Contiguous<T> row_scales(scale), row_biases(rows), col_biases(cols);
    gemm::Epilogue<T> e{c.view().as<T>(),
                        column_major ? 1 : n,
                        column_major ? m : 1,
                        static_cast<T>(alpha),
                        row_scales.data(),
                        row_biases.data(),
                        col_biases.data(),
                        r->as<T>(),
                        r->defined ? r->strides[0] : 0,
                        r->defined ? r->strides[1] : 1,
                        f,
                        linear.view().as<T>()};
    const Unlocked unlocked;
    gemm::matmul<T>(m, n, k, {a->as<T>(), a->strides[0], a->strides[1]},
                    {b->as<T>(), b->strides[0], b->strides[1]}, e);
  });
  return py::make_tuple(c.object(), linear.object());
}

// a b by so many products of digits on the tiles: a (m, k), b (k, n), m and n up to 32, k up to
// 512.
py::object digits(py::handle left, py::handle right, int products) {
  constexpr const char* kName = "gemm_digits";
  const Input a(left, {kName, "a"}), b(right, {kName, "b"});
  require_rank({kName, "a"}, a, 2);
  require_rank({kName, "b"}, b, 2);
  const std::int64_t m = a->shape[0], n = b->shape[1], k = a->shape[1];
  require_shape({kName, "b"}, b, {k, n});
  if (!gemm::amx_ready()) throw ValueError("gemm_digits: AMX is required");
  if (a->dtype != DType::f32 || b->dtype != DType::f32 || m > 32 || n > 32 || k > 512)
    throw ValueError("gemm_digits: float32 of up to (32, 512) by (512, 32) is required");
  const Output c(kName, DType::f32, {32, 32});
  {
    const Contiguous<float> rows(a), cols(b);
    const auto& kernels = amx::kernels();
    const std::int64_t steps = (k + kAmxDigitDepth - 1) / kAmxDigitDepth;
    const std::int64_t items = 2 * steps * kAmxDigits * kAmxDigitTile;
    const Workspace<std::int8_t> x(items), y(items);
    alignas(64) float x_units[32] = {}, y_units[32] = {};
    DigitSpread spread;
    kernels.look_along(x_units, rows.data(), k, static_cast<int>(m), k, spread);
    kernels.look_across(y_units, cols.data(), n, static_cast<int>(n), k, spread);
    kernels.digits_along(x.data(), rows.data(), k, static_cast<int>(m), 32, k, x_units, true);
    kernels.digits_across(y.data(), cols.data(), n, static_cast<int>(n), 32, k, y_units, false);
    const gemm::AmxTiles tiles;
    kernels.multiply_digits(steps, x.data(), x_units, 2, 0, y.data(), y_units, 2, products, 1,
                            c.view().as<float>(), 0, false, nullptr, 0);
  }
  return c.object();
}

py::dict plan(std::int64_t m, std::int64_t n, std::int64_t k, bool float64) {
  const auto plan_of = [&]<class T>() { return gemm::make_plan(m, n, k, gemm::tile_of<T>()); };
  if (m < 1 || n < 1 || k < 0)
    throw ValueError(concat("gemm_plan: sizes must be positive, got ", m, ", ", n, ", ", k));
  const gemm::Plan p = visit(float64 ? DType::f64 : DType::f32, plan_of);
  py::dict d;
  d["tile"] = py::make_tuple(p.rows, p.cols);
  d["depth"] = py::make_tuple(p.kc, p.ks);
  d["shared"] = p.share_a ? "a" : "b";
  d["shared_block"] = p.shared_block;
  d["shared_slice"] = p.shared_slice;
  d["private_block"] = p.private_block;
  d["private_pass"] = p.private_pass;
  d["splits"] = p.splits;
  return d;
}

}  // namespace

void register_gemm(py::module_& m) {
  using py::arg;
  m.def("gemm", &epilogue, arg("a"), arg("b"), py::kw_only(), arg("alpha") = 1.0,
        arg("row_scale") = py::none(), arg("row_bias") = py::none(), arg("col_bias") = py::none(),
        arg("residual") = py::none(), arg("activation") = py::none(), arg("column_major") = false);
  m.def("gemm_digits", &digits, arg("a"), arg("b"), arg("products"));
  m.def("gemm_plan", &plan, arg("m"), arg("n"), arg("k"), arg("float64"));
}

}  // namespace pyfast
