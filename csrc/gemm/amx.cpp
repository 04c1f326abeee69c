// Blocks as in plan.h: the operand with fewer rows is shared and packed once, by all threads; the
// other's rows are cut into chunks, and whoever takes a chunk packs it. A step of the depth, `kc`,
// is summed in the tiles; the sums of several steps wait in memory.
#include "gemm/amx.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/isa.h"
#include "core/memory.h"
#include "core/precision.h"
#include "gemm/amx_kernel.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pyfast::gemm {

namespace {

constexpr int kTile = 2 * kAmxTile;   // rows or columns of a whole panel
constexpr int kSlot = kTile * kTile;  // sums of a pair of panels
// Panels of A in a row of tile products: each tile's sums are added up during the next one's, and
// the row's sums still lie in L1 when they go to the sink.
constexpr std::int64_t kRun = 8;
// 72 KiB of a panel of three parts; sums of 512 non-negative products had 1.15 times PyTorch's
// error.
constexpr std::int64_t kDepthBlock = 384;
constexpr std::int64_t kSharedDepth = 2304;  // beyond it, sums of a pass are held in memory
constexpr std::int64_t kSharedBytes = 16 << 20;
constexpr std::int64_t kPrivateBytes = 1 << 20;
constexpr std::int64_t kPassBytes = 4 << 20;
// 256 rows of A to a panel of B, which may come from L3: with 128, products took 7 to 12 % longer.
constexpr std::int64_t kChunks = 4, kWideRows = 1024;
constexpr double kMinChunk = 2e6;  // multiply-adds

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t v, std::int64_t unit) { return ceil_div(v, unit) * unit; }

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};
Range cut(std::int64_t begin, std::int64_t size, std::int64_t end) {
  return {begin, std::min(begin + size, end)};
}

// The size of equal pieces, multiples of `unit` and none above `limit`, that cover `total`.
std::int64_t even(std::int64_t total, std::int64_t limit, std::int64_t unit) {
  limit = std::max(limit / unit, std::int64_t{1}) * unit;
  return round_up(ceil_div(total, ceil_div(total, limit)), unit);
}
std::int64_t depth_block(std::int64_t k) { return even(k, kDepthBlock, kAmxDepth); }

struct Plan {
  int parts;
  bool share_left;
  std::int64_t kc, ks;                                     // depth of a block, and packed at a time
  std::int64_t shared_block, private_block, private_pass;  // rows
};

Plan make_plan(std::int64_t m, std::int64_t n, std::int64_t k) {
  Plan p{};
  p.parts = amx_parts();
  p.share_left = m < n;
  const std::int64_t shared = p.share_left ? m : n, other = p.share_left ? n : m;
  p.kc = depth_block(k);
  p.ks = std::min(round_up(k, p.kc), std::max(kSharedDepth / p.kc, std::int64_t{1}) * p.kc);
  const std::int64_t item = 2 * p.parts;  // bytes
  p.shared_block = even(shared, kSharedBytes / (p.ks * item), kTile);
  const std::int64_t most = kPrivateBytes / (p.kc * item);
  const double row_cost =
      static_cast<double>(p.shared_block) * static_cast<double>(std::min(k, p.ks));
  const std::int64_t least = static_cast<std::int64_t>(kMinChunk / row_cost) + 1;
  p.private_block = even(
      other, std::min(most, std::max(least, other / (other < kWideRows ? 2 : kChunks))), kTile);
  p.private_pass = other;
  if (k > p.ks) p.private_pass = even(other, kPassBytes / (4 * p.shared_block), p.private_block);
  return p;
}

// An operand as panels of 32 rows, the last of 16 where that is enough.
class Operand {
 public:
  Operand(const Source<float>& source, std::int64_t size, bool left, int parts)
      : source_(source), size_(size), left_(left), parts_(parts) {
    if (left || !source.split) return;
    const AmxPanels* const split = source.split(source.context);
    if (split->parts == parts) split_ = split;  // else the precision has changed since
  }

  std::int64_t size() const { return size_; }
  int width(std::int64_t row) const { return size_ - row > kAmxTile ? kTile : kAmxTile; }
  // Items of a panel of the given width.
  std::int64_t panel_items(int width, std::int64_t depth) const {
    return width * parts_ * round_up(depth, kAmxDepth);
  }

