#include "gemm/amx_operand.h"

namespace pyfast::gemm {

namespace {

DigitSpread join(DigitSpread a, const DigitSpread& b) {
  a.sum += b.sum;
  a.most = std::max(a.most, b.most);
  a.rows += b.rows;
  a.filled += b.filled;
  a.least = std::min(a.least, b.least);
  a.largest = std::max(a.largest, b.largest);
  a.smallest = std::min(a.smallest, b.smallest);
  a.exact = a.exact && b.exact;
  return a;
}

// along(rows, stride) or across(source, stride), where an operand's rows and depths lie; those of
// an operand that lies nowhere are gathered first.
template <class Along, class Across>
void read(const Source<float>& source, std::int64_t row, int rows, Range depths, Along along,
          Across across) {
  if (source.along) return along(source.along + row * source.stride + depths.begin, source.stride);
  if (source.across)
    return across(source.across + row + depths.begin * source.stride, source.stride);
  const Workspace<float> gathered(kAmxPanel * depths.size());
  source.pack(source.context, gathered.data(), row, rows, kAmxPanel, depths.begin, depths.size());
  across(gathered.data(), std::int64_t{kAmxPanel});
}

std::unique_ptr<DigitLook> look_at(const Source<float>& source, std::int64_t size,
                                   std::int64_t depth) {
  const std::int64_t kc = DigitOperand::format().depth_block(depth),
                     count = ceil_div(size, kAmxPanel);
  const std::int64_t blocks = ceil_div(depth, kc);
  std::unique_ptr<DigitLook> look(
      new DigitLook{kc, count * kAmxPanel, Workspace<float>(blocks * count * kAmxPanel), {}});
  const Workspace<DigitSpread> each(blocks * count);
  parallel_for(
      blocks * count, grain_for(2 * kc * kAmxPanel), [&](std::int64_t i, std::int64_t end) {
        for (; i < end; ++i) {
          const std::int64_t row = i % count * kAmxPanel;
          const Range depths = cut(i / count * kc, kc, depth);
          const int rows = static_cast<int>(std::min<std::int64_t>(kAmxPanel, size - row));
          float* const units = look->units.data() + i * kAmxPanel;
          each[i] = {};
          read(
              source, row, rows, depths,
              [&](const float* from, std::int64_t stride) {
                amx::kernels().look_along(units, from, stride, rows, depths.size(), each[i]);
              },
              [&](const float* from, std::int64_t stride) {
                amx::kernels().look_across(units, from, stride, rows, depths.size(), each[i]);
              });
        }
      });
  for (std::int64_t i = 0; i < blocks * count; ++i) look->spread = join(look->spread, each[i]);
  return look;
}

}  // namespace

// ---- parts

PartOperand::PartOperand(const Source<float>& source, std::int64_t size, bool left, int parts)
    : AmxRows(source, size, left), parts_(parts) {
  if (left || !source.split) return;
  const AmxPanels* const split = source.split(source.context);
  if (split->parts == parts) split_ = split;  // else the precision has changed since
}

void PartOperand::pack(Item* panel, std::int64_t row, Range depths, Seen& seen) const {
  const int wide = width(row), rows = rows_at(row);
  const auto& kernels = amx::kernels();
  const auto split = left_ ? kernels.split_left : kernels.split_right;
  const auto along = left_ ? kernels.split_rows : kernels.split_turned;
  if (source_.along)
    return along(panel, source_.along + row * source_.stride + depths.begin, source_.stride, rows,
                 wide, depths.size(), parts_, seen);
  if (source_.across)
    return split(panel, source_.across + row + depths.begin * source_.stride, source_.stride, rows,
                 wide, depths.size(), parts_, seen);
  constexpr std::int64_t kStretch = 128;
  alignas(64) float buffer[kAmxPanel * kStretch];
  for (std::int64_t k = depths.begin; k < depths.end; k += kStretch) {
    const std::int64_t depth = std::min(kStretch, depths.end - k);
    source_.pack(source_.context, buffer, row, rows, wide, k, depth);
    split(panel, buffer, wide, wide, wide, depth, parts_, seen);
    panel += wide * parts_ * round_up(depth, kAmxDepth);
  }
}

AmxPacked<std::uint16_t, Magnitudes> PartOperand::packed(Range rows, std::int64_t k) const {
  const std::int64_t at = k / split_->depth_block * split_->count + rows.begin / kAmxPanel;
  AmxPacked<Item, Seen> panels{split_->items.data() + at * panel_items(split_->depth_block), {}};
  for (std::int64_t p = 0; p < ceil_div(rows.size(), kAmxPanel); ++p)
    panels.seen = gemm::join(panels.seen, split_->seen[at + p]);
  return panels;
}

void PartOperand::multiply(const PartOperand& a, const PartOperand& b, std::int64_t kc,
                           const AmxRun<Item>& run) {
  const int a_tiles = a.width(run.row) / kAmxTile, b_tiles = b.width(run.col) / kAmxTile;
  amx::kernels().multiply_row(
      ceil_div(run.depths.size(), kAmxDepth), AmxOperand::panel(run.a, a_tiles, a.parts_), a_tiles,
      2 * a.panel_items(kc), AmxOperand::panel(run.b, b_tiles, b.parts_), b_tiles, 0, a.parts_,
      run.count, run.tiles, kAmxSlot, run.accumulate, run.ahead, run.bytes);
}

// ---- digits

DigitOperand::DigitOperand(const Source<float>& source, std::int64_t size, bool left,
                           std::int64_t depth)
    : AmxRows(source, size, left) {
  if (!left && source.digits)
    split_ = source.digits(source.context);
  else
    own_ = look_at(source, size, depth);
}

void DigitOperand::pack(Item* panel, std::int64_t row, Range depths, Seen&) const {
  const int wide = width(row), rows = rows_at(row);
  const float* const scale = units(row, depths.begin);
  read(
      source_, row, rows, depths,
      [&](const float* from, std::int64_t stride) {
        amx::kernels().digits_along(panel, from, stride, rows, wide, depths.size(), scale, left_);
      },
      [&](const float* from, std::int64_t stride) {
        amx::kernels().digits_across(panel, from, stride, rows, wide, depths.size(), scale, left_);
      });
}

AmxPacked<std::int8_t, DigitOperand::Seen> DigitOperand::packed(Range rows, std::int64_t k) const {
  const std::int64_t kc = split_->look->depth_block;
  const std::int64_t at = (k / kc * split_->look->rows + rows.begin) / kAmxPanel;
  return {split_->items.data() + at * panel_items(kc), {}};
}

void DigitOperand::multiply(const DigitOperand& a, const DigitOperand& b, std::int64_t kc,
                            const AmxRun<Item>& run) {
  amx::kernels().multiply_digits(ceil_div(run.depths.size(), kAmxDigitDepth), run.a,
                                 a.units(run.row, run.depths.begin), a.width(run.row) / kAmxTile,
                                 a.panel_items(kc), run.b, b.units(run.col, run.depths.begin),
                                 b.width(run.col) / kAmxTile, a.products_, run.count, run.tiles,
                                 kAmxSlot, run.accumulate, run.ahead, run.bytes);
}

// ---- packed once

namespace {

// pack(panel, row, depths, i) for every panel i, depth block after depth block.
template <class Pack>
void each_panel(std::int64_t kc, std::int64_t count, std::int64_t depth, Pack pack) {
  parallel_for(ceil_div(depth, kc) * count, grain_for(8 * kc * kAmxPanel),
               [&](std::int64_t i, std::int64_t end) {
                 for (; i < end; ++i)
                   pack(i, i % count * kAmxPanel, cut(i / count * kc, kc, depth));
               });
}

}  // namespace

std::unique_ptr<const AmxPanels> amx_split(const Source<float>& right, std::int64_t rows,
                                           std::int64_t depth) {
  const int parts = amx_parts();
  const PartOperand operand({right.pack, right.context}, rows, false, parts);
  const std::int64_t kc = PartOperand::format(parts).depth_block(depth);
  const std::int64_t count = ceil_div(rows, kAmxPanel), panel = operand.panel_items(kc);
  const std::int64_t panels = ceil_div(depth, kc) * count;
  std::unique_ptr<AmxPanels> split(new AmxPanels{
      parts, kc, count, Workspace<std::uint16_t>(panels * panel), Workspace<Magnitudes>(panels)});
  each_panel(kc, count, depth, [&](std::int64_t i, std::int64_t row, Range depths) {
    split->seen[i] = {};
    operand.pack(split->items.data() + i * panel, row, depths, split->seen[i]);
  });
  return split;
}

std::unique_ptr<const AmxDigits> amx_digits(const Source<float>& right, std::int64_t rows,
                                            std::int64_t depth) {
  DigitOperand operand({right.pack, right.context}, rows, false, depth);
  const std::int64_t kc = DigitOperand::format().depth_block(depth);
  const std::int64_t count = ceil_div(rows, kAmxPanel), panel = operand.panel_items(kc);
  Workspace<std::int8_t> items(ceil_div(depth, kc) * count * panel);
  each_panel(kc, count, depth, [&](std::int64_t i, std::int64_t row, Range depths) {
    DigitOperand::Seen seen;
    operand.pack(items.data() + i * panel, row, depths, seen);
  });
  return std::unique_ptr<const AmxDigits>(new AmxDigits{std::move(items), operand.take_look()});
}

}  // namespace pyfast::gemm
