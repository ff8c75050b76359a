// The int8 product with AVX-512 VNNI (the contract is in int8_block.h).
//
// A code is the unsigned operand of VPDPBUSD, an activation the signed one, four columns broadcast to all 16
// rows. The zero point costs no operation of its own: the accumulator starts at -zero * (sum of the block's
// activations).
//
// Many tokens: two panels' tiles are unpacked once into 16 registers and meet every token of the block;
// results stay in the first-level cache (2 panels x 128 tokens x 64 bytes = 16 KiB) and are read and written
// once a tile. One panel would need 11 loads for 8 VPDPBUSD and lose 15-20 % to the load ports.
//
// On Zen 4 VPDPBUSD, multiplications and FMAs share two ports, while additions and conversions have two of
// their own. With 16 VPDPBUSD, 2 products of scales and 2 FMAs a token the ceiling is 16 / 20 of the VPDPBUSD
// rate. A token's scale has only kScaleBits significant bits, so a tile makes the 16 multiples of its rows'
// scales once for all tokens; the power of two is an integer addition to their exponents. 16 of 18 are the
// ceiling then, 89 % (measured with tables and all: 84 %, without 79 %).
//
// A dot product is two chains of four, so that four chains run side by side, as many as the instruction takes
// cycles: the schedulers need not look into the next token for work.
//
// Few tokens: the weights' stream is the bill, so one panel at a time is read in order, a page ahead, and
// results stay in registers.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "int8_block.h"
#include "matrix_format.h"
#include "quantize_block.h"
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

// What the loop over tokens reads by broadcast: computed there, it would take the dot products' ports.
struct TileTokens {
  alignas(64) int32_t bias[2][kTokenBlock];  // of columns 0..15 and 16..31 in Q6_K, else of all in the first
  // A token's scale as an entry of RowScales and what is added to that one's exponent.
  int32_t entry[kTokenBlock], exponent[kTokenBlock];
};

// The rows' scales times 1, 1 + 1/16, ... 1 + 15/16: their products with every significand of a token's
// scale.
constexpr int kSignificands = 1 << (kScaleBits - 1);

template <int panel_count>
struct RowScales {
  alignas(64) float multiple[kSignificands][panel_count][kPanelRows];
  __mmask16 nonzero[panel_count];
};

// Fewer tokens than this do not pay for a table. The results are the same.
constexpr int64_t kTableTokens = 48;

constexpr uint32_t kInfinityBits = 0x7f800000, kOneBits = 127u << 23;

template <MatrixFormat format>
GS_ALWAYS_INLINE void prepare_biases(const TokenBlock& block, int64_t first, TileTokens& out) {
  for (int64_t t = 0; t < block.tokens; t++) {
    int32_t one[2];
    token_bias<format>(block, first + t, one);
    out.bias[0][t] = one[0];
    if constexpr (quant_format(format).scales == ScaleKind::kKSigned) out.bias[1][t] = one[1];
  }
}

// False if a scale is not finite, or larger than quantize_block rounds: adding exponents is no product then.
template <int panel_count>
GS_ALWAYS_INLINE bool tabulate(const Tile512* tiles, const float* scale, int64_t tokens, TileTokens& out,
                               RowScales<panel_count>& rows) {
  uint32_t largest = 0;
  for (int64_t t = 0; t < tokens; t++) {
    uint32_t bits;
    __builtin_memcpy(&bits, scale + t, sizeof bits);
    largest = bits > largest ? bits : largest;
    out.entry[t] = static_cast<int32_t>(bits >> (24 - kScaleBits) & (kSignificands - 1)) *
                   static_cast<int32_t>(sizeof rows.multiple[0]);
    // A zero scale meets zero codes: any finite product will do.
    out.exponent[t] = bits == 0 ? 0 : static_cast<int32_t>((bits & kInfinityBits) - kOneBits);
  }
  __mmask16 infinite = 0;
#pragma GCC unroll 2
  for (int p = 0; p < panel_count; p++) {
    const __m512i bits = _mm512_castps_si512(tiles[p].scale[0]);
    const __m512i infinity = _mm512_set1_epi32(kInfinityBits);
    infinite |= _mm512_cmpeq_epi32_mask(_mm512_and_si512(bits, infinity), infinity);
    rows.nonzero[p] = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7fffffff));
