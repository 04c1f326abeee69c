// Products on AMX tiles: the engine of gemm.h with other panels (see amx_kernel.h).
#pragma once

#include <cstdint>

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
  a.largest = a.largest > b.largest ? a.largest : b.largest;
  a.smallest = a.smallest < b.smallest ? a.smallest : b.smallest;
  return a;
}

// Parts to split into, by matmul_precision().
int amx_parts();

// Tiles are this thread's while it lives.
class AmxTiles {
 public:
  AmxTiles() { amx::kernels().begin(); }
  ~AmxTiles() { amx::kernels().end(); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
};

}  // namespace pyfast::gemm
