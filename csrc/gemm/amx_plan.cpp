#include "gemm/amx_plan.h"

#include "gemm/plan.h"

namespace pyfast::gemm {

namespace {

constexpr std::int64_t kSharedDepth = 2304;  // beyond it, sums of a pass are held in memory
constexpr std::int64_t kLongDepth = 4096;
constexpr std::int64_t kSharedBytes = 16 << 20;
constexpr std::int64_t kPrivateBytes = 1 << 20;
constexpr std::int64_t kPassBytes = 4 << 20;
// 256 rows of A to a panel of B, which may come from L3: with 128, products took 7 to 12 % longer.
constexpr std::int64_t kChunks = 4, kWideRows = 1024;

// The size of equal pieces, multiples of `unit` and none above `limit`, that cover `total`.
std::int64_t even(std::int64_t total, std::int64_t limit, std::int64_t unit) {
  limit = std::max(limit / unit, std::int64_t{1}) * unit;
  return round_up(ceil_div(total, ceil_div(total, limit)), unit);
}

}  // namespace

std::int64_t AmxDepths::block(std::int64_t k) const {
  return even(k, k > kLongDepth ? of_long : most, step);
}

AmxPlan amx_plan(std::int64_t m, std::int64_t n, std::int64_t k, const AmxDepths& depths) {
  AmxPlan p{};
  p.share_left = m < n;
  const std::int64_t shared = p.share_left ? m : n, other = p.share_left ? n : m;
  p.kc = depths.block(k);
  p.group = group_depth(k, p.kc);
  p.ks = std::min(round_up(k, p.kc), std::max(kSharedDepth / p.kc, std::int64_t{1}) * p.kc);
  p.shared_block = even(shared, kSharedBytes / (p.ks * depths.bytes), kAmxPanel);
  const std::int64_t most = kPrivateBytes / (p.kc * depths.bytes);
  const double row_cost =
      static_cast<double>(p.shared_block) * static_cast<double>(std::min(k, p.ks));
  const std::int64_t least = static_cast<std::int64_t>(kMinChunk / row_cost) + 1;
  p.private_block = even(
      other, std::min(most, std::max(least, other / (other < kWideRows ? 2 : kChunks))), kAmxPanel);
  p.private_pass = other;
  if (k > p.ks) p.private_pass = even(other, kPassBytes / (4 * p.shared_block), p.private_block);
  return p;
}

}  // namespace pyfast::gemm