#pragma GCC unroll 16
    for (int i = 0; i < kSignificands; i++) {
      const __m512 significand = _mm512_set1_ps(1.0f + static_cast<float>(i) / kSignificands);
      _mm512_store_ps(rows.multiple[i][p], _mm512_mul_ps(tiles[p].scale[0], significand));
    }
  }
  return infinite == 0 && largest < kMostScaleBits;
}

// `panel_count` tiles against every token of the block, where `first` is the tile's index of token 0.
template <MatrixFormat format, int panel_count, bool tabled>
GS_ALWAYS_INLINE void multiply_tile(const Tile512* tiles, const TokenBlock& block, int64_t first,
                                    const TileTokens& prepared, const RowScales<panel_count>& rows,
                                    float* out) {
  constexpr QuantFormat quant = quant_format(format);
  constexpr bool kHalves = quant.scales == ScaleKind::kKSigned;
  static_assert(!tabled || !kHalves);
  const int8_t* q = block.q + first * kTileColumns;
  const float* scale = block.scale + first;
  const float* scaled_sum = block.scaled_sum + first;
  for (int64_t t = 0; t < block.tokens; t++, q += kTileColumns, out += kPanelRows) {
    __m512i dot[panel_count][2];
#pragma GCC unroll 2
    for (int p = 0; p < panel_count; p++) {
      dot[p][0] = _mm512_set1_epi32(prepared.bias[0][t]);
      dot[p][1] = kHalves ? _mm512_set1_epi32(prepared.bias[1][t]) : _mm512_setzero_si512();
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        const __m512i x = broadcast_word(q + 4 * (4 * half + j));
#pragma GCC unroll 2
        for (int p = 0; p < panel_count; p++)
          dot[p][half] = _mm512_dpbusd_epi32(dot[p][half], tiles[p].codes[4 * half + j], x);
      }
    }
#pragma GCC unroll 2
    for (int p = 0; p < panel_count; p++) {
      __m512 acc = _mm512_loadu_ps(out + p * kStripStride);
      if constexpr (kHalves) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
          acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[p][half]),
                                _mm512_mul_ps(tiles[p].scale[half], _mm512_set1_ps(scale[t])), acc);
        }
      } else {
        const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(dot[p][0], dot[p][1]));
        __m512 product;
        if constexpr (tabled) {
          const auto* multiple = reinterpret_cast<const uint8_t*>(rows.multiple[0][p]) + prepared.entry[t];
          product = _mm512_castsi512_ps(_mm512_maskz_add_epi32(rows.nonzero[p], _mm512_load_si512(multiple),
                                                               _mm512_set1_epi32(prepared.exponent[t])));
        } else {
          product = _mm512_mul_ps(tiles[p].scale[0], _mm512_set1_ps(scale[t]));
        }
        acc = _mm512_fmadd_ps(sum, product, acc);
      }
      if constexpr (quant.has_minimum()) {
        acc = _mm512_fmadd_ps(tiles[p].minimum, _mm512_set1_ps(scaled_sum[t]), acc);
      }
      _mm512_storeu_ps(out + p * kStripStride, acc);
    }
  }
}

// `panel_count` panels against every token of the block, one tile after the other.
template <MatrixFormat format, int panel_count>
void many_tokens(const uint8_t* const* panels, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  const int64_t tokens = block.tokens;
  for (int p = 0; p < panel_count; p++) {
    __builtin_memset(out + p * kStripStride, 0, static_cast<size_t>(tokens * kPanelRows) * sizeof(float));
  }
  TileTokens prepared;
  RowScales<panel_count> rows;
  for (int64_t i = 0; i < block.tiles; i++) {
    Tile512 tiles[panel_count];
#pragma GCC unroll 2
    for (int p = 0; p < panel_count; p++) unpack<format>(tile_address(quant, panels[p], i), tiles[p]);
    prepare_biases<format>(block, i * tokens, prepared);
    if constexpr (quant.scales != ScaleKind::kKSigned) {
      if (tokens >= kTableTokens && tabulate(tiles, block.scale + i * tokens, tokens, prepared, rows)) {
        multiply_tile<format, panel_count, true>(tiles, block, i * tokens, prepared, rows, out);
        continue;
      }
    }
    multiply_tile<format, panel_count, false>(tiles, block, i * tokens, prepared, rows, out);
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
