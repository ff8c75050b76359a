// Rounds one block of 32 activations as the precision wants it.
#pragma once
#include "bf16_codes.h"
#include "quantize_block.h"

namespace gs::GS_ISA {

inline void round_block(const float* x, const QuantizedActivations& out, int64_t index) {
#if GS_HAS_BF16_KERNELS
  if (out.bf16 != nullptr) return round_bf16_block(x, out, index);
#endif
  quantize_block(x, out, index);
}

}  // namespace gs::GS_ISA
