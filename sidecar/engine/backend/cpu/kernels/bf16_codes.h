// Products of quantised matrices with activations rounded to BF16, for BF16 precision: the codes are small
// integers, which BF16 holds exactly, so that only the activations are rounded (relative error of a product
// about 0.17 %).
//
// Four columns of a row, 4j..4j+3, are one word of a tile; taking its even and its odd bytes apart costs two
// operations where neighbours would cost a shuffle. A block of activations therefore lies as
//
//   x[4j], x[4j + 2], x[4j + 1], x[4j + 3]      j = 0..7
//
// and vector 2j (2j + 1) of a tile's codes holds columns 4j and 4j + 2 (4j + 1 and 4j + 3) of all 16 rows.
//
// Order of operations for one output, whatever the number of tokens, panels and threads: for each tile one
// chain of dot products over columns 0..15 and one over 16..31, then
//
//   acc = fma(first + second, scale, acc)        Q6_K: fma(first, its scale, acc), then the second
//   acc = fma(minimum, sum of the block's activations, acc)            formats with a minimum
#pragma once
#include "bf16.h"
#include "int8_block.h"
#include "matrix_format.h"
#include "strip.h"

#if GS_HAS_BF16_KERNELS
#include "int8_avx512.h"

namespace gs::GS_ISA {

// Rounds one block of 32 activations and sums what came of it.
GS_BF16 inline void round_bf16_block(const float* x, const QuantizedActivations& out, int64_t index) {
  const auto halves =
      reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
  // Of each four values the two in the middle change places.
  const __m512i low = _mm512_shufflelo_epi16(halves, 0xd8);
  const __m512i ordered = _mm512_shufflehi_epi16(low, 0xd8);
  _mm512_storeu_si512(out.bf16 + index * kTileColumns, ordered);
  const __m512i even = _mm512_slli_epi32(halves, 16);
  const __m512i odd = _mm512_and_si512(halves, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  out.scaled_sum[index] = _mm512_reduce_add_ps(_mm512_castsi512_ps(even) + _mm512_castsi512_ps(odd));
}

// The BF16 bits of 0 - zero ... 15 - zero, twice: a look-up takes five bits of a word, the fifth of another
// code.
template <int zero>
struct NibbleValues {
  uint16_t bits[32];
  constexpr NibbleValues() : bits() {
    for (int i = 0; i < 32; i++) {
      bits[i] = static_cast<uint16_t>(__builtin_bit_cast(uint32_t, static_cast<float>(i % 16 - zero)) >> 16);
    }
  }
};

// Codes less their zero point as BF16, and the tile's scales.
template <MatrixFormat format>
GS_BF16 GS_ALWAYS_INLINE void unpack_bf16(TileAddress at, Tile512& tile, __m512i* codes) {
  constexpr QuantFormat quant = quant_format(format);
  unpack<format>(at, tile);
  if constexpr (quant.bits == 4) {
    static constexpr NibbleValues<quant.zero> kValues;
    const __m512i values = _mm512_loadu_si512(kValues.bits);
    const uint8_t* low = at.tile + quant.scale_bytes();
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const __m512i words = load_vector(low + kVectorBytes * j);
      codes[2 * j] = _mm512_permutexvar_epi16(words, values);
      codes[2 * j + 1] = _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 8), values);
      codes[2 * j + 8] = _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 4), values);
      codes[2 * j + 9] = _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 12), values);
    }
  } else {
    const __m512i byte = _mm512_set1_epi32(255), zero = _mm512_set1_epi32(quant.zero);
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      __m512i value[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const __m512i code = _mm512_and_si512(_mm512_srli_epi32(tile.codes[j], 8 * i), byte);
        value[i] = _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_sub_epi32(code, zero)));
      }
#pragma GCC unroll 2
      for (int i = 0; i < 2; i++) {
        codes[2 * j + i] =
            _mm512_or_si512(_mm512_srli_epi32(value[i], 16), _mm512_and_si512(value[i + 2], upper));
      }
    }
  }
}

// Tokens whose results fit registers: 2 panels x 6 tokens x 2 chains and what meets them are 29.
constexpr int kBf16Tokens = 6;

