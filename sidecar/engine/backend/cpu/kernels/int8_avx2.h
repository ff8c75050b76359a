// The int8 product with AVX2 (the contract is in int8_block.h).
//
// Sixteen registers hold half a panel's tile (8 rows x 32 columns, 8 of them) and what meets it. VPMADDUBSW
// multiplies unsigned codes by signed activations and adds pairs in int16, which overflows unless codes are
// small:
//
//   pairs that may be summed before VPMADDWD widens them = floor(32767 / (2 * 127 * largest code))
//   4 bits: 8, a whole tile    5 bits: 4    6 bits: 2
//
// Eight-bit codes would overflow in a single pair, so there the weight is the signed number, its magnitude
// (up to 128) the unsigned operand and its sign moved to the activation: 2 * 128 * 127 = 32512 fits.
//
// With AVX-VNNI one VPDPBUSD does what VPMADDUBSW, VPMADDWD and additions do for four columns, and nothing
// overflows.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "int8_block.h"
#include "matrix_format.h"
#include "strip.h"

namespace gs::GS_ISA {

constexpr int kStripPanels = 2;

// Up to this many tokens the weights' stream is the bill, and is fetched a page ahead.
constexpr int64_t kFewTokens = 8;
constexpr int kPrefetchBytes = 4096;

#define GS_ALWAYS_INLINE inline __attribute__((always_inline))

constexpr int kHalfRows = 8;

// Whether codes are multiplied as the signed numbers that they stand for.
constexpr bool is_signed(QuantFormat quant) {
#if defined(__AVXVNNI__)
  (void)quant;
  return false;
#else
  return quant.bits == 8;
#endif
}

// Half a tile: rows 8 * half .. 8 * half + 7.
struct HalfTile {
  __m256i codes[8];
  __m256 scale[2];  // columns 0..15 and 16..31; the second only in Q6_K
  __m256 minimum;
};

GS_ALWAYS_INLINE __m256i load256(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

GS_ALWAYS_INLINE __m256 load_halves(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

GS_ALWAYS_INLINE __m256 load_unsigned_bytes(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

GS_ALWAYS_INLINE __m256 load_signed_bytes(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

// Bit b of `bits` as 0 or 16 in byte b.
GS_ALWAYS_INLINE __m256i fifth_bits(const uint8_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2,
                                        2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte), bit);
  return _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), _mm256_set1_epi8(16));
}

template <MatrixFormat format>
GS_ALWAYS_INLINE void unpack(TileAddress at, int half, HalfTile& tile) {
  constexpr QuantFormat quant = quant_format(format);
  const uint8_t* header = at.header + 2 * kHalfRows * half;
  if constexpr (quant.scales == ScaleKind::kF16 || quant.scales == ScaleKind::kF16Min) {
    tile.scale[0] = load_halves(header);
    if constexpr (quant.has_minimum()) tile.minimum = load_halves(header + 32);
  } else if constexpr (quant.scales == ScaleKind::kK) {
    tile.scale[0] = load_halves(header) * load_unsigned_bytes(at.tile + kHalfRows * half);
    tile.minimum = -load_halves(header + 32) * load_unsigned_bytes(at.tile + 16 + kHalfRows * half);
  } else {
    tile.scale[0] = load_halves(header) * load_signed_bytes(at.tile + kHalfRows * half);
    tile.scale[1] = load_halves(header) * load_signed_bytes(at.tile + 16 + kHalfRows * half);
  }

  const uint8_t* low = at.tile + quant.scale_bytes() + 32 * half;
  if constexpr (quant.bits == 8) {
    const __m256i sign = _mm256_set1_epi8(static_cast<char>(is_signed(quant) ? 0x80 : 0));
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) tile.codes[j] = _mm256_xor_si256(load256(low + kVectorBytes * j), sign);
    return;
  }
  const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    const __m256i pair = load256(low + kVectorBytes * j);
    tile.codes[j] = _mm256_and_si256(pair, nibble);
    tile.codes[4 + j] = _mm256_and_si256(_mm256_srli_epi16(pair, 4), nibble);
  }
  const uint8_t* plane = at.tile + quant.scale_bytes() + quant.low_bytes();
  if constexpr (quant.bits == 5) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      tile.codes[j] = _mm256_or_si256(tile.codes[j], fifth_bits(plane + 8 * j + 4 * half));
    }
  } else if constexpr (quant.bits == 6) {
    const __m256i bits = _mm256_set1_epi8(0x30);
#pragma GCC unroll 2
    for (int p = 0; p < 2; p++) {
      const __m256i high = load256(plane + kVectorBytes * p + 32 * half);
      const __m256i moved[4] = {_mm256_slli_epi16(high, 4), _mm256_slli_epi16(high, 2), high,
                                _mm256_srli_epi16(high, 2)};
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        tile.codes[4 * p + i] = _mm256_or_si256(tile.codes[4 * p + i], _mm256_and_si256(moved[i], bits));
      }
    }
  }
}

// Four activations of a token for every row.
GS_ALWAYS_INLINE __m256i broadcast_word(const int8_t* q) {
  int32_t word;
  __builtin_memcpy(&word, q, sizeof word);
  return _mm256_set1_epi32(word);
}

