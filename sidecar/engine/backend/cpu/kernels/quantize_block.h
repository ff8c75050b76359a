// Rounds one block of 32 activations to int8.
//
// A block's scale has kScaleBits significant bits, rounded up, so that a product can look it up in a table of
// the few multiples of a row's scale (int8_avx512.h). That makes steps 3 % wider on average, and rounding
// errors with them.
#pragma once
#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

#include <cstdint>

#include "kernels.h"
#include "matrix_format.h"

namespace gs::GS_ISA {

// A scale's bits in F32 that are not kept, and the scales of numbers: smaller ones become zero, so that a
// product of scales is never subnormal; larger ones are left as they are, infinities and NaN among them.
constexpr uint32_t kScaleTail = (1u << (24 - kScaleBits)) - 1;
constexpr uint32_t kLeastScaleBits = (127u - 80) << 23, kMostScaleBits = (127u + 100) << 23;

// Of the bits of a block's largest magnitude.
inline float block_scale(uint32_t largest_bits) {
  float scale;
  __builtin_memcpy(&scale, &largest_bits, sizeof scale);
  scale /= 127.0f;
  uint32_t bits;
  __builtin_memcpy(&bits, &scale, sizeof bits);
  if (bits < kLeastScaleBits) bits = 0;
  if (bits < kMostScaleBits) bits = (bits + kScaleTail) & ~kScaleTail;
  __builtin_memcpy(&scale, &bits, sizeof scale);
  return scale;
}

// scale = absmax / 127, rounded up; q = x / scale to the nearest integer, ties to even. Non-negative floats
// compare like their bits, and integer reductions have no order. A product that is not finite becomes some
// byte: a broken activation stays a broken logit, not a broken process.
inline void quantize_block(const float* x, const QuantizedActivations& out, int64_t index) {
  int8_t* q = out.q + index * kTileColumns;
  int32_t sums[2];
#if defined(__AVX512VNNI__)
  const __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i largest = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude),
                                           _mm512_and_si512(_mm512_castps_si512(high), magnitude));
  const float scale = block_scale(_mm512_reduce_max_epu32(largest));
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  const auto narrow = [inverse](__m512 part) {
    const __m512 most = _mm512_set1_ps(127.0f);  // of a NaN and a number these take the number
    const __m512 value = _mm512_max_ps(_mm512_min_ps(part * inverse, most), -most);
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value));
  };
  const __m256i bytes = _mm256_set_m128i(narrow(high), narrow(low));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
  __m256i sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), bytes);
  sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4e));
  sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0xb1));
  sums[0] = _mm256_extract_epi32(sum, 0);
  sums[1] = _mm256_extract_epi32(sum, 4);
#else
  uint32_t largest_bits = 0;
  for (int i = 0; i < kTileColumns; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    largest_bits = bits > largest_bits ? bits : largest_bits;
  }
  const float scale = block_scale(largest_bits);
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  int32_t rounded[kTileColumns];
  for (int i = 0; i < kTileColumns; i++) {
    // Adding and taking away 1.5 * 2^23 rounds to an integer, ties to even, for magnitudes below 2^22.
    float value = x[i] * inverse;
    value = value < 127.0f ? value : 127.0f;
    value = value > -127.0f ? value : -127.0f;
    rounded[i] = static_cast<int32_t>((value + 0x1.8p23f) - 0x1.8p23f);
  }
  sums[0] = sums[1] = 0;
  for (int i = 0; i < kTileColumns; i++) q[i] = static_cast<int8_t>(rounded[i]);
  for (int i = 0; i < kTileColumns / 2; i++) sums[0] += rounded[i];
  for (int i = kTileColumns / 2; i < kTileColumns; i++) sums[1] += rounded[i];
#endif
  out.scale[index] = scale;
  out.sum[index] = sums[0] + sums[1];
  out.first_sum[index] = sums[0];
  out.scaled_sum[index] = scale * static_cast<float>(sums[0] + sums[1]);
}

}  // namespace gs::GS_ISA
