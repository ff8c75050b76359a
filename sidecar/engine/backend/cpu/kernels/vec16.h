// Sixteen F32 lanes, one for each row of a panel, on whatever registers the instruction set has.
#pragma once
#include <cstdint>

#include "tile_codes.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace gs::GS_ISA {

#if defined(__AVX512F__)

struct Vec16 {
  __m512 v;
  static Vec16 zero() { return {_mm512_setzero_ps()}; }
  static Vec16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec16 load_f16(const uint8_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Vec16 load_bf16(const uint8_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  // this + a * b, rounded once.
  void add_product(Vec16 a, float b) { v = _mm512_fmadd_ps(a.v, _mm512_set1_ps(b), v); }
};

#elif defined(__AVX2__)

struct Vec16 {
  __m256 lo, hi;
  static Vec16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Vec16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Vec16 load_f16(const uint8_t* p) {
    const auto* halves = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
  }
  static Vec16 load_bf16(const uint8_t* p) {
    const auto* halves = reinterpret_cast<const __m128i*>(p);
    const auto widen = [](__m128i half) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    };
    return {widen(_mm_loadu_si128(halves)), widen(_mm_loadu_si128(halves + 1))};
  }
  void store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }
  void add_product(Vec16 a, float b) {
    const __m256 factor = _mm256_set1_ps(b);
    lo = _mm256_fmadd_ps(a.lo, factor, lo);
    hi = _mm256_fmadd_ps(a.hi, factor, hi);
  }
};

#elif defined(__ARM_NEON)

struct Vec16 {
  float32x4_t v[4];
  static Vec16 zero() { return {{vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)}}; }
  static Vec16 load(const float* p) {
    return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
  }
  static Vec16 load_f16(const uint8_t* p) {
    const float16x8_t a = vreinterpretq_f16_u8(vld1q_u8(p)), b = vreinterpretq_f16_u8(vld1q_u8(p + 16));
    return {{vcvt_f32_f16(vget_low_f16(a)), vcvt_f32_f16(vget_high_f16(a)), vcvt_f32_f16(vget_low_f16(b)),
             vcvt_f32_f16(vget_high_f16(b))}};
  }
  static Vec16 load_bf16(const uint8_t* p) {
    const uint16x8_t a = vreinterpretq_u16_u8(vld1q_u8(p)), b = vreinterpretq_u16_u8(vld1q_u8(p + 16));
    const auto widen = [](uint16x4_t half) { return vreinterpretq_f32_u32(vshll_n_u16(half, 16)); };
    return {
        {widen(vget_low_u16(a)), widen(vget_high_u16(a)), widen(vget_low_u16(b)), widen(vget_high_u16(b))}};
  }
  void store(float* p) const {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, v[i]);
  }
  void add_product(Vec16 a, float b) {
    for (int i = 0; i < 4; i++) v[i] = vfmaq_n_f32(v[i], a.v[i], b);
  }
};

#else

struct Vec16 {
  float v[kPanelRows];
  static Vec16 zero() { return {}; }
  static Vec16 load(const float* p) {
    Vec16 out;
    __builtin_memcpy(out.v, p, sizeof out.v);
    return out;
  }
  static Vec16 load_f16(const uint8_t* p) {
    Vec16 out;
    for (int i = 0; i < kPanelRows; i++) out.v[i] = float_from_f16(load16(p + 2 * i));
    return out;
  }
  static Vec16 load_bf16(const uint8_t* p) {
    Vec16 out;
    for (int i = 0; i < kPanelRows; i++) out.v[i] = float_from_bf16(load16(p + 2 * i));
    return out;
  }
  void store(float* p) const { __builtin_memcpy(p, v, sizeof v); }
  void add_product(Vec16 a, float b) {
    for (int i = 0; i < kPanelRows; i++) v[i] = __builtin_fmaf(a.v[i], b, v[i]);
  }
};

#endif

// Sixteen elements of a float format as F32, exactly.
template <MatrixFormat format>
Vec16 load_elements(const uint8_t* p) {
  if constexpr (format == MatrixFormat::kF16) {
    return Vec16::load_f16(p);
  } else if constexpr (format == MatrixFormat::kBF16) {
    return Vec16::load_bf16(p);
  } else {
    float values[kPanelRows];
    __builtin_memcpy(values, p, sizeof values);
    return Vec16::load(values);
  }
}

}  // namespace gs::GS_ISA