// Exact dot product of vectors [first, last) of the codes with the token's activations, plus `start`.
template <int bits, int first, int last>
GS_ALWAYS_INLINE __m256i dot(const __m256i (&codes)[8], const int8_t* q, __m256i start) {
#if defined(__AVXVNNI__)
#pragma GCC unroll 8
  for (int j = first; j < last; j++)
    start = _mm256_dpbusd_avx_epi32(start, codes[j], broadcast_word(q + 4 * j));
#else
  const __m256i ones = _mm256_set1_epi16(1);
  constexpr int kDepth = bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
#pragma GCC unroll 8
  for (int j = first; j < last; j += kDepth) {
    __m256i pairs;
    if constexpr (bits == 8) {
      const __m256i x = broadcast_word(q + 4 * j);
      pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes[j]), _mm256_sign_epi8(x, codes[j]));
    } else {
      pairs = _mm256_maddubs_epi16(codes[j], broadcast_word(q + 4 * j));
      for (int i = j + 1; i < j + kDepth && i < last; i++) {
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes[i], broadcast_word(q + 4 * i)));
      }
    }
    start = _mm256_add_epi32(start, _mm256_madd_epi16(pairs, ones));
  }
#endif
  return start;
}

// -zero * sum of a token's activations for one tile, of each half in Q6_K; signed codes need none.
template <MatrixFormat format>
GS_ALWAYS_INLINE void token_bias(const TokenBlock& block, int64_t index, int32_t (&bias)[2]) {
  constexpr QuantFormat quant = quant_format(format);
  bias[0] = bias[1] = 0;
  if constexpr (quant.scales == ScaleKind::kKSigned) {
    bias[0] = -quant.zero * block.first_sum[index];
    bias[1] = -quant.zero * (block.sum[index] - block.first_sum[index]);
  } else if constexpr (!is_signed(quant) && quant.zero != 0) {
    bias[0] = -quant.zero * block.sum[index];
  }
}

// Adds one half tile of one token to its 8 results.
template <MatrixFormat format>
GS_ALWAYS_INLINE __m256 add_dot(const HalfTile& tile, const int8_t* q, const int32_t (&bias)[2], float scale,
                                float scaled_sum, __m256 acc) {
  constexpr QuantFormat quant = quant_format(format);
  constexpr bool kHalves = quant.scales == ScaleKind::kKSigned;
  const __m256 token = _mm256_set1_ps(scale);
  const __m256i first = dot < quant.bits, 0, kHalves ? 4 : 8 > (tile.codes, q, _mm256_set1_epi32(bias[0]));
  acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), _mm256_mul_ps(tile.scale[0], token), acc);
  if constexpr (kHalves) {
    const __m256i second = dot<quant.bits, 4, 8>(tile.codes, q, _mm256_set1_epi32(bias[1]));
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), _mm256_mul_ps(tile.scale[1], token), acc);
  }
  if constexpr (quant.has_minimum()) acc = _mm256_fmadd_ps(tile.minimum, _mm256_set1_ps(scaled_sum), acc);
  return acc;
}

// One token: the weights' stream is the bill, results stay in registers.
template <MatrixFormat format>
void one_token(const uint8_t* panel, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  __m256 acc[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t i = 0; i < block.tiles; i++) {
    const TileAddress at = tile_address(quant, panel, i);
    for (int line = 0; line < quant.tile_bytes(); line += 64)
      __builtin_prefetch(at.tile + kPrefetchBytes + line);
    int32_t bias[2];
    token_bias<format>(block, i, bias);
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      HalfTile tile;
      unpack<format>(at, half, tile);
      const int8_t* q = block.q + i * kTileColumns;
      acc[half] = add_dot<format>(tile, q, bias, block.scale[i], block.scaled_sum[i], acc[half]);
    }
  }
  _mm256_storeu_ps(out, acc[0]);
  _mm256_storeu_ps(out + kHalfRows, acc[1]);
}

// Every token of the block for each half tile in turn; results stay in the first-level cache.
template <MatrixFormat format>
void many_tokens(const uint8_t* panel, const TokenBlock& block, float* out) {
  constexpr QuantFormat quant = quant_format(format);
  const int64_t tokens = block.tokens;
  __builtin_memset(out, 0, static_cast<size_t>(tokens * kPanelRows) * sizeof(float));
  int32_t bias[kTokenBlock][2];
  for (int64_t i = 0; i < block.tiles; i++) {
    const TileAddress at = tile_address(quant, panel, i);
    if (tokens <= kFewTokens) {
      for (int line = 0; line < quant.tile_bytes(); line += 64)
        __builtin_prefetch(at.tile + kPrefetchBytes + line);
    }
    const int64_t index = i * tokens;
    for (int64_t t = 0; t < tokens; t++) token_bias<format>(block, index + t, bias[t]);
    for (int half = 0; half < 2; half++) {
      HalfTile tile;
      unpack<format>(at, half, tile);
      const int8_t* q = block.q + index * kTileColumns;
      float* to = out + kHalfRows * half;
      for (int64_t t = 0; t < tokens; t++, q += kTileColumns, to += kPanelRows) {
        const __m256 acc = _mm256_loadu_ps(to);
        _mm256_storeu_ps(
            to, add_dot<format>(tile, q, bias[t], block.scale[index + t], block.scaled_sum[index + t], acc));
      }
    }
  }
}

template <MatrixFormat format>
void int8_strip(const uint8_t* const* panels, int panel_count, const TokenBlock& block, float* out) {
  for (int p = 0; p < panel_count; p++) {
    float* to = out + p * kStripStride;
    if (block.tokens == 1) {
      one_token<format>(panels[p], block, to);
    } else {
      many_tokens<format>(panels[p], block, to);
    }
  }
}

}  // namespace gs::GS_ISA
