// x = x + bias in every row, or gelu_tanh(x + bias).
#include "gelu.h"
#include "kernels.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {
constexpr int64_t kTaskRows = 8;
}

int64_t add_bias_tasks(const AddBiasArgs& args) { return (args.rows + kTaskRows - 1) / kTaskRows; }

void add_bias(const AddBiasArgs& args, int64_t task, float*) {
  const int64_t first = task * kTaskRows;
  const int64_t last = first + kTaskRows < args.rows ? first + kTaskRows : args.rows;
  for (int64_t row = first; row < last; ++row) {
    float* x = args.x + row * args.width;
    int64_t i = 0;
    for (; i + kLanes <= args.width; i += kLanes) {
      const Vec sum = load(x + i) + load(args.bias + i);
      store(x + i, args.gelu ? gelu_tanh(sum) : sum);
    }
    for (; i < args.width; ++i) {
      const float sum = x[i] + args.bias[i];
      x[i] = args.gelu ? gelu_tanh(broadcast(sum))[0] : sum;
    }
  }
}

}  // namespace gs::GS_ISA
