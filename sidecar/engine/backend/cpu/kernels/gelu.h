// gelu_tanh of a vector.
//
// 0.5 x (1 + tanh u) is x / (1 + e^(-2u)): the same function without a tanh, and without the cancellation
// that 1 + tanh u suffers for negative u. u = sqrt(2/pi) (x + 0.044715 x^3).
#pragma once
#include "simd.h"

namespace gs::GS_ISA {

GS_INLINE Vec gelu_tanh(Vec x) {
  constexpr float kMinusTwoRoot2OverPi = -1.5957691216057307f;
  const Vec cubic = fma(x * x, broadcast(0.044715f), broadcast(1.0f));
  return x / (exp(x * kMinusTwoRoot2OverPi * cubic) + 1.0f);
}

}  // namespace gs::GS_ISA
