#include "read_ahead.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>

#include "kernels/matrix_format.h"

namespace gs {
namespace {

// Decoding and the verification of drafts. Longer passes compute for longer than they read.
constexpr int64_t kFewTokens = 16;

Stretch stretch_of(const PackedMatrix& matrix) {
  return {matrix.panels,
          static_cast<size_t>(panel_count(matrix.rows) * panel_bytes(matrix.format, matrix.columns))};
}

struct ReadingOf {
  Reading operator()(const MatmulOp& op) const {
    Reading reading;
    if (op.args.tokens > kFewTokens) return reading;
    const size_t count = std::min(op.targets.size(), reading.stretches.size());
    for (size_t i = 0; i < count; i++) reading.stretches[i] = stretch_of(op.targets[i].weight);
    return reading;
  }
  Reading operator()(const GatedMatmulOp& op) const {
    if (op.tokens > kFewTokens) return {};
    return {{stretch_of(op.gate), stretch_of(op.up)}, true};
  }
  Reading operator()(const TopLogitsOp& op) const {
    PackedMatrix first = op.weight;
    if (op.shadow != nullptr) {
      first.panels = op.shadow->panels.data();
      first.format = MatrixFormat::kShadow;
    }
    return {{stretch_of(first)}, false};
  }
  template <class Other>
  Reading operator()(const Other&) const {
    return {};
  }
};

}  // namespace

Reading reading_of(const Op& op) { return std::visit(ReadingOf{}, op); }

}  // namespace gs