  void pack(std::uint16_t* panel, std::int64_t row, Range depths, Magnitudes& seen) const {
    const int wide = width(row), rows = static_cast<int>(std::min<std::int64_t>(wide, size_ - row));
    const auto& kernels = amx::kernels();
    const auto split = left_ ? kernels.split_left : kernels.split_right;
    const auto along = left_ ? kernels.split_rows : kernels.split_turned;
    if (source_.along)
      return along(panel, source_.along + row * source_.stride + depths.begin, source_.stride, rows,
                   wide, depths.size(), parts_, seen);
    if (source_.across)
      return split(panel, source_.across + row + depths.begin * source_.stride, source_.stride,
                   rows, wide, depths.size(), parts_, seen);
    constexpr std::int64_t kStretch = 128;
    alignas(64) float buffer[kTile * kStretch];
    for (std::int64_t k = depths.begin; k < depths.end; k += kStretch) {
      const std::int64_t depth = std::min(kStretch, depths.end - k);
      source_.pack(source_.context, buffer, row, rows, wide, k, depth);
      split(panel, buffer, wide, wide, wide, depth, parts_, seen);
      panel += panel_items(wide, depth);
    }
  }
  const Source<float>& source() const { return source_; }
  const AmxPanels* split() const { return split_; }

 private:
  Source<float> source_;
  std::int64_t size_;
  bool left_;
  int parts_;
  const AmxPanels* split_ = nullptr;
};

// The panels of some rows, those of each depth block side by side.
struct Panels {
  const std::uint16_t* items;
  Magnitudes seen;
};
Panels of_split(const AmxPanels& split, Range rows, std::int64_t k, std::int64_t panel) {
  const std::int64_t at = k / split.depth_block * split.count + rows.begin / kTile;
  Panels panels{split.items.data() + at * panel, {}};
  for (std::int64_t p = 0; p < ceil_div(rows.size(), kTile); ++p)
    panels.seen = join(panels.seen, split.seen[at + p]);
  return panels;
}

// An operand from a row and a depth on.
struct Shifted {
  const Source<float>& source;
  std::int64_t row0, k0;
  void pack(float* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const {
    source.pack(source.context, panel, row0 + row, rows, tile, k0 + k, depth);
  }
};

class Engine {
 public:
  Engine(const Problem<float>& problem, const Plan& plan)
      : plan_(plan),
        depth_(problem.k),
        sink_(problem.c),
        a_(problem.a, problem.m, true, plan.parts),
        b_(problem.b, problem.n, false, plan.parts),
        shared_(plan.share_left ? a_ : b_),
        private_(plan.share_left ? b_ : a_) {}

  void run() const {
    for (std::int64_t s = 0; s < shared_.size(); s += plan_.shared_block)
      for (std::int64_t p = 0; p < private_.size(); p += plan_.private_pass)
        run_pass(cut(s, plan_.shared_block, shared_.size()),
                 cut(p, plan_.private_pass, private_.size()));
  }

 private:
  // The packed shared block: depth block after depth block, each as all its panels, and what
  // was seen of each depth block.
  struct Packed {
    Range rows, depths;
    Workspace<std::uint16_t> items;
    Workspace<Magnitudes> seen;
  };

  std::int64_t rounded(std::int64_t rows) const { return round_up(rows, kTile); }
  std::int64_t chunk_sums(Range shared) const {
    return rounded(plan_.private_block) * rounded(shared.size());
  }

  void run_pass(Range shared, Range rows) const {
    const std::int64_t chunks = ceil_div(rows.size(), plan_.private_block);
    const bool held = depth_ > plan_.ks;
    const Workspace<float> sums(held ? chunks * chunk_sums(shared) : 0);
    for (std::int64_t k = 0; k < depth_; k += plan_.ks) {
      const Packed packed = shared_.split()
                                ? Packed{shared, cut(k, plan_.ks, depth_),
                                         Workspace<std::uint16_t>(0), Workspace<Magnitudes>(0)}
                                : pack_shared(shared, cut(k, plan_.ks, depth_));
      parallel_for(chunks, 1, [&](std::int64_t chunk, std::int64_t) {
        run_chunk(packed,
                  cut(rows.begin + chunk * plan_.private_block, plan_.private_block, rows.end),
                  held ? sums.data() + chunk * chunk_sums(shared) : nullptr);
      });
    }
  }

