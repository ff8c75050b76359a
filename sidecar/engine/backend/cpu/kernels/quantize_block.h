// Rounds one block of 32 activations to int8.
#pragma once
#include <cstdint>

#include "kernels.h"
#include "matrix_format.h"

namespace gs::GS_ISA {

// scale = absmax / 127 and q = x * (127 / absmax) to the nearest integer, ties to even. Integer reductions,
// since the compiler may reorder those: non-negative floats compare like their bits.
inline void quantize_block(const float* x, const QuantizedActivations& out, int64_t index) {
  int8_t* q = out.q + index * kTileColumns;
  uint32_t largest_bits = 0;
  for (int i = 0; i < kTileColumns; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    largest_bits = bits > largest_bits ? bits : largest_bits;
  }
  float largest;
  __builtin_memcpy(&largest, &largest_bits, sizeof largest);
  const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
  int32_t rounded[kTileColumns];
  for (int i = 0; i < kTileColumns; i++) {
    // A product that is not finite becomes some byte: a broken activation stays a broken logit, not a broken
    // process. Adding and taking away 1.5 * 2^23 rounds to an integer, ties to even, for magnitudes below
    // 2^22.
    float value = x[i] * inverse;
    value = value < 127.0f ? value : 127.0f;
    value = value > -127.0f ? value : -127.0f;
    rounded[i] = static_cast<int32_t>((value + 0x1.8p23f) - 0x1.8p23f);
  }
  int32_t sums[2] = {0, 0};
  for (int i = 0; i < kTileColumns; i++) q[i] = static_cast<int8_t>(rounded[i]);
  for (int i = 0; i < kTileColumns / 2; i++) sums[0] += rounded[i];
  for (int i = kTileColumns / 2; i < kTileColumns; i++) sums[1] += rounded[i];
  out.scale[index] = largest / 127.0f;
  out.sum[index] = sums[0] + sums[1];
  out.first_sum[index] = sums[0];
  out.scaled_sum[index] = out.scale[index] * static_cast<float>(out.sum[index]);
}

}  // namespace gs::GS_ISA
