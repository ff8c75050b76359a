// RMSNorm, one row at a time: out = x / sqrt(mean(x^2) + eps) * weight. A head's slice of a row is a row too,
// so the per-head norms of queries and keys come here as rows of width head_dim.
#include "kernels.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

// Enough for a task to outweigh its hand-out: 64 KiB of activations.
constexpr int64_t kTaskFloats = 16384;

int64_t rows_per_task(const RmsNormArgs& args) {
  return args.width >= kTaskFloats ? 1 : kTaskFloats / args.width;
}

// Four chains hide the latency of the additions; their order depends on the width alone.
float sum_of_squares(const float* x, int64_t width) {
  Vec sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) {
      const Vec v = load(x + i + j * kLanes);
      sum[j] = fma(v, v, sum[j]);
    }
  }
  for (; i + kLanes <= width; i += kLanes) {
    const Vec v = load(x + i);
    sum[0] = fma(v, v, sum[0]);
  }
  float total = sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; i < width; ++i) total += x[i] * x[i];
  return total;
}

}  // namespace

int64_t rms_norm_tasks(const RmsNormArgs& args) {
  const int64_t rows = rows_per_task(args);
  return (args.rows + rows - 1) / rows;
}

void rms_norm(const RmsNormArgs& args, int64_t task, float*) {
  const int64_t rows = rows_per_task(args);
  const int64_t first = task * rows;
  const int64_t last = first + rows < args.rows ? first + rows : args.rows;
  for (int64_t row = first; row < last; ++row) {
    const float* x = args.x + row * args.width;
    float* out = args.out + row * args.width;
    const float mean = sum_of_squares(x, args.width) / static_cast<float>(args.width);
    const float inverse = 1.0f / __builtin_sqrtf(mean + args.eps);
    for (int64_t i = 0; i < args.width; ++i) out[i] = (x[i] * inverse) * args.weight[i];
  }
}

}  // namespace gs::GS_ISA
