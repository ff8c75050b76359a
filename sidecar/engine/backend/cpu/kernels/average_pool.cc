// The mean of every factor x factor square of a grid of rows.
#include "kernels.h"

namespace gs::GS_ISA {

int64_t average_pool_tasks(const AveragePoolArgs& args) {
  const int64_t side = args.side / args.factor;
  return side * side;
}

void average_pool(const AveragePoolArgs& args, int64_t task, float*) {
  const int64_t side = args.side / args.factor;
  const int64_t top = task / side * args.factor, left = task % side * args.factor;
  float* out = args.out + task * args.width;
  for (int64_t i = 0; i < args.width; ++i) out[i] = 0.0f;
  for (int64_t y = top; y < top + args.factor; ++y) {
    for (int64_t x = left; x < left + args.factor; ++x) {
      const float* from = args.x + (y * args.side + x) * args.width;
      for (int64_t i = 0; i < args.width; ++i) out[i] += from[i];
    }
  }
  const float count = static_cast<float>(args.factor * args.factor);
  for (int64_t i = 0; i < args.width; ++i) out[i] /= count;
}

}  // namespace gs::GS_ISA
