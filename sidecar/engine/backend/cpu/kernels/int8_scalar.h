// The int8 product in plain C++: the reference for every other instruction set, and the fallback.
#pragma once
#include <cstdint>

#include "int8_block.h"
#include "strip.h"
#include "tile_codes.h"

namespace gs::GS_ISA {

// Panels that one call likes to take: none is read twice here.
constexpr int kStripPanels = 1;

// Adds one tile to one output, in the order that every instruction set keeps.
template <ScaleKind kind>
float accumulate(float acc, const int32_t (&dot)[2], const TileScales& scales, int lane, float scale,
                 float scaled_sum) {
  if constexpr (kind == ScaleKind::kKSigned) {
    acc = __builtin_fmaf(static_cast<float>(dot[0]), scales.first[lane] * scale, acc);
    return __builtin_fmaf(static_cast<float>(dot[1]), scales.second[lane] * scale, acc);
  }
  acc = __builtin_fmaf(static_cast<float>(dot[0] + dot[1]), scales.first[lane] * scale, acc);
  if constexpr (kind == ScaleKind::kF16) return acc;
  return __builtin_fmaf(scales.minimum[lane], scaled_sum, acc);
}

template <MatrixFormat format>
void int8_strip(const uint8_t* const* panels, int panel_count, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  for (int p = 0; p < panel_count; p++) {
    for (int64_t i = 0; i < block.tokens; i++) {
      for (int lane = 0; lane < kPanelRows; lane++) out[p * kStripStride + i * kPanelRows + lane] = 0.0f;
    }
    for (int64_t tile = 0; tile < block.tiles; tile++) {
      const TileAddress at = tile_address(quant, panels[p], tile);
      TileScales scales;
      TileCodes codes;
      load_scales(quant, at, scales);
      load_codes(quant, at.tile, codes);
      for (int64_t token = 0; token < block.tokens; token++) {
        const int64_t index = tile * block.tokens + token;
        const int8_t* q = block.q + index * kTileColumns;
        float* acc = out + p * kStripStride + token * kPanelRows;
        for (int lane = 0; lane < kPanelRows; lane++) {
          int32_t dot[2] = {0, 0};
          for (int column = 0; column < kTileColumns; column++) {
            const int code = codes.code[column / 4][4 * lane + column % 4] - quant.zero;
            dot[column / 16] += code * q[column];
          }
          acc[lane] = accumulate<quant.scales>(acc[lane], dot, scales, lane, block.scale[index],
                                               block.scaled_sum[index]);
        }
      }
    }
  }
}

}  // namespace gs::GS_ISA
