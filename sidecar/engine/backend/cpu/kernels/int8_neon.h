// The int8 product with NEON's dot product (the contract is in int8_block.h).
//
// SDOT takes both operands signed, so codes have their zero point taken away when a tile is unpacked, a
// quarter panel (4 rows x 32 columns, 8 registers) at a time, and four activations are broadcast to all lanes
// by the lane form. SMMLA (i8mm) multiplies two rows by two tokens, eight columns at once: twice as much a
// instruction, so tokens go in pairs there. Integer sums are exact either way.
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

#if defined(__ARM_FEATURE_MATMUL_INT8)
// A quarter tile for SMMLA: word[i][pair] holds columns 8i..8i+7 of rows 2 * pair and 2 * pair + 1.
struct RowPairs {
  int8x16_t word[4][2];

  explicit RowPairs(const int8x16_t (&codes)[8]) {
    for (int i = 0; i < 4; i++) {
      const int32x4_t left = vreinterpretq_s32_s8(codes[2 * i]),
                      right = vreinterpretq_s32_s8(codes[2 * i + 1]);
      word[i][0] = vreinterpretq_s8_s32(vzip1q_s32(left, right));
      word[i][1] = vreinterpretq_s8_s32(vzip2q_s32(left, right));
    }
  }
};

// Sums over columns 16 * part .. 16 * part + 15 of four rows, for two tokens.
template <int part>
inline void dot_pair(const RowPairs& rows, const int8_t* q, int32x4_t (&sum)[2]) {
  int32x4_t square[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
  for (int i = 2 * part; i < 2 * part + 2; i++) {
    const int8x16_t x = vcombine_s8(vld1_s8(q + 8 * i), vld1_s8(q + kTileColumns + 8 * i));
    square[0] = vmmlaq_s32(square[0], rows.word[i][0], x);
    square[1] = vmmlaq_s32(square[1], rows.word[i][1], x);
  }
  sum[0] = vaddq_s32(sum[0], vuzp1q_s32(square[0], square[1]));
  sum[1] = vaddq_s32(sum[1], vuzp2q_s32(square[0], square[1]));
}
#endif

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
      int64_t t = 0;
#if defined(__ARM_FEATURE_MATMUL_INT8)
      const RowPairs rows(codes);
      for (; t + 2 <= tokens; t += 2) {
        const int64_t index = i * tokens + t;
        const int8_t* q = block.q + index * kTileColumns;
        int32x4_t sums[2][2] = {};  // of columns 0..15 and 16..31 in Q6_K, else of all in the first
        dot_pair<0>(rows, q, sums[0]);
        dot_pair<1>(rows, q, sums[kHalves ? 1 : 0]);
        for (int token = 0; token < 2; token++) {
          float* to = out + (t + token) * kPanelRows + lane;
          const float scale = block.scale[index + token];
          float32x4_t acc = vld1q_f32(to);
          acc = vfmaq_f32(acc, vcvtq_f32_s32(sums[0][token]), vmulq_n_f32(first_scale, scale));
          if constexpr (kHalves) {
            acc = vfmaq_f32(acc, vcvtq_f32_s32(sums[1][token]), vmulq_n_f32(second_scale, scale));
          }
          if constexpr (quant.has_minimum()) {
            acc = vfmaq_n_f32(acc, minimum, block.scaled_sum[index + token]);
          }
          vst1q_f32(to, acc);
        }
      }
#endif
      for (; t < tokens; t++) {
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
