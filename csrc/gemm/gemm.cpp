// The loops around the register tile: see plan.h for what is cut how, and why.
#include "gemm/gemm.h"

#include <algorithm>
#include <type_traits>

#include "core/memory.h"
#include "gemm/amx.h"
#include "gemm/kernel.h"
#include "gemm/low_rows.h"
#include "gemm/plan.h"

namespace pyfast::gemm {

namespace {

std::int64_t round_up(std::int64_t v, std::int64_t unit) { return (v + unit - 1) / unit * unit; }

// A source and how it is cut into panels: `tile` rows each, the last one narrower.
template <class T>
struct Operand {
  Source<T> source;
  std::int64_t size;
  int tile;
  int unit;  // panel widths are multiples of it: 1 for A, a vector for B

  int width(std::int64_t row) const {
    const std::int64_t rest = size - row;
    return rest >= tile ? tile : static_cast<int>(round_up(rest, unit));
  }
  // Panels of rows [row, row + rows); `row` begins a panel.
  void pack(T* block, std::int64_t row, std::int64_t rows, std::int64_t k,
            std::int64_t depth) const {
    for (std::int64_t r = 0; depth > 0 && r < rows; r += tile)
      source.pack(source.context, block + r * depth, row + r,
                  static_cast<int>(std::min<std::int64_t>(tile, rows - r)), width(row + r), k,
                  depth);
  }
};

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

// A packed block of an operand: its panels of one depth block.
template <class T>
struct Block {
  Range rows;
  const T* data;
  std::int64_t step;    // from a row's depths to the next row's: panels are `tile` times it
  std::int64_t at = 0;  // depths of a panel that come before the block's

  const T* panel(std::int64_t row, int width) const { return data + row * step + at * width; }
};

// One depth block of a piece of C, both operands packed.
template <class T>
struct Step {
  Block<T> a, b;
  std::int64_t depth;
  T* sums;             // a slot per register tile when there are several depth blocks, else null
  std::int64_t total;  // from a slot to that of the groups before this one; 0 if there are none
  bool first, ends;    // of its group
  bool last;
};

constexpr std::int64_t kResidentBytes = 32 << 10;  // of B, in L1 beside a panel of A

template <class T>
class Engine {
 public:
  Engine(const Problem<T>& problem, const Plan& plan)
      : kernels_(gemm_kernels<T>()),
        plan_(plan),
        depth_(problem.k),
        chain_(problem.chain),
        sink_(problem.c),
        a_{problem.a, problem.m, plan.rows, 1},
        b_{problem.b, problem.n, plan.cols, kernels_.width},
        shared_(plan.share_a ? a_ : b_),
        private_(plan.share_a ? b_ : a_) {}

  // The product over the given depths.
  void run(Range depths) const {
    const std::int64_t count = round_up(std::min(plan_.shared_block, shared_.size), shared_.tile);
    Workspace<T> packed(shared_.source.panels ? 0 : count * std::min(plan_.ks, depths.size()));
    for (std::int64_t s = 0; s < shared_.size; s += plan_.shared_block)
      for (std::int64_t p = 0; p < private_.size; p += plan_.private_pass)
        run_pass(cut(s, plan_.shared_block, shared_.size),
                 cut(p, plan_.private_pass, private_.size), depths, packed.data());
  }

 private:
  static Range cut(std::int64_t begin, std::int64_t size, std::int64_t end) {
    return {begin, std::min(begin + size, end)};
  }
  static std::int64_t pieces(std::int64_t size, std::int64_t piece) {
    return (size + piece - 1) / piece;
  }
  std::int64_t slots() const {
    return round_up(plan_.private_block, private_.tile) * plan_.shared_slice;
  }
  // Elements of the sums of one chunk: of the groups so far, and of the group at hand.
  std::int64_t chunk_sums(Range depths) const {
    return depths.size() > plan_.group ? 2 * slots() : slots();
  }