  Packed pack_shared(Range rows, Range depths) const {
    const std::int64_t panels = ceil_div(rows.size(), kTile);
    const std::int64_t blocks = ceil_div(depths.size(), plan_.kc);
    const std::int64_t block = shared_.panel_items(kTile, plan_.kc);
    Packed packed{rows, depths, Workspace<std::uint16_t>(blocks * panels * block),
                  Workspace<Magnitudes>(blocks)};
    const Workspace<Magnitudes> each(blocks * panels);
    parallel_for(blocks * panels, grain_for(8 * plan_.kc * kTile),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const Range now =
                         cut(depths.begin + i / panels * plan_.kc, plan_.kc, depths.end);
                     each[i] = {};
                     shared_.pack(packed.items.data() + i * block, rows.begin + i % panels * kTile,
                                  now, each[i]);
                   }
                 });
    for (std::int64_t d = 0; d < blocks; ++d) {
      packed.seen[d] = {};
      for (std::int64_t i = 0; i < panels; ++i)
        packed.seen[d] = join(packed.seen[d], each[d * panels + i]);
    }
    return packed;
  }

  Panels shared_panels(const Packed& packed, std::int64_t k) const {
    const std::int64_t panel = shared_.panel_items(kTile, plan_.kc);
    if (shared_.split()) return of_split(*shared_.split(), packed.rows, k, panel);
    const std::int64_t block = (k - packed.depths.begin) / plan_.kc;
    return {packed.items.data() + block * ceil_div(packed.rows.size(), kTile) * panel,
            packed.seen[block]};
  }
  Panels private_panels(Range rows, Range depths, std::uint16_t* scratch) const {
    const std::int64_t panel = private_.panel_items(kTile, plan_.kc);
    if (private_.split()) return of_split(*private_.split(), rows, depths.begin, panel);
    Panels panels{scratch, {}};
    for (std::int64_t p = 0; p < ceil_div(rows.size(), kTile); ++p)
      private_.pack(scratch + p * panel, rows.begin + p * kTile, depths, panels.seen);
    return panels;
  }

  void run_chunk(const Packed& packed, Range mine, float* sums) const {
    const std::int64_t room = ceil_div(mine.size(), kTile) * private_.panel_items(kTile, plan_.kc);
    const Workspace<std::uint16_t> scratch(private_.split() ? 0 : room);
    const bool blocks = !sums && packed.depths.size() > plan_.kc;
    const Workspace<float> own(blocks ? chunk_sums(packed.rows) : 0);
    if (blocks) sums = own.data();
    const AmxTiles tiles;
    for (std::int64_t k = packed.depths.begin; k < packed.depths.end; k += plan_.kc) {
      const Range now = cut(k, plan_.kc, packed.depths.end);
      const Panels shared = shared_panels(packed, k);
      const Panels others = private_panels(mine, now, scratch.data());
      Block b{packed.rows, mine, now, shared.items, others.items, sums};
      if (!plan_.share_left) {
        std::swap(b.rows, b.cols);
        std::swap(b.a, b.b);
      }
      if (amx_fits(others.seen, shared.seen, now.size()))
        multiply(b);
      else
        multiply_by_fma(b);
    }
  }

  // One depth block of a piece of C: rows x cols.
  struct Block {
    Range rows, cols, depths;
    const std::uint16_t* a;
    const std::uint16_t* b;
    float* sums;  // a slot of 32 x 32 per pair of panels, or null
    bool first() const { return depths.begin == 0; }
  };

  // While A's panels pass by a panel of B, the next panel of B comes into L2.
  void multiply(const Block& block) const {
    const std::int64_t steps = ceil_div(block.depths.size(), kAmxDepth);
    const std::int64_t a_panel = a_.panel_items(kTile, plan_.kc);
    const std::int64_t b_panel = b_.panel_items(kTile, plan_.kc);
    const std::int64_t share = round_up(2 * b_panel / ceil_div(block.rows.size(), kTile), 64);
    each_run(block, [&](std::int64_t r, std::int64_t count, std::int64_t c, float* tiles) {
      const std::uint16_t* b = block.b + c / kTile * b_panel;
      const bool last = c + kTile >= block.cols.size();
      const int a_tiles = a_.width(block.rows.begin + r) / kAmxTile;
      const int b_tiles = b_.width(block.cols.begin + c) / kAmxTile;
      amx::kernels().multiply_row(
          steps, AmxOperand::panel(block.a + r / kTile * a_panel, a_tiles, plan_.parts), a_tiles,
          2 * a_panel, AmxOperand::panel(b, b_tiles, plan_.parts), b_tiles, 0, plan_.parts, count,
          tiles, kSlot, !block.first(), b + b_panel + r / kTile * share / 2,
          last ? 0 : count * share);
    });
  }

  void multiply_by_fma(const Block& block) const {
    const std::int64_t ld = block.cols.size();
    const Workspace<float> product(block.rows.size() * ld);
    const Shifted a{a_.source(), block.rows.begin, block.depths.begin};
    const Shifted b{b_.source(), block.cols.begin, block.depths.begin};
    Epilogue<float> plain;
    plain.c = product.data();
    plain.row_stride = ld;
    const MatrixSink<float> c(plain);
    fma_gemm<float>({block.rows.size(), ld, block.depths.size(), gemm::source<float>(a),
                     gemm::source<float>(b), gemm::sink<float>(c)});
    each_run(block, [&](std::int64_t r, std::int64_t count, std::int64_t c, float* tiles) {
      const int width = b_.width(block.cols.begin + c);
      const std::int64_t rows = std::min(count * kTile, block.rows.size() - r);
      const std::int64_t cols = std::min<std::int64_t>(width, block.cols.size() - c);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < cols; ++j) {
          float& sum = tiles[i / kTile * kSlot + i % kTile * width + j];
          sum = (block.first() ? 0.0f : sum) + product[(r + i) * ld + c + j];
        }
    });
  }

  // work(r, count, c, tiles) for every panel of B and `count` panels of A below each other, alike
  // in width, their slots of sums side by side; what is finished goes to the sink.
  template <class Work>
  void each_run(const Block& block, Work work) const {
    alignas(64) float scratch[kRun * kSlot];
    float* slot = block.sums;
    for (std::int64_t c = 0; c < block.cols.size(); c += kTile)
      for (std::int64_t r = 0; r < block.rows.size();) {
        const std::int64_t left = block.rows.size() - r;
        const std::int64_t whole = left / kTile + (left % kTile > kAmxTile);
        const std::int64_t count = std::clamp<std::int64_t>(whole, 1, kRun);
        float* const tiles = block.sums ? slot : scratch;
        work(r, count, c, tiles);
        if (block.depths.end == depth_) store(block, r, count, c, tiles);
        slot += count * kSlot;
        r += count * kTile;
      }
  }

  void store(const Block& block, std::int64_t r, std::int64_t count, std::int64_t c,
             const float* tiles) const {
    const int width = b_.width(block.cols.begin + c);
    const std::int64_t cols = std::min<std::int64_t>(width, block.cols.size() - c);
    for (std::int64_t t = 0; t < count; ++t, r += kTile, tiles += kSlot)
      sink_.store(sink_.context, tiles, width, block.rows.begin + r,
                  std::min<std::int64_t>(kTile, block.rows.size() - r), block.cols.begin + c, cols);
  }

  Plan plan_;
  std::int64_t depth_;
  Sink<float> sink_;
  Operand a_, b_;
  const Operand &shared_, &private_;
};

