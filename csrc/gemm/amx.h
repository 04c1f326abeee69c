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

inline Magnitudes join(Magnitudes a, const Magnitudes& b) {
  a.largest = std::max(a.largest, b.largest);
  a.smallest = std::min(a.smallest, b.smallest);
  return a;
}

// Parts to split into, by matmul_precision().
int amx_parts();

// A right-hand operand split once: its depth block after depth block, each as all its panels of 32
// rows, and what was seen of each panel.
struct AmxPanels {
  int parts;
  std::int64_t depth_block, count;  // count: panels of a depth block
  Workspace<std::uint16_t> items;
  Workspace<Magnitudes> seen;
};
std::unique_ptr<const AmxPanels> amx_split(const Source<float>& right, std::int64_t rows,
                                           std::int64_t depth);

// What the first digit of every row is worth, depth block after depth block, and of all of them
// together how exact digits are.
struct DigitLook {
  std::int64_t depth_block, rows;  // rows: a multiple of 32
  Workspace<float> units;
  DigitSpread spread;

  const float* at(std::int64_t row, std::int64_t k) const {
    return units.data() + k / depth_block * rows + row;
  }
};
// The same operand in digits.
struct AmxDigits {
  Workspace<std::int8_t> items;
  std::unique_ptr<const DigitLook> look;
};
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
