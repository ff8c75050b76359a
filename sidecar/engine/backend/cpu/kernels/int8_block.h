// The contract of the int8 product, which each instruction set implements in a header of its own:
//
//   template <MatrixFormat format>
//   void int8_strip(const uint8_t* const* panels, int panel_count, const TokenBlock& block, float* out);
//
// computes out[panel][token][16 rows] (strip.h) for one or two panels and one block of tokens. Order of
// operations for one output, the same for any number of tokens, panels and threads, and on every instruction
// set: for each tile in order, with the dot product exact in int32,
//
//   acc = fma(float(dot), scale * token_scale, acc)      Q6_K: columns 0..15 first, then 16..31 with its own
//   scale acc = fma(minimum, token_scaled_sum, acc)            formats with a minimum
#pragma once
#include <cstdint>

#include "kernels.h"

namespace gs {

// One group of QuantizedActivations: n tokens; every array is indexed [tile * n + token].
struct TokenBlock {
  const int8_t* q;
  const float* scale;
  const int32_t* sum;
  const int32_t* first_sum;
  const float* scaled_sum;
  int64_t tokens, tiles;
  const uint16_t* bf16 = nullptr;  // instead of q, in BF16 precision
};

}  // namespace gs
