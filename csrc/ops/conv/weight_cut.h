// How the gradient of a weight is cut into items: some channels by some maps of a group, over a
// share of the stretches of the grid. By shapes alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/conv/band_plan.h"
#include "ops/conv/conv.h"

namespace pyfast {

class WeightCut {
 public:
  struct Item {
    std::int64_t group, c, o, split;  // first channel and map, of the group
  };
  struct Stretches {
    std::int64_t begin, end;
  };
  struct Block {
    std::int64_t channels, maps;  // room for so many
    std::int64_t bytes, cost;     // of an item's operands and sums; of all copying
  };

  // The cheapest blocks of at most `most` of c and of o pieces that fit in L2.
  // block(pieces of the channels, pieces of the maps)
  template <class Of>
  WeightCut(const ConvGeometry& g, std::int64_t c, std::int64_t o, std::int64_t most, Of block)
      : g_(g) {
    constexpr std::int64_t kItemBytes = 1536 << 10;
    std::int64_t best = -1;
    for (std::int64_t most_c = 1; most_c <= std::min(c, most); ++most_c)
      for (std::int64_t most_o = 1; most_o <= std::min(o, most); ++most_o) {
        const Block found = block(even_pieces(c, most_c), even_pieces(o, most_o));
        if (best >= 0 && (found.bytes > kItemBytes || found.cost >= best)) continue;
        best = found.cost;
        block_c_ = found.channels, block_o_ = found.maps;
      }
    c_blocks_ = ceil_div(g.channels, block_c_), o_blocks_ = ceil_div(g.maps, block_o_);
  }

  // Stretches are shared out side by side, and in rounds one after the other, between which signals
  // are looked for: of an item, after `most` products.
  void share(std::int64_t stretches, std::int64_t points, double most) {
    constexpr std::int64_t kItems = 8;  // that keep several threads busy
    stretches_ = stretches;
    splits_ = std::min(ceil_div(kItems, g_.groups * c_blocks_ * o_blocks_), stretches);
    const double products =
        static_cast<double>(block_sums() * stretches * points) / static_cast<double>(splits_);
    rounds_ = std::min(static_cast<std::int64_t>(products / most) + 1, share());
  }

  std::int64_t block_c() const { return block_c_; }  // channels and maps of an item
  std::int64_t block_o() const { return block_o_; }
  std::int64_t block_sums() const { return block_c_ * block_o_ * g_.taps(); }
  std::int64_t splits() const { return splits_; }
  std::int64_t rounds() const { return rounds_; }
  std::int64_t items() const { return g_.groups * c_blocks_ * o_blocks_ * splits_; }
  Item item(std::int64_t i) const {
    const std::int64_t split = i % splits_, o = i / splits_ % o_blocks_;
    const std::int64_t c = i / splits_ / o_blocks_ % c_blocks_;
    return {i / splits_ / o_blocks_ / c_blocks_, c * block_c_, o * block_o_, split};
  }
  std::int64_t channels(const Item& item) const { return std::min(block_c_, g_.channels - item.c); }
  std::int64_t maps(const Item& item) const { return std::min(block_o_, g_.maps - item.o); }
  // An item's share of a round: none, perhaps.
  Stretches stretches(const Item& item, std::int64_t round) const {
    const std::int64_t step = ceil_div(share(), rounds_), first = item.split * share();
    const std::int64_t last = std::min(first + share(), stretches_);
    const std::int64_t begin = std::min(first + round * step, last);
    return {begin, std::min(begin + step, last)};
  }

 private:
  std::int64_t share() const { return ceil_div(stretches_, splits_); }

  const ConvGeometry& g_;
  std::int64_t block_c_ = 0, block_o_ = 0, c_blocks_ = 0, o_blocks_ = 0;
  std::int64_t stretches_ = 0, splits_ = 0, rounds_ = 0;
};

}  // namespace pyfast
