// Keys of int4 pages are rotated before they are rounded, segment by segment, and queries alike before they
// meet them: that changes no dot product, and spreads a channel that is larger than its neighbours over all
// of them, so that it takes no levels from them.
#pragma once
#include "kv_codes.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

// Walsh-Hadamard transform in place of `count` values, a power of two; its square is `count`.
GS_INLINE void hadamard(float* x, int64_t count) {
  for (int64_t half = 1; half < count; half *= 2) {
    for (int64_t start = 0; start < count; start += 2 * half) {
      for (int64_t i = start; i < start + half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
}

// A query as rotated keys of `format` want it, or such a key as it was.
GS_INLINE void rotate_back(KvFormat format, int64_t head_dim, float* q) {
  if (format != KvFormat::kInt4) return;
  const int64_t segment = kv_segment(format, head_dim);
  const float inverse = 1.0f / static_cast<float>(segment);
  for (int64_t start = 0; start < head_dim; start += segment) hadamard(q + start, segment);
  for (int64_t i = 0; i < head_dim; ++i) q[i] *= inverse;
}

}  // namespace

}  // namespace gs::GS_ISA
