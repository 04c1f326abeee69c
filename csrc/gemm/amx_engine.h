// The loops around the tiles' kernels, for either kind of panels: see amx_plan.h for what is cut
// how.
#pragma once

#include <algorithm>
#include <utility>

#include "core/memory.h"
#include "core/parallel.h"
#include "gemm/amx_operand.h"
#include "gemm/gemm.h"
#include "gemm/kernel.h"

namespace pyfast::gemm {

// An operand from a row and a depth on.
struct Shifted {
  const Source<float>& source;
  std::int64_t row0, k0;
  void pack(float* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const {
    source.pack(source.context, panel, row0 + row, rows, tile, k0 + k, depth);
  }
  void lies(Source<float>& s) const {
    s.stride = source.stride;
    if (source.along) s.along = source.along + row0 * s.stride + k0;
    if (source.across) s.across = source.across + row0 + k0 * s.stride;
  }
};

template <class Format>
class AmxEngine {
 public:
  using Side = AmxSide<Format>;

  AmxEngine(const Problem<float>& problem, const Format& format, const Side& a, const Side& b)
      : format_(format),
        plan_(amx_plan(problem.m, problem.n, problem.k, format.depths())),
        depth_(problem.k),
        sink_(problem.c),
        a_(a),
        b_(b),
        shared_(plan_.share_left ? a_ : b_),
        private_(plan_.share_left ? b_ : a_) {}

  // False, and nothing is done, if the shared operand does not suit the format.
  bool run() const {
    for (std::int64_t s = 0; s < shared_.size(); s += plan_.shared_block)
      for (std::int64_t p = 0; p < private_.size(); p += plan_.private_pass)
        if (!run_pass(cut(s, plan_.shared_block, shared_.size()),
                      cut(p, plan_.private_pass, private_.size())))
          return false;
    return true;
  }

 private:
  using Item = typename Format::Item;
  using Seen = typename Format::Seen;
  using Panels = AmxPacked<Format>;

  // Panels of A in a row of tile products: each tile's sums are added up during the next one's, and
  // the row's sums still lie in L1 when they go to the sink.
  static constexpr std::int64_t kRun = 8;

  // The packed shared block: depth block after depth block, each as all its panels, and what
  // was seen of each depth block.
  struct Packed {
    Range rows, depths;
    Workspace<Item> items;
    Workspace<Seen> seen;
  };

  std::int64_t rounded(std::int64_t rows) const { return round_up(rows, kAmxPanel); }
  std::int64_t slots(Range shared) const {
    return rounded(plan_.private_block) * rounded(shared.size());
  }
  // Sums of one chunk: of the groups so far, and of the group at hand.
  std::int64_t chunk_sums(Range shared) const {
    return depth_ > plan_.group ? 2 * slots(shared) : slots(shared);
  }

  bool run_pass(Range shared, Range rows) const {
    const std::int64_t chunks = ceil_div(rows.size(), plan_.private_block);
    const bool held = depth_ > plan_.ks, first = shared.begin == 0 && rows.begin == 0;
    const Workspace<float> sums(held ? chunks * chunk_sums(shared) : 0);
    for (std::int64_t k = 0; k < depth_; k += plan_.ks) {
      const Packed packed = pack_shared(shared, cut(k, plan_.ks, depth_));
      if (k == 0 && first && format_.hopeless(shared_panels(packed, 0).seen, plan_.kc))
        return false;
      parallel_for(chunks, 1, [&](std::int64_t chunk, std::int64_t) {
        run_chunk(packed,
                  cut(rows.begin + chunk * plan_.private_block, plan_.private_block, rows.end),
                  held ? sums.data() + chunk * chunk_sums(shared) : nullptr);
      });
    }
    return true;
  }

