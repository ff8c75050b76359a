// Rounds activations to int8 in blocks of 32 columns, into the layout that matmul reads (kernels.h).
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

struct Block {
  float scale;
  int32_t first_sum, sum;
};

// scale = absmax / 127 and q = x * (127 / absmax) to the nearest integer, ties to even. Integer reductions,
// since the compiler may reorder those: non-negative floats compare like their bits.
Block quantize_block(const float* x, int8_t* q) {
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
  return {largest / 127.0f, sums[0], sums[0] + sums[1]};
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
      const Block block = quantize_block(x + tile * kTileColumns, args.out.q + index * kTileColumns);
      args.out.scale[index] = block.scale;
      args.out.sum[index] = block.sum;
      args.out.first_sum[index] = block.first_sum;
      args.out.scaled_sum[index] = block.scale * static_cast<float>(block.sum);
    }
  }
}

}  // namespace gs::GS_ISA
