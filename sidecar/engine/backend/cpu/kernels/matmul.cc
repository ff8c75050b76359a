// y = W x for one or several matrices over the same activations: cuts the work into tasks and puts each strip
// of panels through the product that its format and the precision call for.
#include <cstdint>

#include "bf16_codes.h"
#include "float_strip.h"
#include "gelu.h"
#include "int8_block.h"
#include "int8_products.h"
#include "kernels.h"
#include "matrix_format.h"
#include "round_block.h"
#include "strip.h"

namespace gs::GS_ISA {
namespace {

// Panels in one call of a product, and so the width of a strip of results in scratch.
constexpr int kMaxStrip = kStripPanels > kFloatPanels ? kStripPanels : kFloatPanels;
constexpr int64_t kOutFloats = kMaxStrip * kStripStride;
static_assert(kTileColumns == 2 * kPanelRows);
static_assert((kOutFloats + kFloatPanels * kFloatColumns * kPanelRows) * sizeof(float) <= kScratchBytes);

// Passes this short read for longer than they compute.
constexpr int64_t kFewTokensAtMost = 8;

// Weights read by one task of few tokens, or one strip if that is more: a microsecond or two, which dwarfs
// the hand-over (some 10 ns, as a worker's tasks are consecutive) and is all that another waits for at the
// end.
constexpr int64_t kTaskBytes = 32 << 10;

// Panels in one task: whole strips; of many tokens, a strip is work enough.
int64_t panels_per_task(const MatmulArgs& args, const PackedMatrix& weight) {
  if (args.tokens > kFewTokensAtMost) return kMaxStrip;
  const int64_t strip = args.int8 && is_quantized(weight.format) ? kStripPanels : kFloatPanels;
  const int64_t strips = kTaskBytes / (strip * panel_bytes(weight.format, args.columns));
  return strip * (strips < 1 ? 1 : strips);
}

int64_t target_tasks(const MatmulArgs& args, const PackedMatrix& weight) {
  const int64_t step = panels_per_task(args, weight);
  return (panel_count(weight.rows) + step - 1) / step;
}

int64_t block_tasks(const MatmulArgs& args) {
  int64_t tasks = 0;
  for (int64_t i = 0; i < args.target_count; i++) tasks += target_tasks(args, args.targets[i].weight);
  return tasks;
}

// Of activations rounded to int8 or to BF16.
using Int8Strip = void (*)(const uint8_t* const*, int, const TokenBlock&, float*);

template <bool bf16, MatrixFormat format>
Int8Strip coded_strip() {
#if GS_HAS_BF16_KERNELS
  if constexpr (bf16) return bf16_strip<format>;
#endif
  return int8_strip<format>;
}

template <bool bf16>
Int8Strip coded_strip_of(MatrixFormat format) {
  switch (format) {
    case MatrixFormat::kQ4_0:
      return coded_strip<bf16, MatrixFormat::kQ4_0>();
    case MatrixFormat::kQ4_1:
      return coded_strip<bf16, MatrixFormat::kQ4_1>();
    case MatrixFormat::kQ5_0:
      return coded_strip<bf16, MatrixFormat::kQ5_0>();
    case MatrixFormat::kQ5_1:
      return coded_strip<bf16, MatrixFormat::kQ5_1>();
    case MatrixFormat::kQ8_0:
      return coded_strip<bf16, MatrixFormat::kQ8_0>();
    case MatrixFormat::kQ4_K:
      return coded_strip<bf16, MatrixFormat::kQ4_K>();
    case MatrixFormat::kQ5_K:
      return coded_strip<bf16, MatrixFormat::kQ5_K>();
    case MatrixFormat::kQ6_K:
      return coded_strip<bf16, MatrixFormat::kQ6_K>();
    case MatrixFormat::kF32:
    case MatrixFormat::kF16:
    case MatrixFormat::kBF16:
    case MatrixFormat::kShadow:
      break;
  }
  return nullptr;
}

Int8Strip coded_strip_of(MatrixFormat format, const QuantizedActivations& acts) {
  return acts.bf16 == nullptr ? coded_strip_of<false>(format) : coded_strip_of<true>(format);
}

template <MatrixFormat format>
bool float_few(const uint8_t* const* panels, int count, const float* x, int64_t tokens, int64_t columns,
               float* out) {
  if (count != kFloatPanels) return false;
  if (tokens == 1) float_direct<format, kFloatPanels, 1>(panels, x, columns, out);
  if (tokens == 2) float_direct<format, kFloatPanels, 2>(panels, x, columns, out);
  if (tokens == 3) float_direct<format, kFloatPanels, 3>(panels, x, columns, out);
  if (tokens == 4) float_direct<format, kFloatPanels, 4>(panels, x, columns, out);
  return tokens <= 4;
}

void float_strip(MatrixFormat format, const uint8_t* const* panels, int count, const float* x, int64_t tokens,
                 int64_t columns, float* strip, float* out) {
  if (format == MatrixFormat::kF16 && float_few<MatrixFormat::kF16>(panels, count, x, tokens, columns, out))
    return;
  if (format == MatrixFormat::kBF16 && float_few<MatrixFormat::kBF16>(panels, count, x, tokens, columns, out))
    return;
  if (format == MatrixFormat::kF32 && float_few<MatrixFormat::kF32>(panels, count, x, tokens, columns, out))
    return;
  float_blocked(format, panels, count, x, tokens, columns, strip, out);
}

// Rows of a target ahead of the one written: each is in a page of its own, which no hardware prefetcher sees
// coming (3 % of a product over 1,152 columns).
constexpr int64_t kStoreAhead = 12;

// strip[panel][token][16] to rows of the target, leaving out a last panel's padding.
void store_strip(const float* strip, int64_t first_panel, int count, int64_t tokens, int64_t rows,
                 float* out) {
  for (int64_t t = 0; t < tokens; t++) {
    for (int p = 0; p < count; p++) {
      __builtin_prefetch(out + (t + kStoreAhead) * rows + (first_panel + p) * kPanelRows, 1);
    }
    for (int p = 0; p < count; p++) {
      const int64_t row = (first_panel + p) * kPanelRows;
      const float* from = strip + p * kStripStride + t * kPanelRows;
      if (rows - row >= kPanelRows) {
        __builtin_memcpy(out + t * rows + row, from, kPanelRows * sizeof(float));
      } else {
        __builtin_memcpy(out + t * rows + row, from, static_cast<size_t>(rows - row) * sizeof(float));
      }
    }
  }
}

TokenBlock token_block(const QuantizedActivations& acts, int64_t columns, int64_t first_token,
                       int64_t tokens) {
  const int64_t tiles = columns / kTileColumns, offset = first_token * tiles;
  return {acts.q + offset * kTileColumns,
          acts.scale + offset,
          acts.sum + offset,
          acts.first_sum + offset,
          acts.scaled_sum + offset,
          tokens,
          tiles,
          acts.bf16 == nullptr ? nullptr : acts.bf16 + offset * kTileColumns};
}

// The gated product: panels of both matrices whose rows make one block of 32 rounded values.
constexpr int kBlockPanels = kTileColumns / kPanelRows;

// Blocks of few tokens in a task: two at least, as the prefetchers lose a little whenever the task turns from
// one matrix to the other.
constexpr int64_t kFewestBlocks = 2, kMostBlocks = 16;
static_assert(2 * kMostBlocks * kBlockPanels * kStripStride * sizeof(float) <= kScratchBytes);

int64_t gated_blocks_per_task(const GatedMatmulArgs& args) {
  if (args.tokens > kFewTokensAtMost) return 1;
  const int64_t bytes = kBlockPanels * (panel_bytes(args.gate.format, args.columns) +
                                        panel_bytes(args.up.format, args.columns));
  const int64_t blocks = kTaskBytes / bytes;
  return blocks < kFewestBlocks ? kFewestBlocks : blocks < kMostBlocks ? blocks : kMostBlocks;
}

// The same 16 rows of both products, [gate, up][token][16]: as one strip of two panels, so that the results
// in the nearest cache are no more than those of any other product.
void pair_of_rows(const GatedMatmulArgs& args, const TokenBlock& tokens, int64_t panel, float* out) {
  const uint8_t* panels[] = {args.gate.panels + panel * panel_bytes(args.gate.format, args.columns),
                             args.up.panels + panel * panel_bytes(args.up.format, args.columns)};
  if (args.gate.format == args.up.format) {
    coded_strip_of(args.gate.format, args.acts)(panels, 2, tokens, out);
  } else {
    coded_strip_of(args.gate.format, args.acts)(panels, 1, tokens, out);
    coded_strip_of(args.up.format, args.acts)(panels + 1, 1, tokens, out + kStripStride);
  }
}

// gelu(gate) * up of one token's 16 rows.
void gate_rows(const float* gate, const float* up, float* out) {
  for (int i = 0; i < kPanelRows; i += kLanes) store(out + i, gelu_tanh(load(gate + i)) * load(up + i));
}

// Panels [first, last) of one matrix, one behind the other in `out`.
void run_of_panels(const PackedMatrix& matrix, Int8Strip product, const TokenBlock& tokens, int64_t first,
                   int64_t last, float* out) {
  const int64_t bytes = panel_bytes(matrix.format, tokens.tiles * kTileColumns);
  for (int64_t panel = first; panel < last; panel += kStripPanels, out += kStripPanels * kStripStride) {
    const int count = static_cast<int>(last - panel < kStripPanels ? last - panel : kStripPanels);
    const uint8_t* panels[kStripPanels];
    for (int p = 0; p < count; p++) panels[p] = matrix.panels + (panel + p) * bytes;
    product(panels, count, tokens, out);
  }
}

// Few tokens: all of the task's panels of one matrix, then all of the other, since reading is the bill.
void gated_few(const GatedMatmulArgs& args, const TokenBlock& block, int64_t first, int64_t end,
               float* gate) {
  float* up = gate + (end - first) * kBlockPanels * kStripStride;
  run_of_panels(args.gate, coded_strip_of(args.gate.format, args.acts), block, first * kBlockPanels,
                end * kBlockPanels, gate);
  run_of_panels(args.up, coded_strip_of(args.up.format, args.acts), block, first * kBlockPanels,
                end * kBlockPanels, up);
  for (int64_t i = first; i < end; i++) {
    for (int64_t t = 0; t < block.tokens; t++) {
      float values[kTileColumns];
      for (int p = 0; p < kBlockPanels; p++) {
        const int64_t at = ((i - first) * kBlockPanels + p) * kStripStride + t * kPanelRows;
        gate_rows(gate + at, up + at, values + p * kPanelRows);
      }
      round_block(values, args.out, i * block.tokens + t);
    }
  }
}

}  // namespace

int64_t gated_matmul_tasks(const GatedMatmulArgs& args) {
  const int64_t blocks = args.gate.rows / kTileColumns, step = gated_blocks_per_task(args);
  return (args.tokens + kTokenBlock - 1) / kTokenBlock * ((blocks + step - 1) / step);
}

void gated_matmul(const GatedMatmulArgs& args, int64_t task, float* scratch) {
  const int64_t blocks = args.gate.rows / kTileColumns, step = gated_blocks_per_task(args);
  const int64_t pieces = (blocks + step - 1) / step;
  const int64_t first_token = task / pieces * kTokenBlock, first = task % pieces * step;
  const int64_t tokens = args.tokens - first_token < kTokenBlock ? args.tokens - first_token : kTokenBlock;
  const int64_t end = first + step < blocks ? first + step : blocks;
  const TokenBlock block = token_block(args.acts, args.columns, first_token, tokens);
  if (args.tokens <= kFewTokensAtMost) return gated_few(args, block, first, end, scratch);
  float* pair = scratch;
  float* gated = scratch + 2 * kStripStride;  // [token][16]
  for (int64_t i = first; i < end; i++) {
    pair_of_rows(args, block, i * kBlockPanels, pair);
    for (int64_t t = 0; t < tokens; t++)
      gate_rows(pair + t * kPanelRows, pair + kStripStride + t * kPanelRows, gated + t * kPanelRows);
    pair_of_rows(args, block, i * kBlockPanels + 1, pair);
    for (int64_t t = 0; t < tokens; t++) {
      float values[kTileColumns];
      __builtin_memcpy(values, gated + t * kPanelRows, kPanelRows * sizeof(float));
      gate_rows(pair + t * kPanelRows, pair + kStripStride + t * kPanelRows, values + kPanelRows);
      round_block(values, args.out, first_token * blocks + i * tokens + t);
    }
  }
}

int64_t panels_tasks(const PanelsArgs& args) { return (args.panel_count + kMaxStrip - 1) / kMaxStrip; }

void panels(const PanelsArgs& args, int64_t task, float* scratch) {
  const PackedMatrix& weight = args.weight;
  const TokenBlock block = token_block(args.acts, weight.columns, 0, args.tokens);
  const Int8Strip int8 = args.int8 ? coded_strip_of(weight.format, args.acts) : nullptr;
  const int64_t bytes = panel_bytes(weight.format, weight.columns), end = (task + 1) * kMaxStrip;
  const int width = int8 != nullptr ? kStripPanels : kFloatPanels;
  const int64_t last = end < args.panel_count ? end : args.panel_count;
  for (int64_t first = task * kMaxStrip; first < last; first += width) {
    const int count = static_cast<int>(last - first < width ? last - first : width);
    const uint8_t* strip[kMaxStrip];
    for (int p = 0; p < count; p++) {
      const int64_t index = args.panels == nullptr ? first + p : args.panels[first + p];
      strip[p] = weight.panels + index * bytes;
    }
    if (int8 != nullptr) {
      int8(strip, count, block, scratch);
    } else {
      float_strip(weight.format, strip, count, args.x, args.tokens, weight.columns, scratch + kOutFloats,
                  scratch);
    }
    const int64_t floats = args.tokens * kPanelRows;
    for (int p = 0; p < count; p++) {
      __builtin_memcpy(args.out + (first + p) * floats, scratch + p * kStripStride,
                       static_cast<size_t>(floats) * sizeof(float));
    }
  }
}

int64_t matmul_tasks(const MatmulArgs& args) {
  return (args.tokens + kTokenBlock - 1) / kTokenBlock * block_tasks(args);
}

// Tasks run through every panel for one block of tokens before the next block, so the activations stay in the
// caches; the weights of one matrix mostly stay in the last level between blocks.
void matmul(const MatmulArgs& args, int64_t task, float* scratch) {
  const int64_t per_block = block_tasks(args), first_token = task / per_block * kTokenBlock;
  int64_t piece = task % per_block;
  const MatmulTarget* target = args.targets;
  for (; piece >= target_tasks(args, target->weight); target++) piece -= target_tasks(args, target->weight);

  const PackedMatrix& weight = target->weight;
  const int64_t tokens = args.tokens - first_token < kTokenBlock ? args.tokens - first_token : kTokenBlock;
  const TokenBlock block = token_block(args.acts, args.columns, first_token, tokens);
  const Int8Strip int8 = args.int8 ? coded_strip_of(weight.format, args.acts) : nullptr;
  const int64_t bytes = panel_bytes(weight.format, args.columns), step = panels_per_task(args, weight);
  const int64_t end =
      (piece + 1) * step < panel_count(weight.rows) ? (piece + 1) * step : panel_count(weight.rows);
  const int width = int8 != nullptr ? kStripPanels : kFloatPanels;
  for (int64_t first = piece * step; first < end; first += width) {
    const int count = static_cast<int>(end - first < width ? end - first : width);
    const uint8_t* panels[kMaxStrip];
    for (int p = 0; p < count; p++) panels[p] = weight.panels + (first + p) * bytes;
    if (int8 != nullptr) {
      int8(panels, count, block, scratch);
    } else {
      float_strip(weight.format, panels, count, args.x + first_token * args.columns, tokens, args.columns,
                  scratch + kOutFloats, scratch);
    }
    store_strip(scratch, first, count, tokens, weight.rows, target->out + first_token * weight.rows);
  }
}

}  // namespace gs::GS_ISA
