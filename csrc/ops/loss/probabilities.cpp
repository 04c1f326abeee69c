#include "core/copy.h"
#include "core/parallel.h"
#include "ops/loss/pointwise.h"

namespace pyfast {

void check_probabilities(const PointwiseParams& params, const TensorView& input) {
  if (params.loss != Loss::bce) return;
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> x(input);
    parallel_for(input.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        if (x.data()[i] < 0 || x.data()[i] > 1)
          throw ValueError(
              concat(params.op, ": input must be in [0, 1], got ", double{x.data()[i]}));
    });
  });
}

}  // namespace pyfast
