#include "profile.h"

#include <time.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "kernels/matrix_format.h"

namespace gs {
namespace {

double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double multiply_adds(int64_t tokens, const PackedMatrix& weight) {
  return 2.0 * static_cast<double>(tokens) * static_cast<double>(weight.rows) *
         static_cast<double>(weight.columns);
}

// An operation's name, with the arithmetic it is done in, and how much of that there is.
struct Describe {
  using Result = std::pair<const char*, double>;

  Result operator()(const EmbedOp&) const { return {"embed", 0}; }
  Result operator()(const RowsOp&) const { return {"rows", 0}; }
  Result operator()(const KvWriteOp&) const { return {"kvWrite", 0}; }
  Result operator()(const LayerNormArgs&) const { return {"layerNorm", 0}; }
  Result operator()(const AddBiasArgs&) const { return {"addBias", 0}; }
  Result operator()(const AveragePoolArgs&) const { return {"averagePool", 0}; }
  Result operator()(const MatmulOp& op) const {
    double operations = 0;
    bool int8 = op.args.int8;
    for (const MatmulTarget& target : op.targets) {
      operations += multiply_adds(op.args.tokens, target.weight);
      int8 = int8 && is_quantized(target.weight.format);
    }
    if (!int8) return {"matmul f32", operations};
    return {op.args.acts.bf16 == nullptr ? "matmul int8" : "matmul bf16 and codes", operations};
  }
  Result operator()(const GatedMatmulOp& op) const {
    return {"gatedMatmul", multiply_adds(op.tokens, op.gate) + multiply_adds(op.tokens, op.up)};
  }
  Result operator()(const Bf16MatmulOp& op) const {
    double operations = 0;
    for (const Bf16MatmulArgs& target : op.targets)
      operations += 2.0 * static_cast<double>(target.tokens) * static_cast<double>(target.rows) *
                    static_cast<double>(target.columns);
    return {"matmul bf16", operations};
  }
  Result operator()(const TopLogitsOp&) const { return {"topLogits", 0}; }
  Result operator()(const CodesMatmulOp& op) const {
    double operations = 0;
    for (const CodesMatmulOp::Target& target : op.targets)
      operations += 2.0 * static_cast<double>(op.tokens) * static_cast<double>(target.rows) *
                    static_cast<double>(op.columns);
    return {"matmul int8 and rest", operations};
  }
  Result operator()(const MutualAttentionArgs& args) const {
    const auto tokens = static_cast<double>(args.tokens);
    return {"mutualAttention", 4.0 * tokens * tokens * static_cast<double>(args.heads * args.head_dim)};
  }
  Result operator()(const AttentionOp& op) const {
    double seen = 0;
    for (int64_t i = 0; i < op.args.tokens; i++) {
      const int64_t position = op.args.position + i;
      const int64_t until =
          op.visible_until.empty() ? position + 1 : op.visible_until[static_cast<size_t>(i)];
      const int64_t first = op.args.window == 0 ? 0 : std::max<int64_t>(0, position - op.args.window + 1);
      seen += static_cast<double>(until - first);
    }
    return {"attention f32", 4.0 * seen * static_cast<double>(op.args.heads * op.args.kv.head_dim)};
  }
};

}  // namespace

Profile::Clock Profile::now() { return {seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)}; }

void Profile::add(const Op& op, Clock start, Clock end) {
  const auto [name, operations] = std::visit(Describe{}, op);
  const std::lock_guard lock(mutex_);
  OperationTime& time = times_[name];
  time.runs++;
  time.wall += end.wall - start.wall;
  time.cpu += end.cpu - start.cpu;
  time.operations += operations;
}

std::map<std::string, OperationTime> Profile::take() {
  on_ = true;
  const std::lock_guard lock(mutex_);
  return std::exchange(times_, {});
}

}  // namespace gs
