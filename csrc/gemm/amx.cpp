#include "gemm/amx.h"

#include "core/isa.h"
#include "core/precision.h"
#include "gemm/amx_engine.h"
#include "gemm/amx_operand.h"
#include "gemm/amx_plan.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pyfast::gemm {

namespace {

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

void amx_gemm(const Problem<float>& problem) {
  const std::int64_t m = problem.m, n = problem.n, k = problem.k;
  const int parts = amx_parts();
  if (parts == 3) {
    DigitOperand a(problem.a, m, true, k), b(problem.b, n, false, k);
    const AmxPlan plan = amx_plan(m, n, k, DigitOperand::format());
    if (const int products = amx_digit_products(a.spread(), b.spread(), plan.kc)) {
      a.set_products(products);
      return AmxEngine<DigitOperand>(problem, plan, a, b).run();
    }
  }
  const PartOperand a(problem.a, m, true, parts), b(problem.b, n, false, parts);
  AmxEngine<PartOperand>(problem, amx_plan(m, n, k, PartOperand::format(parts)), a, b).run();
}

}  // namespace pyfast::gemm