// `width` tokens of one tile against `panel_count` panels; `x` and `sum` are of the first.
template <MatrixFormat format, int panel_count, int width>
GS_BF16 GS_ALWAYS_INLINE void multiply_bf16(const Tile512* tiles, const __m512i (*codes)[16],
                                            const uint16_t* x, const float* sum, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  __m512 dot[width][panel_count][2];
#pragma GCC unroll 6
  for (int t = 0; t < width; t++) {
#pragma GCC unroll 2
    for (int p = 0; p < panel_count; p++) dot[t][p][0] = dot[t][p][1] = _mm512_setzero_ps();
  }
  // A loop: unrolled, the compiler keeps codes in registers that sums need.
#pragma GCC unroll 1
  for (int j = 0; j < 8; j++) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
#pragma GCC unroll 6
      for (int t = 0; t < width; t++) {
        int32_t pair;
        __builtin_memcpy(&pair, x + t * kTileColumns + 2 * (8 * half + j), sizeof pair);
        const auto value = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 2
        for (int p = 0; p < panel_count; p++) {
          dot[t][p][half] =
              _mm512_dpbf16_ps(dot[t][p][half], reinterpret_cast<__m512bh>(codes[p][8 * half + j]), value);
        }
      }
    }
  }
#pragma GCC unroll 6
  for (int t = 0; t < width; t++) {
#pragma GCC unroll 2
    for (int p = 0; p < panel_count; p++) {
      float* to = out + p * kStripStride + t * kPanelRows;
      __m512 acc = _mm512_loadu_ps(to);
      if constexpr (quant.scales == ScaleKind::kKSigned) {
        acc = _mm512_fmadd_ps(dot[t][p][0], tiles[p].scale[0], acc);
        acc = _mm512_fmadd_ps(dot[t][p][1], tiles[p].scale[1], acc);
      } else {
        acc = _mm512_fmadd_ps(dot[t][p][0] + dot[t][p][1], tiles[p].scale[0], acc);
      }
      if constexpr (quant.has_minimum()) acc = _mm512_fmadd_ps(tiles[p].minimum, _mm512_set1_ps(sum[t]), acc);
      _mm512_storeu_ps(to, acc);
    }
  }
}

template <MatrixFormat format, int panel_count>
GS_BF16 void bf16_panels(const uint8_t* const* panels, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  const int64_t tokens = block.tokens;
  for (int p = 0; p < panel_count; p++) {
    __builtin_memset(out + p * kStripStride, 0, static_cast<size_t>(tokens * kPanelRows) * sizeof(float));
  }
  for (int64_t i = 0; i < block.tiles; i++) {
    Tile512 tiles[panel_count];
    __m512i codes[panel_count][16];
#pragma GCC unroll 2
    for (int p = 0; p < panel_count; p++) {
      const TileAddress at = tile_address(quant, panels[p], i);
      if (tokens <= kFewTokens) {
        for (int line = 0; line < quant.tile_bytes(); line += 64)
          __builtin_prefetch(at.tile + kPrefetchBytes + line);
      }
      unpack_bf16<format>(at, tiles[p], codes[p]);
    }
    const uint16_t* x = block.bf16 + i * tokens * kTileColumns;
    const float* sum = block.scaled_sum + i * tokens;
    int64_t t = 0;
    for (; t + kBf16Tokens <= tokens; t += kBf16Tokens) {
      multiply_bf16<format, panel_count, kBf16Tokens>(tiles, codes, x + t * kTileColumns, sum + t,
                                                      out + t * kPanelRows);
    }
    for (; t < tokens; t++) {
      multiply_bf16<format, panel_count, 1>(tiles, codes, x + t * kTileColumns, sum + t,
                                            out + t * kPanelRows);
    }
  }
}

// As int8_strip (int8_block.h), of activations rounded to BF16.
template <MatrixFormat format>
void bf16_strip(const uint8_t* const* panels, int panel_count, const TokenBlock& block, float* out) {
  if (panel_count == 2) {
    bf16_panels<format, 2>(panels, block, out);
  } else {
    bf16_panels<format, 1>(panels, block, out);
  }
}

}  // namespace gs::GS_ISA
#endif
