// One element at a time, in double.
#include <algorithm>
#include <cmath>

#include "core/copy.h"
#include "ops/optimizer/gradient.h"

namespace pyfast::reference {

void norm_of(const std::vector<TensorView>& gradients, double norm_type, double* norm) {
  double total = 0;
  for (const TensorView& g : gradients) {
    visit(g.dtype, [&]<class T>() {
      const Contiguous<T> packed(g);
      for (std::int64_t i = 0; i < g.numel(); ++i) {
        const double x = std::abs(static_cast<double>(packed.data()[i]));
        if (norm_type == 2)
          total += x * x;
        else if (norm_type == 1)
          total += x;
        else
          total = x > total || std::isnan(x) ? x : total;
      }
    });
  }
  *norm = norm_type == 2 ? std::sqrt(total) : total;
}

void scale(const std::vector<TensorView>& gradients, double factor) {
  for (const TensorView& g : gradients)
    visit(g.dtype, [&]<class T>() {
      for (std::int64_t i = 0; i < g.numel(); ++i)
        g.as<T>()[i] = static_cast<T>(g.as<T>()[i] * factor);
    });
}

void clamp(const std::vector<TensorView>& gradients, double limit) {
  for (const TensorView& g : gradients)
    visit(g.dtype, [&]<class T>() {
      for (std::int64_t i = 0; i < g.numel(); ++i) {
        const double x = g.as<T>()[i];
        if (!std::isnan(x)) g.as<T>()[i] = static_cast<T>(std::clamp(x, -limit, limit));
      }
    });
}

}  // namespace pyfast::reference
