// LayerNorm, one row at a time: out = (x - mean) / sqrt(variance + eps) * weight + bias.
#include "kernels.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

constexpr int64_t kTaskRows = 16;

float sum(const float* x, int64_t width) {
  Vec lanes[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes) {
    lanes[0] = lanes[0] + load(x + i);
    lanes[1] = lanes[1] + load(x + i + kLanes);
  }
  float total = sum_lanes(lanes[0] + lanes[1]);
  for (; i < width; ++i) total += x[i];
  return total;
}

// About the mean, in a second run over the row: no cancellation.
float sum_of_squares(const float* x, int64_t width, float mean) {
  Vec lanes[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes) {
    const Vec a = load(x + i) - mean, b = load(x + i + kLanes) - mean;
    lanes[0] = fma(a, a, lanes[0]);
    lanes[1] = fma(b, b, lanes[1]);
  }
  float total = sum_lanes(lanes[0] + lanes[1]);
  for (; i < width; ++i) total += (x[i] - mean) * (x[i] - mean);
  return total;
}

}  // namespace

int64_t layer_norm_tasks(const LayerNormArgs& args) { return (args.rows + kTaskRows - 1) / kTaskRows; }

void layer_norm(const LayerNormArgs& args, int64_t task, float*) {
  const int64_t first = task * kTaskRows;
  const int64_t last = first + kTaskRows < args.rows ? first + kTaskRows : args.rows;
  const auto width = static_cast<float>(args.width);
  for (int64_t row = first; row < last; ++row) {
    const float* x = args.x + row * args.width;
    float* out = args.out + row * args.width;
    const float mean = sum(x, args.width) / width;
    const float variance = sum_of_squares(x, args.width, mean) / width;
    const float inverse = 1.0f / __builtin_sqrtf(variance + args.eps);
    for (int64_t i = 0; i < args.width; ++i) {
      out[i] = (x[i] - mean) * inverse * args.weight[i] + args.bias[i];
    }
  }
}

}  // namespace gs::GS_ISA
