// out = gelu_tanh(gate) * up.
//
// 0.5 x (1 + tanh u) is x / (1 + e^(-2u)): the same function without a tanh, and without the cancellation
// that 1 + tanh u suffers for negative u. u = sqrt(2/pi) (x + 0.044715 x^3).
#include "kernels.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

constexpr int64_t kTaskFloats = 8192;

Vec gelu_tanh(Vec x) {
  constexpr float kMinusTwoRoot2OverPi = -1.5957691216057307f;
  const Vec cubic = fma(x * x, broadcast(0.044715f), broadcast(1.0f));
  return x / (exp(x * kMinusTwoRoot2OverPi * cubic) + 1.0f);
}

}  // namespace

int64_t gelu_mul_tasks(const GeluMulArgs& args) { return (args.count + kTaskFloats - 1) / kTaskFloats; }

void gelu_mul(const GeluMulArgs& args, int64_t task, float*) {
  int64_t i = task * kTaskFloats;
  const int64_t end = i + kTaskFloats < args.count ? i + kTaskFloats : args.count;
  for (; i + kLanes <= end; i += kLanes) {
    store(args.out + i, gelu_tanh(load(args.gate + i)) * load(args.up + i));
  }
  for (; i < end; ++i) args.out[i] = gelu_tanh(broadcast(args.gate[i]))[0] * args.up[i];
}

}  // namespace gs::GS_ISA
