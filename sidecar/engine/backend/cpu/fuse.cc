#include "fuse.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/matrix_format.h"

namespace gs {
namespace {

// A stretch of an activation, from its first row.
struct Stretch {
  const float* begin;
  int64_t count;

  bool meets(const float* other, int64_t length) const {
    const auto a = reinterpret_cast<uintptr_t>(begin), b = reinterpret_cast<uintptr_t>(other);
    return a < b + static_cast<size_t>(length) * sizeof(float) &&
           b < a + static_cast<size_t>(count) * sizeof(float);
  }
};

// Whether an operation touches a stretch. Only products are asked whether they do so by writing over it.
struct UseOf {
  Stretch stretch;

  bool any(std::initializer_list<std::pair<const float*, int64_t>> touched) const {
    for (const auto& [data, count] : touched) {
      if (stretch.meets(data, count)) return true;
    }
    return false;
  }

  // Up to where from its beginning a product writes over the stretch, which it does not read.
  const float* written_until(const MatmulOp& op) const {
    const float* until = stretch.begin;
    if (any({{op.args.x, op.args.tokens * op.args.columns}})) return until;
    for (const MatmulTarget& target : op.targets) {
      const float* end = target.out + op.args.tokens * target.weight.rows;
      if (stretch.meets(target.out, end - target.out) && target.out <= stretch.begin) until = end;
    }
    return until;
  }

