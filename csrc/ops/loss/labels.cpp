#include "core/copy.h"
#include "ops/loss/cross_entropy.h"

namespace pyfast {

void check_labels(const CrossEntropyParams& p, const TensorView& target) {
  if (p.soft) return;
  const Contiguous<std::int64_t> labels(target);
  for (std::int64_t i = 0; i < target.numel(); ++i) {
    const std::int64_t label = labels.data()[i];
    if (label != p.ignore_index && (label < 0 || label >= p.classes))
      throw IndexError(concat(p.op, ": target must be in [0, ", p.classes, ") or ignore_index (",
                              p.ignore_index, "), got ", label));
  }
}

}  // namespace pyfast
