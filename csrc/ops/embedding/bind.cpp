#include "core/python.h"
#include "ops/embedding/embedding.h"

namespace pyfast {

namespace {

py::object forward(py::handle indices, py::handle weight) {
  const char* op = "embedding";
  const Input index(indices, {op, "input"}, Kind::index), w(weight, {op, "weight"});
  const Dims shape = check_embedding(index, w);
  check_indices(op, index, w->shape[0]);
  const Output y(op, w->dtype, shape);
  run(embedding_forward, reference::embedding_forward, index.view(), w.view(), y.view());
  return y.object();
}

py::object backward(py::handle grad, py::handle indices, py::handle rows, std::int64_t padding_idx,
                    bool scale_grad_by_freq) {
  const char* op = "embedding_backward";
  const Input g(grad, {op, "grad"}), index(indices, {op, "indices"}, Kind::index);
  const std::int64_t n = to_int(rows, {op, "rows"});
  const EmbeddingParams params =
      check_embedding_backward(g, index, n, padding_idx, scale_grad_by_freq);
  check_indices(op, index, n);
  const Output dw(op, g->dtype, {n, g->shape.back()});
  run(embedding_backward, reference::embedding_backward, params, g.view(), index.view(), dw.view());
  return dw.object();
}

}  // namespace

void register_embedding(py::module_& m) {
  using py::arg;
  m.def("embedding", &forward, arg("input"), arg("weight"));
  m.def("embedding_backward", &backward, arg("grad"), arg("input"), arg("rows"), arg("padding_idx"),
        arg("scale_grad_by_freq"));
}

}  // namespace pyfast
