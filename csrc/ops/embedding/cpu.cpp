// Memory-bound: rows are copied, or added up, whole. No per-ISA kernel would be faster.
#include <algorithm>
#include <cstring>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/embedding/embedding.h"

namespace pyfast {

namespace {

// The places that picked each row, in order: those of row r are order[first[r] ... first[r + 1]).
struct Places {
  Workspace<std::int64_t> first, order;

  Places(const std::int64_t* index, std::int64_t n, std::int64_t rows) : first(rows + 2), order(n) {
    std::fill_n(first.data(), rows + 2, 0);
    for (std::int64_t i = 0; i < n; ++i) ++first[index[i] + 2];
    for (std::int64_t r = 2; r < rows + 2; ++r) first[r] += first[r - 1];
    for (std::int64_t i = 0; i < n; ++i) order[first[index[i] + 1]++] = i;
  }
};

template <class T>
void add_rows(T* to, const T* grad, const Places& places, std::int64_t row, std::int64_t width,
              T scale) {
  for (std::int64_t p = places.first[row]; p < places.first[row + 1]; ++p) {
    const T* from = grad + places.order[p] * width;
    for (std::int64_t j = 0; j < width; ++j) to[j] += scale * from[j];
  }
}

}  // namespace

void embedding_forward(const TensorView& indices, const TensorView& weight,
                       const TensorView& output) {
  const Contiguous<std::int64_t> index(indices);
  visit(weight.dtype, [&]<class T>() {
    const std::int64_t width = weight.shape[1], stride = weight.strides[0];
    const bool rows_contiguous = width <= 1 || weight.strides[1] == 1;
    const T* w = weight.as<T>();
    T* y = output.as<T>();
    parallel_for(indices.numel(), grain_for(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T* from = w + index.data()[i] * stride;
        if (rows_contiguous)
          std::memcpy(y + i * width, from, static_cast<std::size_t>(width) * sizeof(T));
        else
          for (std::int64_t j = 0; j < width; ++j) y[i * width + j] = from[j * weight.strides[1]];
      }
    });
  });
}

void embedding_backward(const EmbeddingParams& params, const TensorView& grad,
                        const TensorView& indices, const TensorView& grad_weight) {
  const Contiguous<std::int64_t> index(indices);
  const std::int64_t rows = grad_weight.shape[0], width = grad_weight.shape[1];
  const Places places(index.data(), indices.numel(), rows);
  visit(grad.dtype, [&]<class T>() {
    const Contiguous<T> g(grad);
    T* out = grad_weight.as<T>();
    parallel_for(rows, grain_for(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        std::fill_n(out + r * width, width, T{0});
        const std::int64_t count = places.first[r + 1] - places.first[r];
        if (r == params.padding_idx || count == 0) continue;
        const T scale = params.scale_grad_by_freq ? T{1} / static_cast<T>(count) : T{1};
        add_rows(out + r * width, g.data(), places, r, width, scale);
      }
    });
  });
}

}  // namespace pyfast
