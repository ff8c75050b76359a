// The int8 product with AVX-512 VNNI (the contract is in int8_block.h).
//
// A code is the unsigned operand of VPDPBUSD, an activation the signed one, four columns broadcast to all 16
// rows. The zero point costs no operation of its own: the accumulator starts at -zero * (sum of the block's
// activations).
//
// Many tokens: two panels' tiles are unpacked once into 16 registers and meet every token of the block;
// results stay in the first-level cache (2 panels x 128 tokens x 64 bytes = 16 KiB) and are read and written
// once a tile. For each token that is 16 VPDPBUSD, 2 multiplications and 2 FMAs on the same two ports, so
// that 80 % of the VPDPBUSD rate is the ceiling. One panel would need 11 loads for 8 VPDPBUSD and lose 15-20
// % to the load ports.
//
// Few tokens: the weights' stream is the bill, so one panel at a time is read in order, a page ahead, and
// results stay in registers.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "int8_block.h"
#include "matrix_format.h"
#include "strip.h"

namespace gs::GS_ISA {

constexpr int kStripPanels = 2;

// Tokens whose results fit registers beside an unpacked tile (8) and the operands in flight.
constexpr int64_t kFewTokens = 8;

// Bytes ahead of the tile in work; 4-8 KiB measured best, +10 % on one thread.
constexpr int kPrefetchBytes = 4096;

#define GS_ALWAYS_INLINE inline __attribute__((always_inline))

struct Tile512 {
  __m512i codes[8];
  __m512 scale[2];  // columns 0..15 and 16..31; the second only in Q6_K
  __m512 minimum;
};

GS_ALWAYS_INLINE __m512 load_halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

GS_ALWAYS_INLINE __m512i load_vector(const uint8_t* p) { return _mm512_loadu_si512(p); }

template <MatrixFormat format>
GS_ALWAYS_INLINE void unpack(TileAddress at, Tile512& tile) {
  constexpr QuantFormat quant = quant_format(format);
  const auto* bytes = reinterpret_cast<const __m128i*>(at.tile);
  if constexpr (quant.scales == ScaleKind::kF16 || quant.scales == ScaleKind::kF16Min) {
    tile.scale[0] = load_halves(at.tile);
    if constexpr (quant.has_minimum()) tile.minimum = load_halves(at.tile + 32);
  } else if constexpr (quant.scales == ScaleKind::kK) {
    tile.scale[0] = load_halves(at.header) * _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(bytes)));
    tile.minimum =
        -load_halves(at.header + 32) * _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(bytes + 1)));
  } else {
    const __m512 d = load_halves(at.header);
    tile.scale[0] = d * _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes)));
    tile.scale[1] = d * _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes + 1)));
  }

  const uint8_t* low = at.tile + quant.scale_bytes();
  if constexpr (quant.bits == 8) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) tile.codes[j] = load_vector(low + kVectorBytes * j);
    return;
  }
  const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    const __m512i pair = load_vector(low + kVectorBytes * j);
    tile.codes[j] = _mm512_and_si512(pair, nibble);
    tile.codes[4 + j] = _mm512_and_si512(_mm512_srli_epi16(pair, 4), nibble);
  }
  const uint8_t* high = low + quant.low_bytes();
  if constexpr (quant.bits == 5) {
    const __m512i fifth = _mm512_set1_epi8(16);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      uint64_t mask;
      __builtin_memcpy(&mask, high + 8 * j, sizeof mask);
      tile.codes[j] = _mm512_mask_add_epi8(tile.codes[j], mask, tile.codes[j], fifth);
    }
  } else if constexpr (quant.bits == 6) {
    const __m512i bits = _mm512_set1_epi8(0x30);
#pragma GCC unroll 2
    for (int p = 0; p < 2; p++) {
      const __m512i plane = load_vector(high + kVectorBytes * p);
      const __m512i moved[4] = {_mm512_slli_epi16(plane, 4), _mm512_slli_epi16(plane, 2), plane,
                                _mm512_srli_epi16(plane, 2)};
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        // codes | (moved & bits)
        tile.codes[4 * p + i] = _mm512_ternarylogic_epi32(tile.codes[4 * p + i], moved[i], bits, 0xf8);
      }
    }
  }
}

// Four activations of a token for every row.
GS_ALWAYS_INLINE __m512i broadcast_word(const int8_t* q) {
  int32_t word;
  __builtin_memcpy(&word, q, sizeof word);
  return _mm512_set1_epi32(word);
}

// Adds one tile of one token to its 16 results; `bias` is -zero * sum (of each half in Q6_K).
template <MatrixFormat format>
GS_ALWAYS_INLINE __m512 add_dot(const Tile512& tile, const __m512i (&x)[8], const int32_t (&bias)[2],
                                float scale, float scaled_sum, __m512 acc) {
  constexpr QuantFormat quant = quant_format(format);
  constexpr bool kHalves = quant.scales == ScaleKind::kKSigned;
  __m512i dot = _mm512_set1_epi32(bias[0]);
#pragma GCC unroll 8
  for (int j = 0; j < (kHalves ? 4 : 8); j++) dot = _mm512_dpbusd_epi32(dot, tile.codes[j], x[j]);
  const __m512 token = _mm512_set1_ps(scale);
  acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(tile.scale[0], token), acc);
  if constexpr (kHalves) {
    dot = _mm512_set1_epi32(bias[1]);
#pragma GCC unroll 4
    for (int j = 4; j < 8; j++) dot = _mm512_dpbusd_epi32(dot, tile.codes[j], x[j]);
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(tile.scale[1], token), acc);
  }
  if constexpr (quant.has_minimum()) acc = _mm512_fmadd_ps(tile.minimum, _mm512_set1_ps(scaled_sum), acc);
  return acc;
}

