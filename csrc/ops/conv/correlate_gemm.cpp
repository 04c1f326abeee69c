#include "gemm/gemm.h"
#include "gemm/kernel.h"
#include "ops/conv/correlate.h"
#include "ops/conv/kernel.h"
#include "ops/conv/weights.h"

namespace pyfast {

namespace {

// The source's patches by column.
template <class T>
struct PatchSource {
  const ConvKernels<T>& kernels;
  Patches<T> patches;

  void pack(T* panel, std::int64_t column, int columns, int tile, std::int64_t k,
            std::int64_t depth) const {
    kernels.pack_columns(patches, panel, column, columns, tile, k, depth);
  }
};

// Grid points (n, y, x) of one group's channels, cut where the target's memory has a gap.
template <class T>
struct GridSink {
  const Correlation<T>& c;
  void (*store_)(const gemm::Epilogue<T>&, const T*, std::int64_t, std::int64_t, std::int64_t,
                 std::int64_t, std::int64_t);
  gemm::Epilogue<T> epilogue;  // at the group's first channel
  std::int64_t piece;          // grid points between gaps

  GridSink(const Correlation<T>& correlation, std::int64_t group)
      : c(correlation), store_(gemm_kernels<T>().store) {
    const std::int64_t first = group * c.out;
    epilogue.c = c.target.data + first * c.target.channel;
    epilogue.row_stride = c.target.channel;
    epilogue.col_stride = c.x.target_step * c.target.column;
    epilogue.row_bias = c.bias ? c.bias + first : nullptr;
    epilogue.activation = c.activation;
    epilogue.linear = c.linear ? c.linear + first * c.target.channel : nullptr;
    epilogue.residual = c.residual ? c.residual + first * c.target.channel : nullptr;
    epilogue.residual_row_stride = epilogue.row_stride;
    epilogue.residual_col_stride = epilogue.col_stride;
    const bool whole =
        c.y.target_step * c.target.row == c.x.grid * c.x.target_step * c.target.column;
    piece = whole ? c.grid() : c.x.grid;
  }

  void store(const T* tile, std::int64_t ld, std::int64_t row, std::int64_t rows, std::int64_t col,
             std::int64_t cols) const {
    for (std::int64_t done = 0; done < cols;) {
      const std::int64_t at = col + done, point = at % c.grid();
      const std::int64_t rest = piece - point % piece;
      const std::int64_t count = rest < cols - done ? rest : cols - done;
      const std::int64_t offset =
          c.target_offset(at / c.grid(), point / c.x.grid, point % c.x.grid);
      gemm::Epilogue<T> e = epilogue;
      e.c += offset;
      if (e.linear) e.linear += offset;
      if (e.residual) e.residual += offset;
      store_(e, tile + done, ld, row, rows, 0, count);
      done += count;
    }
  }
};

}  // namespace

template <class T>
void correlate_gemm(const Correlation<T>& correlation) {
  const Correlation<T> c = flattened(correlation);
  const std::int64_t m = c.out, n = c.batch * c.grid(), k = c.in * c.taps();
  const auto& kernels = conv_kernels<T>();
  gemm::for_each_product(c.groups, m, n, k, [&](std::int64_t g) {
    const Image<const T>& s = c.source;
    const PatchSource<T> patches{
        kernels, {s.data + g * c.in * s.channel, s.sample, s.channel, s.row, s.column, c.y, c.x}};
    const WeightSource<T> weights(c, g);
    const GridSink<T> sink(c, g);
    gemm::gemm<T>(
        {m, n, k, gemm::source<T>(weights), gemm::source<T>(patches), gemm::sink<T>(sink)});
  });
}

template void correlate_gemm(const Correlation<float>&);
template void correlate_gemm(const Correlation<double>&);

}  // namespace pyfast
