#include "cuda/core/call.h"
#include "cuda/ops/embedding/embedding.h"

namespace pyfast::cuda {

namespace {

py::object forward(py::handle framework, py::handle indices, py::handle weight) {
  Call call("embedding", framework);
  const Input index(call, indices, "input", Kind::index), w(call, weight, "weight");
  const Output y(call, w->dtype, check_embedding(index, w));
  run(call, embedding_forward, index.view(), w.view(), y.view());
  return y.object();
}

py::object backward(py::handle framework, py::handle grad, py::handle indices, py::handle rows,
                    std::int64_t padding_idx, bool scale_grad_by_freq) {
  Call call("embedding_backward", framework);
  const Input g(call, grad, "grad"), index(call, indices, "indices", Kind::index);
  const std::int64_t n = to_int(rows, {call.op(), "rows"});
  const EmbeddingParams params =
      check_embedding_backward(g, index, n, padding_idx, scale_grad_by_freq);
  const Input order(call, framework.attr("argsort")(index.object()), "order", Kind::index);
  const Output dw(call, g->dtype, {n, g->shape.back()});
  run(call, embedding_backward, params, g.view(), index.view(), order.view(), dw.view());
  return dw.object();
}

void renorm(py::handle framework, py::handle indices, py::handle weight, double max_norm,
            double norm_type) {
  Call call("embedding", framework);
  const Input index(call, indices, "input", Kind::index);
  const Input w = Input::written(call, weight, "weight");
  check_embedding(index, w);
  const Input order(call, framework.attr("argsort")(index.object()), "order", Kind::index);
  run(call, embedding_renorm, index.view(), order.view(), norm_type, max_norm, w.view());
}

py::object to_one_hot(py::handle framework, py::handle indices, std::int64_t classes) {
  Call call("one_hot", framework);
  const Input index(call, indices, "input", Kind::index);
  if (classes < 1) throw ValueError(concat("one_hot: num_classes must be positive, got ", classes));
  Dims shape = index->shape;
  if (shape.rank() == kMaxRank) throw ValueError("one_hot: input has too many dimensions");
  shape.push_back(classes);
  const Output y(call, DType::i64, shape);
  run(call, one_hot, index.view(), y.view());
  return y.object();
}

}  // namespace

void register_embedding(py::module_& m) {
  m.def("embedding", &forward);
  m.def("embedding_backward", &backward);
  m.def("embedding_renorm", &renorm);
  m.def("one_hot", &to_one_hot);
}

}  // namespace pyfast::cuda