bool request_tiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr int kRequestPermission = 0x1023,
                kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool amx_ready() {
  static const bool ready = active_isa() == Isa::amx && request_tiles();
  return ready;
}

int amx_parts() { return 3 - static_cast<int>(matmul_precision()); }

// What an element costs to split must be earned back by the products it takes part in: at 128^3, 64
// of them, the FMAs were still 10 % faster.
bool amx_pays(std::int64_t m, std::int64_t n, std::int64_t k) {
  const double uses = static_cast<double>(m) * static_cast<double>(n) / static_cast<double>(m + n);
  return uses >= (matmul_precision() == MatmulPrecision::highest ? 72 : 24) && k >= kAmxDepth;
}

std::unique_ptr<const AmxPanels> amx_split(const Source<float>& right, std::int64_t rows,
                                           std::int64_t depth) {
  const int parts = amx_parts();
  const Operand operand({right.pack, right.context}, rows, false, parts);
  const std::int64_t kc = depth_block(depth), count = ceil_div(rows, kTile);
  const std::int64_t blocks = ceil_div(depth, kc), panel = operand.panel_items(kTile, kc);
  std::unique_ptr<AmxPanels> split(new AmxPanels{parts, kc, count,
                                                 Workspace<std::uint16_t>(blocks * count * panel),
                                                 Workspace<Magnitudes>(blocks * count)});
  parallel_for(blocks * count, grain_for(8 * kc * kTile), [&](std::int64_t i, std::int64_t end) {
    for (; i < end; ++i) {
      split->seen[i] = {};
      operand.pack(split->items.data() + i * panel, i % count * kTile,
                   cut(i / count * kc, kc, depth), split->seen[i]);
    }
  });
  return split;
}

void amx_gemm(const Problem<float>& problem) {
  Engine(problem, make_plan(problem.m, problem.n, problem.k)).run();
}

}  // namespace pyfast::gemm