  void run_pass(Range shared, Range rows, Range depths, T* packed) const {
    const bool held = depths.size() > plan_.ks;
    const std::int64_t slices = pieces(shared.size(), plan_.shared_slice);
    const std::int64_t chunks = slices * pieces(rows.size(), plan_.private_block);
    Workspace<T> sums(held ? chunks * chunk_sums(depths) : 0);
    std::int64_t k = depths.begin;
    do {
      const Range deep = cut(k, plan_.ks, depths.end);
      const bool each = packs_each(shared, deep, chunks);
      if (!shared_.source.panels && !each) pack_shared(shared, deep, packed);
      parallel_for(chunks, 1, [&](std::int64_t chunk, std::int64_t) {
        const Range mine =
            cut(rows.begin + chunk / slices * plan_.private_block, plan_.private_block, rows.end);
        const Range slice =
            cut(shared.begin + chunk % slices * plan_.shared_slice, plan_.shared_slice, shared.end);
        T* const here = held ? sums.data() + chunk * chunk_sums(depths) : nullptr;
        if (!each) return run_chunk(shared, slice, mine, deep, depths, packed, here);
        const Workspace<T> own(round_up(slice.size(), shared_.tile) * deep.size());
        pack_shared(slice, deep, own.data());
        run_chunk(slice, slice, mine, deep, depths, own.data(), here);
      });
      k += plan_.ks;
    } while (k < depths.end);
  }

  // Whether every chunk packs the shared block for itself: a small one is sooner packed than
  // fetched from the core that has packed it. The values are the same.
  bool packs_each(Range shared, Range deep, std::int64_t chunks) const {
    constexpr std::int64_t kElements = 1 << 16, kChunks = 4;
    return !shared_.source.panels && chunks > 1 && chunks <= kChunks && runs_parallel() &&
           shared.size() * deep.size() <= kElements;
  }

  // Depth block after depth block, each as all its panels.
  void pack_shared(Range rows, Range depths, T* packed) const {
    const std::int64_t count = round_up(rows.size(), shared_.tile);
    const std::int64_t panels = count / shared_.tile;
    const std::int64_t blocks = pieces(depths.size(), plan_.kc);
    const std::int64_t grain = grain_for(plan_.kc * shared_.tile);
    parallel_for(blocks * panels, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Range deep = cut(depths.begin + i / panels * plan_.kc, plan_.kc, depths.end);
        const std::int64_t r = i % panels * shared_.tile;
        shared_.pack(packed + (deep.begin - depths.begin) * count + r * deep.size(), rows.begin + r,
                     std::min<std::int64_t>(shared_.tile, rows.size() - r), deep.begin,
                     deep.size());
      }
    });
  }

  // The slice of the shared block at depths `now`; `packed` begins at depth `begin`.
  Block<T> shared_block(Range shared, Range slice, Range now, std::int64_t begin,
                        const T* packed) const {
    if (shared_.source.panels) return packed_already(shared_, slice, now);
    const std::int64_t count = round_up(shared.size(), shared_.tile);
    return {slice, packed + (now.begin - begin) * count + (slice.begin - shared.begin) * now.size(),
            now.size()};
  }
  Block<T> private_block(Range rows, Range now, T* scratch) const {
    if (private_.source.panels) return packed_already(private_, rows, now);
    private_.pack(scratch, rows.begin, rows.size(), now.begin, now.size());
    return {rows, scratch, now.size()};
  }
  Block<T> packed_already(const Operand<T>& operand, Range rows, Range now) const {
    return {rows, operand.source.panels + rows.begin * depth_, depth_, now.begin};
  }

  // The private rows `mine` times a slice of the shared block, over `deep` out of all `depths`.
  void run_chunk(Range shared, Range slice, Range mine, Range deep, Range depths, const T* packed,
                 T* sums) const {
    const std::int64_t room =
        private_.source.panels ? 0 : round_up(mine.size(), private_.tile) * plan_.kc;
    const bool blocks = !sums && deep.size() > plan_.kc;
    Workspace<T> scratch(round_up(room, 16) + (blocks ? chunk_sums(depths) : 0));
    if (blocks) sums = scratch.data() + round_up(room, 16);
    std::int64_t k = deep.begin;
    do {
      const Range now = cut(k, plan_.kc, deep.end);
      const bool later = k - depths.begin >= plan_.group;
      const bool last = now.end == depths.end;
      Step<T> step{private_block(mine, now, scratch.data()),
                   shared_block(shared, slice, now, deep.begin, packed),
                   now.size(),
                   later ? sums + slots() : sums,
                   later ? -slots() : 0,
                   (k - depths.begin) % plan_.group == 0,
                   last || (now.end - depths.begin) % plan_.group == 0,
                   last};
      if (plan_.share_a) std::swap(step.a, step.b);
      compute(step);
      k = now.end;
    } while (k < deep.end);
  }

