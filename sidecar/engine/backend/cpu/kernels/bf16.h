// BF16 by the processor's own dot products (VDPBF16PS), where it has them: Zen 4, Cooper Lake and later.
//
// The AVX-512 kernels are compiled without that extension, since many AVX-512 processors lack it; the
// functions that use it say so themselves (GS_BF16) and are entered only after has_bf16().
#pragma once
#include <cstdint>

#include "simd.h"

#if defined(__AVX512F__)
#define GS_HAS_BF16_KERNELS 1
#define GS_BF16 __attribute__((target("avx512bf16")))
#else
#define GS_HAS_BF16_KERNELS 0
#endif

namespace gs::GS_ISA {

inline bool has_bf16() {
#if GS_HAS_BF16_KERNELS
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

// Nearest, ties to even; NaN stays NaN.
inline uint16_t bf16_from_float(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace gs::GS_ISA
