#include <algorithm>

#include "core/parallel.h"
#include "gemm/rows.h"
#include "ops/linear/kernel.h"
#include "ops/linear/linear.h"

namespace pyfast {

namespace {

using gemm::Epilogue;
using gemm::Matrix;
using gemm::Rows;

// A weight that is a vector is a matrix of one row; a gradient without the output axis has one
// column.
TensorView with_axis(const TensorView& x, int axis, int rank) {
  if (!x.defined || x.rank() == rank) return x;
  Dims shape, strides;
  for (int i = 0; i < rank; ++i) {
    shape.push_back(i == axis ? 1 : x.shape[i - (i > axis)]);
    strides.push_back(i == axis ? 0 : x.strides[i - (i > axis)]);
  }
  return {x.data, x.dtype, shape, strides};
}
TensorView as_matrix(const TensorView& weight) { return with_axis(weight, 0, 2); }

template <class T>
Epilogue<T> into(const TensorView& c, std::int64_t cols) {
  Epilogue<T> epilogue;
  epilogue.c = c.as<T>();
  epilogue.row_stride = cols;
  return epilogue;
}

template <class T>
void sum_rows(const Rows<T>& x, T* sums) {
  constexpr std::int64_t kRows = 1024;  // a partial sum's
  const std::int64_t cols = x.cols(), parts = (x.rows() + kRows - 1) / kRows;
  const auto& m = x.matrix();
  const auto add_up = linear_kernels<T>().sum_rows;
  Workspace<double> partial(parts * cols);
  parallel_for(parts, 1, [&](std::int64_t part, std::int64_t) {
    const std::int64_t begin = part * kRows, rows = std::min(kRows, x.rows() - begin);
    const T* from = m.data + begin * m.row_stride;
    double* to = partial.data() + part * cols;
    if (m.col_stride == 1) return add_up(to, from, m.row_stride, rows, cols);
    for (std::int64_t c = 0; c < cols; ++c) {
      to[c] = 0;
      for (std::int64_t r = 0; r < rows; ++r)
        to[c] += double{from[r * m.row_stride + c * m.col_stride]};
    }
  });
  for (std::int64_t c = 0; c < cols; ++c) {
    double sum = 0;
    for (std::int64_t part = 0; part < parts; ++part) sum += partial[part * cols + c];
    sums[c] = static_cast<T>(sum);
  }
}

}  // namespace

void linear_forward(Activation activation, const TensorView& input, const TensorView& weight,
                    const TensorView& bias, const TensorView& output, const TensorView& saved) {
  visit(input.dtype, [&]<class T>() {
    const Rows<T> x(input), w(as_matrix(weight));
    const Contiguous<T> b(bias);
    Epilogue<T> y = into<T>(output, w.rows());
    y.col_bias = b.data();
    y.activation = activation;
    y.linear = saved.as<T>();
    gemm::matmul(x.rows(), w.rows(), x.cols(), x.matrix(), w.transposed(), y);
  });
}

PackedWeight::PackedWeight(const TensorView& weight)
    : dtype(weight.dtype), out(weight.shape[0]), in(weight.shape[1]) {
  visit(dtype, [&]<class T>() {
    panels_ = std::make_unique<gemm::PackedMatrix<T>>(weight.as<T>(), weight.strides[0],
                                                      weight.strides[1], out, in);
  });
}

void linear_packed_forward(Activation activation, const TensorView& input,
                           const PackedWeight& weight, const TensorView& bias,
                           const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Rows<T> x(input);
    const Contiguous<T> b(bias);
    Epilogue<T> y = into<T>(output, weight.out);
    y.col_bias = b.data();
    y.activation = activation;
    const Matrix<T>& a = x.matrix();
    const gemm::MatrixSource<T> left(a.data, a.row_stride, a.col_stride);
    const gemm::MatrixSink<T> sink(y);
    gemm::gemm<T>({x.rows(), weight.out, weight.in, gemm::source<T>(left),
                   gemm::source<T>(weight.panels<T>()), gemm::sink<T>(sink)});
  });
}

void linear_backward(Activation activation, const TensorView& grad, const TensorView& input,
                     const TensorView& weight, const TensorView& saved,
                     const TensorView& grad_input, const TensorView& grad_weight,
                     const TensorView& grad_bias) {
  visit(input.dtype, [&]<class T>() {
    TensorView incoming = grad;
    Workspace<T> through(activation == Activation::none ? 0 : grad.numel());
    if (activation != Activation::none) {
      incoming = TensorView(through.data(), grad.dtype, grad.shape);
      activation_backward(activation, grad, saved, incoming);
    }
    const Rows<T> x(input), w(as_matrix(weight));
    const Rows<T> dz(with_axis(incoming, input.rank() - 1, input.rank()));
    if (grad_input.defined)
      gemm::matmul(x.rows(), x.cols(), w.rows(), dz.matrix(), w.matrix(),
                   into<T>(grad_input, x.cols()));
    if (grad_weight.defined)
      gemm::matmul(w.rows(), x.cols(), x.rows(), dz.transposed(), x.matrix(),
                   into<T>(grad_weight, x.cols()));
    if (grad_bias.defined) sum_rows(dz, grad_bias.as<T>());
  });
}

}  // namespace pyfast
