// Products of bytes whose lanes are rows: a few outputs for each of a strip of rows, all sums in registers.
// Attention within an image and the linear layers of its tower are both made of this.
//
//   row operand   [quad][kStripRows][4 bytes]
//   table         [quad][kOuts][4 bytes]           signed, within -127..127
//
// A row operand's values are stored plus kCodeShift, the kind of byte that the instruction multiplies by a
// signed one; the sums begin at what takes that away again. Integer sums are exact: the same on every
// machine.
#pragma once
#include <cstdint>

#include "simd.h"

namespace gs::GS_ISA {

#if defined(__AVX512VNNI__)
constexpr int kOuts = 8, kRowVecs = 2;  // 16 sums; 24 measured no faster
constexpr int32_t kCodeShift = 128;
#elif defined(__AVX2__)
constexpr int kOuts = 4, kRowVecs = 2;
constexpr int32_t kCodeShift = 0;
#else
constexpr int kOuts = 4, kRowVecs = 4;
constexpr int32_t kCodeShift = 0;
#endif
constexpr int kQuad = 4;
constexpr int kStripRows = kRowVecs * kLanes;

GS_INLINE void start_sums(IntVec (&sums)[kOuts][kRowVecs], const int32_t* start) {
#pragma GCC unroll 8
  for (int o = 0; o < kOuts; ++o) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVecs; ++v) sums[o][v] = IntVec{} + start[o];
  }
}

GS_INLINE void add_products(IntVec (&sums)[kOuts][kRowVecs], const uint8_t* rows, const int8_t* table,
                            int64_t quads) {
  constexpr int kBytes = kLanes * kQuad;
#pragma GCC unroll 2
  for (int64_t quad = 0; quad < quads; ++quad, rows += kStripRows * kQuad, table += kOuts * kQuad) {
#if defined(__AVX512VNNI__)
    __m512i row[kRowVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVecs; ++v) row[v] = _mm512_loadu_si512(rows + v * kBytes);
#pragma GCC unroll 8
    for (int o = 0; o < kOuts; ++o) {
      int32_t word;
      __builtin_memcpy(&word, table + o * kQuad, sizeof word);
      const __m512i codes = _mm512_set1_epi32(word);
#pragma GCC unroll 4
      for (int v = 0; v < kRowVecs; ++v) {
        sums[o][v] = reinterpret_cast<IntVec>(
            _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums[o][v]), row[v], codes));
      }
    }
#elif defined(__AVX2__)
    // The magnitude of one factor is the unsigned operand and its sign moves to the other: two products of at
    // most 127 * 127 fit an int16.
    __m256i row[kRowVecs], magnitude[kRowVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVecs; ++v) {
      row[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows + v * kBytes));
      magnitude[v] = _mm256_abs_epi8(row[v]);
    }
#pragma GCC unroll 8
    for (int o = 0; o < kOuts; ++o) {
      int32_t word;
      __builtin_memcpy(&word, table + o * kQuad, sizeof word);
      const __m256i codes = _mm256_set1_epi32(word);
#pragma GCC unroll 4
      for (int v = 0; v < kRowVecs; ++v) {
        const __m256i pairs = _mm256_maddubs_epi16(magnitude[v], _mm256_sign_epi8(codes, row[v]));
        sums[o][v] += reinterpret_cast<IntVec>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
      }
    }
#elif defined(__ARM_FEATURE_DOTPROD)
    const int32x4_t words = vreinterpretq_s32_s8(vld1q_s8(table));
    const int8x16_t codes[kOuts] = {
        vreinterpretq_s8_s32(vdupq_laneq_s32(words, 0)), vreinterpretq_s8_s32(vdupq_laneq_s32(words, 1)),
        vreinterpretq_s8_s32(vdupq_laneq_s32(words, 2)), vreinterpretq_s8_s32(vdupq_laneq_s32(words, 3))};
#pragma GCC unroll 4
    for (int v = 0; v < kRowVecs; ++v) {
      const int8x16_t row = vreinterpretq_s8_u8(vld1q_u8(rows + v * kBytes));
#pragma GCC unroll 8
      for (int o = 0; o < kOuts; ++o) {
        sums[o][v] =
            reinterpret_cast<IntVec>(vdotq_s32(reinterpret_cast<int32x4_t>(sums[o][v]), row, codes[o]));
      }
    }
#else
    for (int o = 0; o < kOuts; ++o) {
      for (int v = 0; v < kRowVecs; ++v) {
        for (int lane = 0; lane < kLanes; ++lane) {
          int32_t sum = sums[o][v][lane];
          for (int i = 0; i < kQuad; ++i)
            sum += static_cast<int8_t>(rows[v * kBytes + lane * kQuad + i]) * table[o * kQuad + i];
          sums[o][v][lane] = sum;
        }
      }
    }
#endif
  }
}

GS_INLINE Vec to_float(IntVec v) { return __builtin_convertvector(v, Vec); }

// Adding it leaves the nearest integer, ties to even, in the low bits of a float's mantissa, whose other bits
// are then those of kRoundBits. What is not finite leaves some bits.
constexpr float kRound = 0x1.8p23f;
constexpr uint32_t kRoundBits = 0x4b400000;

GS_INLINE int8_t byte_of(float rounded) {
  uint32_t bits;
  __builtin_memcpy(&bits, &rounded, sizeof bits);
  return static_cast<int8_t>(bits);
}

// Steps of what a code leaves over in one of its own: at most half a step, so 127.
constexpr float kRestSteps = 254.0f;

}  // namespace gs::GS_ISA
