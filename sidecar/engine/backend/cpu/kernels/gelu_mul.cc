// out = gelu_tanh(gate) * up.
#include "gelu.h"
#include "kernels.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {
constexpr int64_t kTaskFloats = 8192;
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
