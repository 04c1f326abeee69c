// Products on AMX tiles: the engine of gemm.h with other panels (see amx_kernel.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "core/memory.h"
#include "gemm/amx_kernel.h"
#include "gemm/gemm.h"

namespace pyfast::gemm {

// The processor has AMX, PYFAST_ISA allows it, and the system has granted this process the tiles,
// which is asked for once, here, at the first call.
bool amx_ready();

// Whether a product is large enough to gain by them.
bool amx_pays(std::int64_t m, std::int64_t n, std::int64_t k);

// C = A B at the precision that matmul_precision() asks for. Where the operands' magnitudes do not
// suit the tiles, a block is computed by FMA.
void amx_gemm(const Problem<float>& problem);
// The same, in bfloat16 parts only.
void amx_gemm_by_parts(const Problem<float>& problem);

inline Magnitudes join(Magnitudes a, const Magnitudes& b) {
  a.largest = std::max(a.largest, b.largest);
  a.smallest = std::min(a.smallest, b.smallest);
  return a;
}

inline DigitSpread join(DigitSpread a, const DigitSpread& b) {
  a.spread += b.spread;
  a.most = std::max(a.most, b.most);
  a.gap += b.gap;
  a.rows += b.rows;
  a.filled += b.filled;
  a.least = std::min(a.least, b.least);
  a.largest = std::max(a.largest, b.largest);
  a.smallest = std::min(a.smallest, b.smallest);
  a.brief = a.brief && b.brief;
  a.exact = a.exact && b.exact;
  return a;
}

// Parts to split into, by matmul_precision().
int amx_parts();

// A right-hand operand packed once: its depth block after depth block, each as all its panels of 32
// rows, and what was seen of each panel.
template <class Item, class Seen>
struct AmxSplit {
  int parts;                        // of numbers, or digits
  std::int64_t depth_block, count;  // count: panels of a depth block
  Workspace<Item> items;
  Workspace<Seen> seen;
};
struct AmxPanels : AmxSplit<std::uint16_t, Magnitudes> {};
struct AmxDigits : AmxSplit<std::int8_t, DigitSpread> {};
std::unique_ptr<const AmxPanels> amx_split(const Source<float>& right, std::int64_t rows,
                                           std::int64_t depth);
std::unique_ptr<const AmxDigits> amx_digits(const Source<float>& right, std::int64_t rows,
                                            std::int64_t depth);

// Tiles are this thread's while it lives.
class AmxTiles {
 public:
  AmxTiles() { amx::kernels().begin(); }
  ~AmxTiles() { amx::kernels().end(); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
};

}  // namespace pyfast::gemm
