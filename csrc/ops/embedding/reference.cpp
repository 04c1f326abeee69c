#include <vector>

#include "core/copy.h"
#include "ops/embedding/embedding.h"

namespace pyfast::reference {

void embedding_forward(const TensorView& indices, const TensorView& weight,
                       const TensorView& output) {
  visit(weight.dtype, [&]<class T>() {
    const Contiguous<std::int64_t> index(indices);
    const Contiguous<T> w(weight);
    const std::int64_t width = weight.shape[1];
    for (std::int64_t i = 0; i < indices.numel(); ++i)
      for (std::int64_t j = 0; j < width; ++j)
        output.as<T>()[i * width + j] = w.data()[index.data()[i] * width + j];
  });
}

void embedding_backward(const EmbeddingParams& params, const TensorView& grad,
                        const TensorView& indices, const TensorView& grad_weight) {
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<std::int64_t> index(indices);
    const Contiguous<T> g(grad);
    const std::int64_t rows = grad_weight.shape[0], width = grad_weight.shape[1];
    for (std::int64_t r = 0; r < rows; ++r) {
      std::vector<double> sum(static_cast<std::size_t>(width));
      double count = 0;
      for (std::int64_t i = 0; i < indices.numel(); ++i) {
        if (index.data()[i] != r || r == params.padding_idx) continue;
        ++count;
        for (std::int64_t j = 0; j < width; ++j)
          sum[static_cast<std::size_t>(j)] += g.data()[i * width + j];
      }
      const double scale = params.scale_grad_by_freq && count > 0 ? 1 / count : 1;
      for (std::int64_t j = 0; j < width; ++j)
        grad_weight.as<T>()[r * width + j] =
            static_cast<T>(sum[static_cast<std::size_t>(j)] * scale);
    }
  });
}

}  // namespace pyfast::reference
