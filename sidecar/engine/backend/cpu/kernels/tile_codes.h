// Reading one tile of a packed panel without any instruction set in particular: for the scalar kernels, for
// dequantising strips and for embeddings. Compiled into every instruction set's namespace, where the compiler
// vectorises the loops.
#pragma once
#include <cstdint>

#include "matrix_format.h"

namespace gs::GS_ISA {

inline float float_from_bits(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

inline float float_from_bf16(uint16_t bits) { return float_from_bits(uint32_t{bits} << 16); }

// Exact, denormals, infinities and NaN included.
inline float float_from_f16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16, magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  // A half's bits moved to a float's place are 2^112 too small, in denormals as well.
  const float value = float_from_bits(magnitude << 13) * 0x1p112f;
  uint32_t value_bits;
  __builtin_memcpy(&value_bits, &value, sizeof value_bits);
  return float_from_bits(sign | value_bits);
}

inline uint16_t load16(const uint8_t* bytes) {
  uint16_t value;
  __builtin_memcpy(&value, bytes, sizeof value);
  return value;
}

// Scales of a tile's 16 rows: for columns 0..15, for columns 16..31 (the same but in Q6_K), and the minimum.
struct TileScales {
  float first[kPanelRows];
  float second[kPanelRows];
  float minimum[kPanelRows];
};

inline void load_scales(const QuantFormat& quant, TileAddress at, TileScales& scales) {
  for (int lane = 0; lane < kPanelRows; lane++) {
    const float d = float_from_f16(load16(at.header + 2 * lane));
    float second_header = quant.has_minimum() ? float_from_f16(load16(at.header + 32 + 2 * lane)) : 0.0f;
    switch (quant.scales) {
      case ScaleKind::kF16:
      case ScaleKind::kF16Min:
        scales.first[lane] = scales.second[lane] = d;
        scales.minimum[lane] = second_header;
        break;
      case ScaleKind::kK:
        scales.first[lane] = scales.second[lane] = d * static_cast<float>(at.tile[lane]);
        scales.minimum[lane] = -second_header * static_cast<float>(at.tile[16 + lane]);
        break;
      case ScaleKind::kKSigned:
        scales.first[lane] = d * static_cast<float>(static_cast<int8_t>(at.tile[lane]));
        scales.second[lane] = d * static_cast<float>(static_cast<int8_t>(at.tile[16 + lane]));
        scales.minimum[lane] = 0.0f;
        break;
    }
  }
}

// The codes of a tile: code[j][4 * lane + i] is column 4j + i of row `lane`.
struct TileCodes {
  uint8_t code[8][kVectorBytes];
};

inline void load_codes(const QuantFormat& quant, const uint8_t* tile, TileCodes& codes) {
  const uint8_t* low = tile + quant.scale_bytes();
  if (quant.bits == 8) {
    __builtin_memcpy(codes.code, low, sizeof codes.code);
    return;
  }
  for (int j = 0; j < 4; j++) {
    for (int b = 0; b < kVectorBytes; b++) {
      codes.code[j][b] = low[kVectorBytes * j + b] & 15;
      codes.code[4 + j][b] = low[kVectorBytes * j + b] >> 4;
    }
  }
  const uint8_t* high = low + quant.low_bytes();
  if (quant.bits == 5) {
    for (int j = 0; j < 8; j++) {
      for (int b = 0; b < kVectorBytes; b++) {
        codes.code[j][b] |= static_cast<uint8_t>(((high[8 * j + b / 8] >> (b % 8)) & 1) << 4);
      }
    }
  } else if (quant.bits == 6) {
    for (int j = 0; j < 8; j++) {
      for (int b = 0; b < kVectorBytes; b++) {
        codes.code[j][b] |=
            static_cast<uint8_t>(((high[kVectorBytes * (j / 4) + b] >> (2 * (j % 4))) & 3) << 4);
      }
    }
  }
}

// Every value of a tile as F32, [32 columns][16 rows]: scale * (code - zero) + minimum.
inline void dequantize_tile(const QuantFormat& quant, TileAddress at, float* out) {
  TileScales scales;
  TileCodes codes;
  load_scales(quant, at, scales);
  load_codes(quant, at.tile, codes);
  for (int column = 0; column < kTileColumns; column++) {
    const float* scale = column < 16 ? scales.first : scales.second;
    for (int lane = 0; lane < kPanelRows; lane++) {
      const int code = codes.code[column / 4][4 * lane + column % 4] - quant.zero;
      out[column * kPanelRows + lane] =
          __builtin_fmaf(scale[lane], static_cast<float>(code), scales.minimum[lane]);
    }
  }
}

}  // namespace gs::GS_ISA
