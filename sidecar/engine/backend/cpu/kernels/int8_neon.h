// The int8 product with NEON's dot product (the contract is in int8_block.h).
//
// SDOT takes both operands signed, so codes have their zero point taken away when a tile is unpacked, a
// quarter panel (4 rows x 32 columns, 8 registers) at a time, and four activations are broadcast to all lanes
// by the lane form.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "int8_block.h"
#include "matrix_format.h"
#include "strip.h"
#include "tile_codes.h"

namespace gs::GS_ISA {

constexpr int kStripPanels = 2;
constexpr int kQuarterRows = 4;

// Vectors [4 * part, 4 * part + 4) of a quarter tile against 16 activations; exact.
template <int part>
inline int32x4_t dot(const int8x16_t (&codes)[8], int8x16_t x, int32x4_t acc) {
  acc = vdotq_laneq_s32(acc, codes[4 * part], x, 0);
  acc = vdotq_laneq_s32(acc, codes[4 * part + 1], x, 1);
  acc = vdotq_laneq_s32(acc, codes[4 * part + 2], x, 2);
  return vdotq_laneq_s32(acc, codes[4 * part + 3], x, 3);
}

template <MatrixFormat format>
void int8_panel(const uint8_t* panel, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  constexpr bool kHalves = quant.scales == ScaleKind::kKSigned;
  const int64_t tokens = block.tokens;
  __builtin_memset(out, 0, static_cast<size_t>(tokens * kPanelRows) * sizeof(float));
  const uint8x16_t zero = vdupq_n_u8(static_cast<uint8_t>(quant.zero));
  for (int64_t i = 0; i < block.tiles; i++) {
    const TileAddress at = tile_address(quant, panel, i);
    TileScales scales;
    TileCodes tile;
    load_scales(quant, at, scales);
    load_codes(quant, at.tile, tile);
    for (int lane = 0; lane < kPanelRows; lane += kQuarterRows) {
      int8x16_t codes[8];
      for (int j = 0; j < 8; j++) {
        codes[j] = vreinterpretq_s8_u8(vsubq_u8(vld1q_u8(tile.code[j] + 4 * lane), zero));
      }
      const float32x4_t first_scale = vld1q_f32(scales.first + lane),
                        second_scale = vld1q_f32(scales.second + lane);
      const float32x4_t minimum = vld1q_f32(scales.minimum + lane);
      for (int64_t t = 0; t < tokens; t++) {
        const int64_t index = i * tokens + t;
        const int8x16_t first = vld1q_s8(block.q + index * kTileColumns);
        const int8x16_t second = vld1q_s8(block.q + index * kTileColumns + 16);
        const float scale = block.scale[index];
        float* to = out + t * kPanelRows + lane;
        float32x4_t acc = vld1q_f32(to);
        int32x4_t sum = dot<0>(codes, first, vdupq_n_s32(0));
        if constexpr (kHalves) {
          acc = vfmaq_f32(acc, vcvtq_f32_s32(sum), vmulq_n_f32(first_scale, scale));
          acc = vfmaq_f32(acc, vcvtq_f32_s32(dot<1>(codes, second, vdupq_n_s32(0))),
                          vmulq_n_f32(second_scale, scale));
        } else {
          sum = dot<1>(codes, second, sum);
          acc = vfmaq_f32(acc, vcvtq_f32_s32(sum), vmulq_n_f32(first_scale, scale));
        }
        if constexpr (quant.has_minimum()) acc = vfmaq_n_f32(acc, minimum, block.scaled_sum[index]);
        vst1q_f32(to, acc);
      }
    }
  }
}

template <MatrixFormat format>
void int8_strip(const uint8_t* const* panels, int panel_count, const TokenBlock& block, float* out) {
  for (int p = 0; p < panel_count; p++) int8_panel<format>(panels[p], block, out + p * kStripStride);
}

}  // namespace gs::GS_ISA
