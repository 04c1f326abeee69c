#include "core/copy.h"
#include "core/shape.h"
#include "ops/embedding/embedding.h"

namespace pyfast {

void check_indices(const char* op, const TensorView& indices, std::int64_t rows) {
  const Contiguous<std::int64_t> packed(indices);
  for (std::int64_t i = 0; i < indices.numel(); ++i) {
    const std::int64_t index = packed.data()[i];
    if (index < 0 || index >= rows)
      throw IndexError(concat(op, ": indices must be in [0, ", rows, "), got ", index));
  }
}

}  // namespace pyfast
