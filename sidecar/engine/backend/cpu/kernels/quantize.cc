// Rounds activations to int8 in blocks of 32 columns, into the layout that matmul reads (kernels.h).
#include <cmath>
#include <cstdint>

#include "kernels.h"
#include "matrix_format.h"

namespace gs::GS_ISA {
namespace {

// About the work of one region hand-over (a microsecond) at the speed of one core.
constexpr int64_t kValuesPerTask = 16384;

int64_t tokens_per_task(const QuantizeArgs& args) {
  const int64_t tokens = kValuesPerTask / args.columns;
  return tokens < 1 ? 1 : tokens;
}

// One block: scale = absmax / 127 and q = x * (127 / absmax) to the nearest integer, ties to even.
void quantize_block(const float* x, int8_t* q, float& scale, int32_t& sum) {
  float largest = 0.0f;
  for (int i = 0; i < kTileColumns; i++) {
    const float magnitude = __builtin_fabsf(x[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
  int32_t total = 0;
  for (int i = 0; i < kTileColumns; i++) {
    // Adding and taking away 1.5 * 2^23 rounds to an integer, ties to even, for magnitudes below 2^22. A
    // product that is not finite becomes some byte: a broken activation stays a broken logit, not a broken
    // process.
    float rounded = x[i] * inverse;
    rounded = rounded < 127.0f ? rounded : 127.0f;
    rounded = rounded > -127.0f ? rounded : -127.0f;
    const auto value = static_cast<int32_t>((rounded + 0x1.8p23f) - 0x1.8p23f);
    q[i] = static_cast<int8_t>(value);
    total += value;
  }
  scale = largest / 127.0f;
  sum = total;
}

}  // namespace

int64_t quantize_tasks(const QuantizeArgs& args) {
  const int64_t step = tokens_per_task(args);
  return (args.tokens + step - 1) / step;
}

void quantize(const QuantizeArgs& args, int64_t task, float*) {
  const int64_t step = tokens_per_task(args), tiles = args.columns / kTileColumns;
  const int64_t end = (task + 1) * step < args.tokens ? (task + 1) * step : args.tokens;
  for (int64_t token = task * step; token < end; token++) {
    const int64_t first = token / kTokenBlock * kTokenBlock;
    const int64_t group = args.tokens - first < kTokenBlock ? args.tokens - first : kTokenBlock;
    const float* x = args.x + token * args.columns;
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t index = first * tiles + tile * group + (token - first);
      float scale;
      int32_t sum;
      quantize_block(x + tile * kTileColumns, args.out.q + index * kTileColumns, scale, sum);
      args.out.scale[index] = scale;
      args.out.sum[index] = sum;
      args.out.scaled_sum[index] = scale * static_cast<float>(sum);
    }
  }
}

}  // namespace gs::GS_ISA