template <MatrixFormat format>
GS_ALWAYS_INLINE void token_bias(const TokenBlock& block, int64_t index, int32_t (&bias)[2]) {
  constexpr QuantFormat quant = quant_format(format);
  if constexpr (quant.scales == ScaleKind::kKSigned) {
    bias[0] = -quant.zero * block.first_sum[index];
    bias[1] = -quant.zero * (block.sum[index] - block.first_sum[index]);
  } else {
    bias[0] = -quant.zero * block.sum[index];
  }
}

template <MatrixFormat format, int token_count>
void few_tokens(const uint8_t* panel, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  __m512 acc[token_count];
#pragma GCC unroll 8
  for (int t = 0; t < token_count; t++) acc[t] = _mm512_setzero_ps();
  for (int64_t i = 0; i < block.tiles; i++) {
    const TileAddress at = tile_address(quant, panel, i);
    for (int line = 0; line < quant.tile_bytes(); line += 64) {
      __builtin_prefetch(at.tile + kPrefetchBytes + line);
    }
    Tile512 tile;
    unpack<format>(at, tile);
#pragma GCC unroll 8
    for (int t = 0; t < token_count; t++) {
      const int64_t index = i * token_count + t;
      __m512i x[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++) x[j] = broadcast_word(block.q + index * kTileColumns + 4 * j);
      int32_t bias[2];
      token_bias<format>(block, index, bias);
      acc[t] = add_dot<format>(tile, x, bias, block.scale[index], block.scaled_sum[index], acc[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < token_count; t++) _mm512_storeu_ps(out + t * kPanelRows, acc[t]);
}

// Every token's bias for one tile, so that the loop over tokens broadcasts it from memory: computed there, it
// would take the dot products' ports.
template <MatrixFormat format>
GS_ALWAYS_INLINE void block_bias(const TokenBlock& block, int64_t first, int32_t (*bias)[kTokenBlock]) {
  for (int64_t t = 0; t < block.tokens; t++) {
    int32_t one[2];
    token_bias<format>(block, first + t, one);
    bias[0][t] = one[0];
    if constexpr (quant_format(format).scales == ScaleKind::kKSigned) bias[1][t] = one[1];
  }
}

// `panel_count` tiles against every token of the block, for each tile in turn.
template <MatrixFormat format, int panel_count>
void many_tokens(const uint8_t* const* panels, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  const int64_t tokens = block.tokens;
  for (int p = 0; p < panel_count; p++) {
    __builtin_memset(out + p * kStripStride, 0, static_cast<size_t>(tokens * kPanelRows) * sizeof(float));
  }
  alignas(64) int32_t biases[2][kTokenBlock];
  for (int64_t i = 0; i < block.tiles; i++) {
    Tile512 tiles[panel_count];
#pragma GCC unroll 2
    for (int p = 0; p < panel_count; p++) unpack<format>(tile_address(quant, panels[p], i), tiles[p]);
    block_bias<format>(block, i * tokens, biases);
    const int8_t* q = block.q + i * tokens * kTileColumns;
    const float* scale = block.scale + i * tokens;
    const float* scaled_sum = block.scaled_sum + i * tokens;
    float* to = out;
    for (int64_t t = 0; t < tokens; t++, q += kTileColumns, to += kPanelRows) {
      __m512i x[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++) x[j] = broadcast_word(q + 4 * j);
      const int32_t bias[2] = {biases[0][t], biases[1][t]};
#pragma GCC unroll 2
      for (int p = 0; p < panel_count; p++) {
        const __m512 acc = _mm512_loadu_ps(to + p * kStripStride);
        _mm512_storeu_ps(to + p * kStripStride,
                         add_dot<format>(tiles[p], x, bias, scale[t], scaled_sum[t], acc));
      }
    }
  }
}

template <MatrixFormat format, int token_count = 1>
void few_tokens_of(const uint8_t* panel, const TokenBlock& block, float* out) {
  if (block.tokens == token_count) {
    few_tokens<format, token_count>(panel, block, out);
  } else if constexpr (token_count < kFewTokens) {
    few_tokens_of<format, token_count + 1>(panel, block, out);
  }
}

template <MatrixFormat format>
void int8_strip(const uint8_t* const* panels, int panel_count, const TokenBlock& block, float* out) {
  if (block.tokens > kFewTokens && panel_count == 2) {
    many_tokens<format, 2>(panels, block, out);
  } else if (block.tokens > kFewTokens) {
    many_tokens<format, 1>(panels, block, out);
  } else {
    for (int p = 0; p < panel_count; p++) {
      few_tokens_of<format>(panels[p], block, out + p * kStripStride);
    }
  }
}

}  // namespace gs::GS_ISA
