// out += x.
#include "kernels.h"

namespace gs::GS_ISA {

namespace {
constexpr int64_t kTaskFloats = 16384;
}

int64_t add_tasks(const AddArgs& args) { return (args.count + kTaskFloats - 1) / kTaskFloats; }

void add(const AddArgs& args, int64_t task, float*) {
  const int64_t first = task * kTaskFloats;
  const int64_t last = first + kTaskFloats < args.count ? first + kTaskFloats : args.count;
  for (int64_t i = first; i < last; ++i) args.out[i] += args.x[i];
}

}  // namespace gs::GS_ISA
