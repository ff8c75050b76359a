// Rounds activations to int8 or BF16 in blocks of 32 columns, into the layout that matmul reads (kernels.h).
#include <cstdint>

#include "kernels.h"
#include "matrix_format.h"
#include "round_block.h"

namespace gs::GS_ISA {
namespace {

// About the work of one region hand-over (a microsecond) at the speed of one core.
constexpr int64_t kValuesPerTask = 16384;

int64_t tokens_per_task(const QuantizeArgs& args) {
  const int64_t tokens = kValuesPerTask / args.columns;
  return tokens < 1 ? 1 : tokens;
}

}  // namespace

int64_t quantize_tasks(const QuantizeArgs& args) {
  const int64_t step = tokens_per_task(args);
  return (args.last - args.first + step - 1) / step;
}

void quantize(const QuantizeArgs& args, int64_t task, float*) {
  const int64_t step = tokens_per_task(args), tiles = (args.columns + kTileColumns - 1) / kTileColumns;
  const int64_t start = args.first + task * step;
  const int64_t end = start + step < args.last ? start + step : args.last;
  for (int64_t token = start; token < end; token++) {
    const int64_t first = token / kTokenBlock * kTokenBlock;
    const int64_t group = args.tokens - first < kTokenBlock ? args.tokens - first : kTokenBlock;
    const float* x = args.x + token * args.columns;
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t index = first * tiles + tile * group + (token - first),
                    left = args.columns - tile * kTileColumns;
      if (left >= kTileColumns) {
        round_block(x + tile * kTileColumns, args.out, index);
        continue;
      }
      float filled[kTileColumns] = {};
      __builtin_memcpy(filled, x + tile * kTileColumns, static_cast<size_t>(left) * sizeof(float));
      round_block(filled, args.out, index);
    }
  }
}

}  // namespace gs::GS_ISA