  // B's panel stays in L1 while A's pass by; where all of B's do, C is written row by row, which
  // is what products of a short depth spend their time with.
  void compute(const Step<T>& step) const {
    const std::int64_t rows = step.a.rows.size(), cols = step.b.rows.size();
    const T* const here = step.b.data;  // where there is nothing to ask for
    if (!step.sums && step.depth * cols * std::int64_t{sizeof(T)} <= kResidentBytes) {
      for (std::int64_t r = 0; r < rows; r += a_.tile)
        for (std::int64_t c = 0; c < cols; c += b_.tile)
          compute_tile(step, r, c, nullptr, {here, here});
      return;
    }
    T* slot = step.sums;
    const std::int64_t share = step.depth * b_.tile / pieces(rows, a_.tile);
    for (std::int64_t c = 0; c < cols; c += b_.tile) {
      const std::int64_t after = c + b_.tile;
      const T* ahead =
          after < cols ? step.b.panel(after, b_.width(step.b.rows.begin + after)) : here;
      for (std::int64_t r = 0; r < rows; r += a_.tile, ahead += share) {
        T* const following = slot ? slot + a_.tile * b_.tile : nullptr;
        compute_tile(step, r, c, slot, {ahead, slot ? following : here});
        slot = following;
      }
    }
  }

  void compute_tile(const Step<T>& step, std::int64_t r, std::int64_t c, T* slot,
                    const MicroNext<T>& next) const {
    alignas(64) T one_tile[kMaxTile];
    const std::int64_t row = step.a.rows.begin + r, col = step.b.rows.begin + c;
    const int height = static_cast<int>(std::min<std::int64_t>(a_.tile, a_.size - row));
    const int width = b_.width(col);
    const std::int64_t cols = std::min<std::int64_t>(width, step.b.rows.size() - c);
    const bool whole = step.last && step.total == 0 && sink_.plain && cols == width;
    T* tile = slot ? slot : one_tile;
    T* const out = whole ? sink_.plain + row * sink_.stride + col : tile;
    const T* const start = step.first ? nullptr : slot;
    const std::int64_t done =
        step.depth > chain_ ? add_chains(step, r, c, height, width, start, tile, next) : 0;
    micro(height, width)(step.depth - done, step.a.panel(r, height) + done * height,
                         step.b.panel(c, width) + done * width, done > 0 ? tile : start, out,
                         whole ? sink_.stride : width, next);
    if (step.total != 0 && step.ends) {
      kernels_.add(tile + step.total, tile, height * width);
      tile += step.total;
    }
    if (step.last && !whole) sink_.store(sink_.context, tile, width, row, height, col, cols);
  }

  // All chains of a tile but the last; returns their depths.
  std::int64_t add_chains(const Step<T>& step, std::int64_t r, std::int64_t c, int height,
                          int width, const T* start, T* tile, const MicroNext<T>& next) const {
    const T *a = step.a.panel(r, height), *b = step.b.panel(c, width);
    std::int64_t done = 0;
    for (; step.depth - done > chain_; done += chain_, start = tile)
      micro(height, width)(chain_, a + done * height, b + done * width, start, tile, width, next);
    return done;
  }

  MicroKernel<T> micro(int rows, int cols) const {
    return kernels_.micro[(rows - 1) * kernels_.vectors + cols / kernels_.width - 1];
  }

  const GemmKernels<T>& kernels_;
  Plan plan_;
  std::int64_t depth_, chain_;
  Sink<T> sink_;
  Operand<T> a_, b_;
  const Operand<T>&shared_, &private_;
};

// A few rows times a B that is packed already, which is bound by reading B: panel after panel, each
// from its first depth to its last, in the order of memory; panels of A share out asking for the
// block that comes next. Adds up the same blocks as the engine, and so gives its bits. The fewest
// rows of all, if deep, are low_rows.h's.
template <class T>
class FewRows {
 public:
  static bool suits(const Problem<T>& problem) {
    return problem.b.panels && problem.k > 0 && problem.m <= kMostPanels * tile_of<T>().rows;
  }
  FewRows(const Problem<T>& problem, const Plan& plan)
      : kernels_(gemm_kernels<T>()),
        problem_(problem),
        plan_(plan),
        a_{problem.a, problem.m, plan_.rows, 1},
        b_{problem.b, problem.n, plan_.cols, kernels_.width},
        panels_((problem.m + plan_.rows - 1) / plan_.rows),
        lines_(static_cast<int>((4 * plan_.cols * sizeof(T) / 64 + panels_ - 1) / panels_)),
        left_(problem.m * problem.k) {
    a_.pack(left_.data(), 0, problem.m, 0, problem.k);
  }