  bool operator()(const MatmulOp& op) const {
    if (any({{op.args.x, op.args.tokens * op.args.columns}})) return true;
    for (const MatmulTarget& target : op.targets) {
      if (stretch.meets(target.out, op.args.tokens * target.weight.rows)) return true;
    }
    return false;
  }
  bool operator()(const RowsOp& op) const {
    for (const RowStep& step : op.steps) {
      if (std::visit(*this, step)) return true;
    }
    return false;
  }
  // Touches rounded activations only, and products that are as dead as the stretch asked about.
  bool operator()(const GatedMatmulOp&) const { return false; }
  bool operator()(const EmbedOp& op) const {
    return any({{op.args.out, op.args.tokens * op.args.table.columns}});
  }
  bool operator()(const KvWriteOp& op) const {
    const int64_t count = op.args.tokens * op.args.kv.kv_heads * op.args.kv.head_dim;
    return any({{op.args.k, count}, {op.args.v, count}});
  }
  bool operator()(const AttentionOp& op) const {
    const int64_t count = op.args.tokens * op.args.heads * op.args.kv.head_dim;
    return any({{op.args.q, count}, {op.args.out, count}});
  }
  bool operator()(const RmsNormArgs& args) const {
    const int64_t count = args.rows * args.width;
    return any({{args.x, count}, {args.out, count}});
  }
  bool operator()(const RopeArgs& args) const {
    return any({{args.x, args.tokens * args.heads * args.head_dim}});
  }
  bool operator()(const GeluMulArgs& args) const {
    return any({{args.gate, args.count}, {args.up, args.count}, {args.out, args.count}});
  }
  bool operator()(const AddArgs& args) const { return any({{args.out, args.count}, {args.x, args.count}}); }
  bool operator()(const LayerNormArgs& args) const {
    return any({{args.x, args.rows * args.width}, {args.out, args.rows * args.width}});
  }
  bool operator()(const AddBiasArgs& args) const { return any({{args.x, args.rows * args.width}}); }
  bool operator()(const AveragePoolArgs& args) const {
    const int64_t count = args.side * args.side * args.width;
    return any({{args.x, count}, {args.out, count / (args.factor * args.factor)}});
  }
  bool operator()(const MutualAttentionArgs& args) const {
    const int64_t count = args.tokens * args.heads * args.head_dim;
    return any({{args.q, count}, {args.k, count}, {args.v, count}, {args.out, count}});
  }
  bool operator()(const Bf16MatmulOp& op) const {
    if (any({{op.round.x, op.round.tokens * op.round.columns}})) return true;
    for (const Bf16MatmulArgs& target : op.targets) {
      if (stretch.meets(target.out, target.tokens * target.rows)) return true;
    }
    return false;
  }
  bool operator()(const TopLogitsOp& op) const {
    return any({{op.x, op.tokens * op.weight.columns}, {op.out, op.tokens * op.width}});
  }
  bool operator()(const CodesMatmulOp& op) const {
    if (any({{op.x, op.tokens * op.columns}})) return true;
    for (const CodesMatmulOp::Target& target : op.targets) {
      if (stretch.meets(target.out, op.tokens * target.rows)) return true;
    }
    return false;
  }
  bool operator()(const QuantizeStep& step) const { return any({{step.x, step.tokens * step.columns}}); }
};

// Whether nobody reads the stretch as it is before operation `from`.
bool is_dead(const Program& program, size_t from, Stretch stretch) {
  const float* whole = stretch.begin;
  for (size_t i = from; i < program.ops.size(); i++) {
    const UseOf use{stretch};
    const auto* products = std::get_if<MatmulOp>(&program.ops[i]);
    const float* written = products == nullptr ? stretch.begin : use.written_until(*products);
    if (written == stretch.begin) {
      if (std::visit(use, program.ops[i])) return false;
      continue;
    }
    if (written >= stretch.begin + stretch.count) return true;
    // What a product of fewer tokens leaves.
    stretch.count -= written - stretch.begin;
    stretch.begin = written;
  }
  return std::find(program.discarded.begin(), program.discarded.end(), whole) != program.discarded.end();
}

bool all_quantized(const MatmulOp& op) {
  for (const MatmulTarget& target : op.targets) {
    if (!is_quantized(target.weight.format)) return false;
  }
  return op.args.int8;
}

// ops[i]: gate and up; ops[i + 1]: geluMul and its rounding; ops[i + 2]: the product that reads it.
bool is_gated_product(const Program& program, size_t i) {
  const std::vector<Op>& ops = program.ops;
  const auto* products = std::get_if<MatmulOp>(&ops[i]);
  const auto* rows = std::get_if<RowsOp>(&ops[i + 1]);
  const auto* down = std::get_if<MatmulOp>(&ops[i + 2]);
  if (products == nullptr || rows == nullptr || down == nullptr || products->targets.size() != 2 ||
      rows->steps.size() != 2 || !all_quantized(*products) || !all_quantized(*down)) {
    return false;
  }
  const auto* gelu = std::get_if<GeluMulArgs>(&rows->steps[0]);
  const auto* rounding = std::get_if<QuantizeStep>(&rows->steps[1]);
  if (gelu == nullptr || rounding == nullptr) return false;
  const MatmulTarget &gate = products->targets[0], &up = products->targets[1];
  const int64_t tokens = products->args.tokens, count = tokens * gate.weight.rows;
  return gate.weight.rows == up.weight.rows && gelu->gate == gate.out && gelu->up == up.out &&
         gelu->out == gate.out && gelu->count == count && rounding->x == gate.out &&
         rounding->tokens == tokens && rounding->columns == gate.weight.rows && down->args.x == gate.out &&
         gate.out != up.out && is_dead(program, i + 3, {gate.out, count}) &&
         is_dead(program, i + 3, {up.out, count});
}

}  // namespace

void fuse_gated_products(Program& program) {
  std::vector<Op> fused;
  fused.reserve(program.ops.size());
  // Whether a product may stay unwritten is asked of the operations as they were recorded.
  std::vector<bool> gated(program.ops.size());
  for (size_t i = 0; i + 2 < program.ops.size(); i++) gated[i] = is_gated_product(program, i);
  for (size_t i = 0; i < program.ops.size(); i++) {
    if (!gated[i]) {
      fused.push_back(std::move(program.ops[i]));
      continue;
    }
    const auto& products = std::get<MatmulOp>(program.ops[i]);
    fused.emplace_back(GatedMatmulOp{products.targets[0].weight, products.targets[1].weight,
                                     products.args.tokens, products.args.columns});
    i += 2;
    std::get<MatmulOp>(program.ops[i]).buffer = 1;
    fused.push_back(std::move(program.ops[i]));
  }
  program.ops = std::move(fused);
}

}  // namespace gs