  Packed pack_shared(Range rows, Range depths) const {
    if (shared_.is_packed()) return {rows, depths, {}, {}};
    const std::int64_t panels = ceil_div(rows.size(), kAmxPanel);
    const std::int64_t blocks = ceil_div(depths.size(), plan_.kc);
    const std::int64_t block = shared_.panel_items(plan_.kc);
    Packed packed{rows, depths, Workspace<Item>(blocks * panels * block), Workspace<Seen>(blocks)};
    const Workspace<Seen> each(blocks * panels);
    parallel_for(blocks * panels, grain_for(8 * plan_.kc * kAmxPanel),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const Range now =
                         cut(depths.begin + i / panels * plan_.kc, plan_.kc, depths.end);
                     each[i] = {};
                     shared_.pack(packed.items.data() + i * block,
                                  rows.begin + i % panels * kAmxPanel, now, each[i]);
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
    const std::int64_t panel = shared_.panel_items(plan_.kc);
    if (shared_.is_packed()) return shared_.packed(packed.rows, k);
    const std::int64_t block = (k - packed.depths.begin) / plan_.kc;
    return {packed.items.data() + block * ceil_div(packed.rows.size(), kAmxPanel) * panel,
            packed.seen[block]};
  }
  Panels private_panels(Range rows, Range depths, Item* scratch) const {
    const std::int64_t panel = private_.panel_items(plan_.kc);
    if (private_.is_packed()) return private_.packed(rows, depths.begin);
    Panels panels{scratch, {}};
    for (std::int64_t p = 0; p < ceil_div(rows.size(), kAmxPanel); ++p)
      private_.pack(scratch + p * panel, rows.begin + p * kAmxPanel, depths, panels.seen);
    return panels;
  }

  void run_chunk(const Packed& packed, Range mine, float* sums) const {
    const std::int64_t room = ceil_div(mine.size(), kAmxPanel) * private_.panel_items(plan_.kc);
    const Workspace<Item> scratch(private_.is_packed() ? 0 : room);
    const bool blocks = !sums && packed.depths.size() > plan_.kc;
    const Workspace<float> own(blocks ? chunk_sums(packed.rows) : 0);
    if (blocks) sums = own.data();
    const AmxTiles tiles;
    for (std::int64_t k = packed.depths.begin; k < packed.depths.end; k += plan_.kc) {
      const Range now = cut(k, plan_.kc, packed.depths.end);
      const Panels shared = shared_panels(packed, k);
      const Panels others = private_panels(mine, now, scratch.data());
      const bool later = k >= plan_.group;
      const std::int64_t before = later ? slots(packed.rows) : 0;
      Block b{packed.rows,
              mine,
              now,
              shared.items,
              others.items,
              0,
              later ? sums + before : sums,
              -before,
              k % plan_.group == 0,
              now.end == depth_ || now.end % plan_.group == 0};
      if (!plan_.share_left) {
        std::swap(b.rows, b.cols);
        std::swap(b.a, b.b);
      }
      b.products = plan_.share_left ? format_.products(shared.seen, others.seen, now.size())
                                    : format_.products(others.seen, shared.seen, now.size());
      if (b.products > 0)
        multiply(b);
      else
        multiply_otherwise(b);
    }
  }

  // One depth block of a piece of C: rows x cols.
  struct Block {
    Range rows, cols, depths;
    const Item* a;
    const Item* b;
    int products;
    float* sums;         // a slot of 32 x 32 per pair of panels, or null
    std::int64_t total;  // from a slot to that of the groups before this one; 0 if there are none
    bool first, ends;    // of its group
  };

  // While A's panels pass by a panel of B, the next panel of B comes into L2.
  void multiply(const Block& block) const {
    const std::int64_t a_panel = a_.panel_items(plan_.kc), b_panel = b_.panel_items(plan_.kc);
    const std::int64_t bytes = b_panel * static_cast<std::int64_t>(sizeof(Item));
    const std::int64_t share = round_up(bytes / ceil_div(block.rows.size(), kAmxPanel), 64);
    each_run(block, [&](std::int64_t r, std::int64_t count, std::int64_t c, float* tiles) {
      const Item* b = block.b + c / kAmxPanel * b_panel;
      const bool last = c + kAmxPanel >= block.cols.size();
      const auto ahead = r / kAmxPanel * share / static_cast<std::int64_t>(sizeof(Item));
      format_.multiply({block.depths.size(), block.products, a_.width(block.rows.begin + r),
                        b_.width(block.cols.begin + c), block.a + r / kAmxPanel * a_panel, b,
                        a_panel, count, tiles, !block.first, b + b_panel + ahead,
                        last ? 0 : count * share});
    });
  }

  void multiply_otherwise(const Block& block) const {
    const std::int64_t ld = block.cols.size();
    const Workspace<float> product(block.rows.size() * ld);
    const Shifted a{a_.source(), block.rows.begin, block.depths.begin};
    const Shifted b{b_.source(), block.cols.begin, block.depths.begin};
    Epilogue<float> plain;
    plain.c = product.data();
    plain.row_stride = ld;
    const MatrixSink<float> c(plain);
    format_.otherwise({block.rows.size(), ld, block.depths.size(), gemm::source<float>(a),
                       gemm::source<float>(b), gemm::sink<float>(c)});
    each_run(block, [&](std::int64_t r, std::int64_t count, std::int64_t c, float* tiles) {
      const int width = b_.width(block.cols.begin + c);
      const std::int64_t rows = std::min(count * kAmxPanel, block.rows.size() - r);
      const std::int64_t cols = std::min<std::int64_t>(width, block.cols.size() - c);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < cols; ++j) {
          float& sum = tiles[i / kAmxPanel * kAmxSlot + i % kAmxPanel * width + j];
          sum = (block.first ? 0.0f : sum) + product[(r + i) * ld + c + j];
        }
    });
  }

  // work(r, count, c, tiles) for every panel of B and `count` panels of A below each other, alike
  // in width, their slots of sums side by side; what is finished goes to the sink.
  template <class Work>
  void each_run(const Block& block, Work work) const {
    alignas(64) float scratch[kRun * kAmxSlot];
    float* slot = block.sums;
    for (std::int64_t c = 0; c < block.cols.size(); c += kAmxPanel)
      for (std::int64_t r = 0; r < block.rows.size();) {
        const std::int64_t left = block.rows.size() - r;
        const std::int64_t whole = left / kAmxPanel + (left % kAmxPanel > kAmxTile);
        const std::int64_t count = std::clamp<std::int64_t>(whole, 1, kRun);
        float* tiles = block.sums ? slot : scratch;
        work(r, count, c, tiles);
        if (block.total != 0 && block.ends) {
          gemm_kernels<float>().add(tiles + block.total, tiles, count * kAmxSlot);
          tiles += block.total;
        }
        if (block.depths.end == depth_) store(block, r, count, c, tiles);
        slot += count * kAmxSlot;
        r += count * kAmxPanel;
      }
  }

  void store(const Block& block, std::int64_t r, std::int64_t count, std::int64_t c,
             const float* tiles) const {
    const int width = b_.width(block.cols.begin + c);
    const std::int64_t cols = std::min<std::int64_t>(width, block.cols.size() - c);
    for (std::int64_t t = 0; t < count; ++t, r += kAmxPanel, tiles += kAmxSlot)
      sink_.store(sink_.context, tiles, width, block.rows.begin + r,
                  std::min<std::int64_t>(kAmxPanel, block.rows.size() - r), block.cols.begin + c,
                  cols);
  }

  Format format_;
  AmxPlan plan_;
  std::int64_t depth_;
  Sink<float> sink_;
  const Side &a_, &b_, &shared_, &private_;
};

}  // namespace pyfast::gemm
