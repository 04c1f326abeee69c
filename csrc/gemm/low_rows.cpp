#include "gemm/low_rows.h"

#include <algorithm>

#include "core/memory.h"
#include "gemm/kernel.h"
#include "gemm/plan.h"

namespace pyfast::gemm {

namespace {

// Panel after panel of B, in the order of memory, since reading it is most of the work. PyTorch
// adds up so few rows by lanes, in short chains; here pieces of the depth are added in halves.
template <class T>
class LowRows {
 public:
  explicit LowRows(const Problem<T>& problem)
      : kernels_(gemm_kernels<T>()),
        problem_(problem),
        cols_(panel_cols(problem.n, tile_of<T>())),
        panels_((problem.m + kLowRows - 1) / kLowRows),
        rows_((problem.m + panels_ - 1) / panels_),
        copy_(problem.a.along ? 0 : problem.m * problem.k),
        left_(problem.a.along ? problem.a.along : copy_.data()),
        stride_(problem.a.along ? problem.a.stride : problem.k) {
    if (copy_.size() == 0) return;
    for (std::int64_t r = 0; r < problem.m; ++r)
      problem.a.pack(problem.a.context, copy_.data() + r * problem.k, r, 1, 1, 0, problem.k);
  }

  void run() const {
    parallel_for((problem_.n + cols_ - 1) / cols_,
                 panel_grain(problem_.m, problem_.n, problem_.k, tile_of<T>()),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t p = begin; p < end; ++p) run_panel(p * cols_);
                 });
  }

 private:
  static constexpr std::int64_t kLeaf = 64;
  static constexpr std::int64_t kAhead = (1 << 14) / sizeof(T);  // sooner, it comes too late

  void run_panel(std::int64_t col) const {
    alignas(64) T sums[kMaxTile];
    const std::int64_t cols = std::min(cols_, problem_.n - col);
    const int vectors = static_cast<int>((cols + kernels_.width - 1) / kernels_.width);
    const T* const panel = problem_.b.panels + col * problem_.k;
    add_halves(sums, panel, vectors, 0, problem_.k);
    problem_.c.store(problem_.c.context, sums, vectors * kernels_.width, 0, problem_.m, col, cols);
  }

  // sums = the product over depths [k, k + depth).
  void add_halves(T* sums, const T* panel, int vectors, std::int64_t k, std::int64_t depth) const {
    const std::int64_t width = vectors * kernels_.width;
    if (depth > kLeaf) {
      alignas(64) T others[kMaxTile];
      const std::int64_t half = ((depth + kLeaf - 1) / kLeaf + 1) / 2 * kLeaf;
      add_halves(sums, panel, vectors, k, half);
      add_halves(others, panel, vectors, k + half, depth - half);
      return kernels_.add(sums, others, problem_.m * width);
    }
    // Its rows share out what is asked for: the same block of what comes later.
    const T *const right = panel + k * width, *const ahead = right + kAhead;
    for (std::int64_t r = 0; r < problem_.m; r += rows_) {
      const std::int64_t rows = std::min(rows_, problem_.m - r);
      kernels_.low[(rows - 1) * kernels_.vectors + vectors - 1](
          depth, left_ + r * stride_ + k, stride_, right, sums + r * width,
          ahead + depth * width * (r / rows_) / panels_, static_cast<int>(panels_));
    }
  }

  const GemmKernels<T>& kernels_;
  const Problem<T>& problem_;
  std::int64_t cols_, panels_, rows_;  // columns of a panel of B; panels of A, and their rows
  Workspace<T> copy_;
  const T* left_;
  std::int64_t stride_;
};

}  // namespace

template <class T>
bool low_rows_gemm(const Problem<T>& problem) {
  if (!problem.b.panels || problem.m > kFewRows || problem.k < kFewDepth) return false;
  LowRows<T>(problem).run();
  return true;
}

template bool low_rows_gemm(const Problem<float>&);
template bool low_rows_gemm(const Problem<double>&);

}  // namespace pyfast::gemm