  void run() const {
    parallel_for((problem_.n + plan_.cols - 1) / plan_.cols,
                 panel_grain(problem_.m, problem_.n, problem_.k, tile_of<T>()),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t p = begin; p < end; ++p) run_panel(p * plan_.cols);
                 });
  }

 private:
  static constexpr std::int64_t kMostPanels = 4;  // of A

  void run_panel(std::int64_t col) const {
    alignas(64) T total[kMostPanels * kMaxTile], group[kMostPanels * kMaxTile];
    const int width = b_.width(col);
    const T* const panel = problem_.b.panels + col * problem_.k;
    for (std::int64_t k = 0; k < problem_.k; k += plan_.kc) {
      const std::int64_t depth = std::min(plan_.kc, problem_.k - k);
      const T* const right = panel + k * width;
      const bool first = k % plan_.group == 0, last = k + depth == problem_.k;
      T* const sums = k < plan_.group ? total : group;
      for (std::int64_t r = 0; r < problem_.m; r += a_.tile) {
        const int height = height_at(r);
        T* const slot = sums + r * width;
        const std::int64_t block = depth * width, share = block * (r / a_.tile) / panels_;
        const MicroNext<T> next{right + block + share, slot, lines_};
        kernels_.micro[(height - 1) * kernels_.vectors + width / kernels_.width - 1](
            depth, left_.data() + r * problem_.k + k * height, right, first ? nullptr : slot, slot,
            width, next);
      }
      if (k >= plan_.group && (last || (k + depth) % plan_.group == 0))
        kernels_.add(total, group, problem_.m * width);
    }
    const std::int64_t cols = std::min<std::int64_t>(width, problem_.n - col);
    problem_.c.store(problem_.c.context, total, width, 0, problem_.m, col, cols);
  }
  int height_at(std::int64_t row) const {
    return static_cast<int>(std::min<std::int64_t>(a_.tile, problem_.m - row));
  }

  const GemmKernels<T>& kernels_;
  const Problem<T>& problem_;
  Plan plan_;
  Operand<T> a_, b_;
  std::int64_t panels_;
  int lines_;
  Workspace<T> left_;
};

// Partial products over pieces of the depth, added in their order.
template <class T>
void run_split(const Problem<T>& problem, std::int64_t wanted) {
  const auto& kernels = gemm_kernels<T>();
  const std::int64_t m = problem.m, n = problem.n, piece = (problem.k + wanted - 1) / wanted;
  const std::int64_t splits = (problem.k + piece - 1) / piece;
  const Plan plan = make_plan(m, n, piece, tile_of<T>());
  Workspace<T> partial(splits * m * n);
  parallel_for(splits, 1, [&](std::int64_t s, std::int64_t) {
    Epilogue<T> plain;
    plain.c = partial.data() + s * m * n;
    plain.row_stride = n;
    const MatrixSink<T> here(plain);
    const Problem<T> part{m, n, problem.k, problem.a, problem.b, sink<T>(here), problem.chain};
    Engine<T>(part, plan).run({s * piece, std::min((s + 1) * piece, problem.k)});
  });
  parallel_for(m, grain_for(splits * n), [&](std::int64_t begin, std::int64_t end) {
    T* sum = partial.data() + begin * n;
    for (std::int64_t s = 1; s < splits; ++s) kernels.add(sum, sum + s * m * n, (end - begin) * n);
    problem.c.store(problem.c.context, sum, n, begin, end - begin, 0, n);
  });
}

}  // namespace

template <class T>
void gemm(const Problem<T>& problem) {
  if constexpr (std::is_same_v<T, float>)
    if (amx_pays(problem.m, problem.n, problem.k) && amx_ready()) return amx_gemm(problem);
  fma_gemm(problem);
}

template <class T>
void fma_gemm(const Problem<T>& problem) {
  if (problem.m == 0 || problem.n == 0 || low_rows_gemm(problem)) return;
  const Plan plan = make_plan(problem.m, problem.n, problem.k, tile_of<T>());
  if (plan.splits > 1)
    run_split(problem, plan.splits);
  else if (FewRows<T>::suits(problem))
    FewRows<T>(problem, plan).run();
  else
    Engine<T>(problem, plan).run({0, problem.k});
}

template void gemm<float>(const Problem<float>&);
template void gemm<double>(const Problem<double>&);
template void fma_gemm<float>(const Problem<float>&);
template void fma_gemm<double>(const Problem<double>&);

bool spread_over_batch(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k) {
  const double cost = product_cost(m, n, k);
  return cost <= kMinChunk || (batch >= 16 && cost <= kMaxChunk);
}

std::int64_t batch_grain(std::int64_t m, std::int64_t n, std::int64_t k) {
  return 1 + static_cast<std::int64_t>(kMinChunk / (product_cost(m, n, k) + 1e3));
}

}  // namespace pyfast::gemm
