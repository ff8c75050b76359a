// A vector of F32 in the instruction set that this file is compiled for, and the few operations the kernels
// share. Arithmetic and comparisons are the compiler's vector operators (GCC and Clang alike); intrinsics
// appear only where an operator has no spelling: fused multiply-add, F16 conversion, reductions.
//
// Every operation works lane by lane and every reduction has one fixed order, so a value never depends on
// what stands next to it. That holds only with -ffp-contract=off: a compiler that fuses a * b + c in one
// caller and not in another would break it.
//
// Only built-in functions here, nothing from namespace std: a std template compiled for AVX-512 could be
// the copy that the linker keeps for everyone.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
// g++ 12 warns of the operands that its own header leaves undefined on purpose.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#ifndef GS_ISA
#error "simd.h is for kernels: compile with -DGS_ISA=<instruction set>"
#endif

#define GS_INLINE static inline __attribute__((always_inline))

namespace gs::GS_ISA {

// The scalar build is for machines without the others: four lanes of whatever the compiler's baseline has.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));

GS_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

GS_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }

GS_INLINE Vec broadcast(float x) { return x - Vec{}; }

GS_INLINE Vec zero() { return Vec{}; }

// 0, 1, 2, ...: as floats, exact far beyond the 64 positions of a page.
GS_INLINE Vec lane_index() {
  Vec v{};
  for (int i = 0; i < kLanes; ++i) v[i] = static_cast<float>(i);
  return v;
}

// a * b + c, rounded once where the instruction set can.
GS_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(
      _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#elif defined(__ARM_NEON)
  return reinterpret_cast<Vec>(vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
                                         reinterpret_cast<float32x4_t>(b)));
#else
  return a * b + c;
#endif
}

// NaN in `b` survives; NaN in `a` does not.
GS_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }

// Lanes 0 and n/2, 1 and n/2 + 1, ... first, then the halves again: the same tree wherever it is called.
GS_INLINE float sum_lanes(Vec v) {
  float lane[kLanes];
  store(lane, v);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

GS_INLINE float max_lanes(Vec v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps(reinterpret_cast<__m512>(v));
#else
  float lane[kLanes];
  store(lane, v);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
  }
  return lane[0];
#endif
}

// IEEE binary16 to F32: exact, subnormals, infinities and NaN included.
GS_INLINE Vec load_f16(const uint16_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__ARM_NEON)
  return reinterpret_cast<Vec>(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))));
#else
  IntVec half;
  for (int i = 0; i < kLanes; ++i) half[i] = p[i];
  const IntVec magnitude = (half & 0x7fff) << 13;
  // Moving the exponent bias by multiplying also normalises subnormals: 2^112 = 2^(127 - 15).
  const Vec finite = reinterpret_cast<Vec>(magnitude) * 0x1p112f;
  const IntVec bits =
      magnitude >= (0x7c00 << 13) ? (magnitude | 0x7f800000) : reinterpret_cast<IntVec>(finite);
  return reinterpret_cast<Vec>(bits | ((half & 0x8000) << 16));
#endif
}

// F32 to IEEE binary16, nearest with ties to even; beyond 65504 + 15 becomes infinity, NaN stays NaN.
GS_INLINE void store_f16(uint16_t* p, Vec v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(
      reinterpret_cast<__m256i*>(p),
      _mm512_cvtps_ph(reinterpret_cast<__m512>(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__AVX2__)
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm256_cvtps_ph(reinterpret_cast<__m256>(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__ARM_NEON)
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(reinterpret_cast<float32x4_t>(v))));
#else
  const IntVec all = reinterpret_cast<IntVec>(v);
  const IntVec magnitude = all & 0x7fffffff;
  // Adding 0.5 leaves the subnormal's bits, rounded by the hardware, at the bottom of the mantissa.
  const IntVec subnormal = reinterpret_cast<IntVec>(reinterpret_cast<Vec>(magnitude) + 0.5f) - 0x3f000000;
  const IntVec rounded = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112 << 23)) >> 13;
  const IntVec huge = magnitude > 0x7f800000 ? IntVec{} + 0x7e00 : IntVec{} + 0x7c00;
  const IntVec half = magnitude >= 0x47800000 ? huge : (magnitude < 0x38800000 ? subnormal : rounded);
  const IntVec bits = half | ((all >> 16) & 0x8000);
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint16_t>(bits[i]);
#endif
}

// e^x with a relative error below 2e-7; 0 below -87.3 (no subnormals: the softmax has no use for them and
// some processors are slow on them), infinity above 88.8, NaN for NaN, exactly 1 for 0.
//
// x = n ln 2 + r, |r| <= 0.347: Taylor to r^7 leaves r^8/8! < 6e-9. ln 2 in two parts keeps r exact.
GS_INLINE Vec exp(Vec x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0x1.62e4p-1f;  // 15 bits: n * kLn2High is exact
  constexpr float kLn2Low = 0x1.7f7d1cp-20f;
  constexpr float kRoundToInteger = 0x1.8p23f;  // adding it leaves the integer in the low mantissa bits
  constexpr float kSmallest = -87.3f, kLargest = 89.0f;
  const Vec low = broadcast(kSmallest), high = broadcast(kLargest);
  const Vec clamped = x > high ? high : max(low, x);
  const Vec shifted = fma(clamped, broadcast(kLog2E), broadcast(kRoundToInteger));
  const Vec n = shifted - kRoundToInteger;
  const Vec r = fma(n, broadcast(-kLn2Low), fma(n, broadcast(-kLn2High), clamped));
  Vec p = broadcast(1.0f / 5040);
  p = fma(p, r, broadcast(1.0f / 720));
  p = fma(p, r, broadcast(1.0f / 120));
  p = fma(p, r, broadcast(1.0f / 24));
  p = fma(p, r, broadcast(1.0f / 6));
  p = fma(p, r, broadcast(0.5f));
  p = fma(p, r, broadcast(1.0f));
  p = fma(p, r, broadcast(1.0f));
  // 2^n in two factors, as n may be 128.
  const IntVec exponent =
      reinterpret_cast<IntVec>(shifted) - reinterpret_cast<IntVec>(broadcast(kRoundToInteger));
  const IntVec half = exponent >> 1;
  const Vec scaled =
      p * reinterpret_cast<Vec>((half + 127) << 23) * reinterpret_cast<Vec>((exponent - half + 127) << 23);
  return x < low ? zero() : scaled;
}

GS_INLINE float exp(float x) { return exp(broadcast(x))[0]; }

}  // namespace gs::GS_ISA
