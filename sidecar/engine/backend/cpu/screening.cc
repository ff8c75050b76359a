// topLogits: the greatest products of a matrix's rows with an activation, exactly, reading as little of the
// matrix as its shadow allows.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "engine.h"
#include "errors.h"
#include "kernels/matrix_format.h"
#include "top_values.h"

namespace gs {
namespace {

// Panels of one task of the selection.
constexpr int64_t kSelectPanels = 2048;

// Panels by which a shadow grows at once: some ten milliseconds of 1,152 columns.
constexpr int64_t kGrowPanels = 256;

// Reading the shadow costs a third of reading an F16 matrix, for several tokens more: it is lost where more
// than this share of the panels is read after all, and then as many requests like it go without.
constexpr double kUselessShare = 0.5;
constexpr int kRequestsWithout = 16;
// Requests for as few are like the greedy choice, which needs far fewer panels than top-k does.
constexpr int64_t kFew = 8;

// A number that at least `count` rows reach: of each panel's best row one is known.
float threshold(const float* least, int64_t panels, int64_t count) {
  if (count > panels) return -std::numeric_limits<float>::infinity();
  TopValues best(static_cast<size_t>(count));
  best.add_run(least, panels, 0);
  return std::move(best).sorted().back().value;
}

}  // namespace

bool Engine::grow_shadow(MatrixObject& matrix) {
  const int64_t panels = panel_count(matrix.rows);
  if (matrix.growing == nullptr) {
    if (matrix.rounding != MatrixObject::Rounding::kNone || matrix.columns % kTileColumns != 0)
      throw RangeError("A shadow needs a multiple of 32 columns.");
    const auto bytes = static_cast<size_t>(panels * panel_bytes(MatrixFormat::kShadow, matrix.columns));
    auto made = std::make_shared<ShadowObject>();
    made->panels = Region(bytes, HugePages::kYes, "the shadow of the output matrix");
    made->errors = Region(static_cast<size_t>(panels) * 2 * kPanelRows * sizeof(float), HugePages::kYes,
                          "the shadow of the output matrix");
    matrix.growing = std::move(made);
  }
  const ShadowPackArgs args = {matrix.packed(), matrix.growing->panels.data(),
                               reinterpret_cast<float*>(matrix.growing->errors.data())};
  const int64_t first = matrix.grown, end = std::min(panels, first + kGrowPanels);
  pool_.run(end - first, [&](int64_t task, float* scratch) {
    if (!stopping_.load(std::memory_order_relaxed)) kernels_.shadow_pack.run(args, first + task, scratch);
  });
  if (stopping_.load()) throw CancelledError();
  matrix.grown = end;
  return end == panels;
}

// Panels that may hold one of the greatest products, in order, and those of the rows asked for.
std::vector<int32_t> Engine::screen(const TopLogitsOp& op, const QuantizedActivations& acts) {
  const int64_t panels = panel_count(op.weight.rows), columns = op.weight.columns;
  const int64_t parts = op.int8 ? 1 : 2;
  const auto floats = static_cast<size_t>(op.tokens * (2 + 2 * panels));
  auto* factors = reinterpret_cast<float*>(shared(screened_, floats * sizeof(float), "screening"));
  float* least = factors + 2 * op.tokens;
  float* most = least + op.tokens * panels;
  const PackedMatrix copy = {op.shadow->panels.data(), MatrixFormat::kShadow, op.weight.rows, columns};
  ScreenArgs args = {copy, op.shadow->bounds(), acts, op.tokens, parts, factors, least, most};
  if (op.int8) {
    kernels_.screen_factors(args, factors);
  } else {
    args.x = rounded(0, 2 * op.tokens, columns);
    run_kernel(kernels_.screen_round, {op.x, args.x, op.tokens, columns, factors});
  }
  run_kernel(kernels_.screen, args);

  std::vector<bool> wanted(static_cast<size_t>(panels));
  for (const int32_t row : op.also) wanted[static_cast<size_t>(row / kPanelRows)] = true;
  for (int64_t token = 0; token < op.tokens; token++) {
    const bool usable = std::isfinite(factors[2 * token]) && std::isfinite(factors[2 * token + 1]);
    const float* high = most + token * panels;
    const float needed = threshold(least + token * panels, panels, op.count);
    for (int64_t panel = 0; panel < panels; panel++) {
      if (!usable || !(high[panel] < needed)) wanted[static_cast<size_t>(panel)] = true;
    }
  }
  std::vector<int32_t> list;
  for (int64_t panel = 0; panel < panels; panel++) {
    if (wanted[static_cast<size_t>(panel)]) list.push_back(static_cast<int32_t>(panel));
  }
  return list;
}

void Engine::run_op(TopLogitsOp& op) {
  const int64_t panels = panel_count(op.weight.rows);
  const QuantizedActivations acts =
      op.int8 ? rounded(0, op.tokens, op.weight.columns) : QuantizedActivations{};
  std::vector<int32_t> list;
  int& without = without_shadow_[op.count > kFew];
  const bool all = op.shadow == nullptr || without > 0;
  if (!all) {
    list = screen(op, acts);
    const auto read = static_cast<double>(list.size());
    if (read > kUselessShare * static_cast<double>(panels)) without = kRequestsWithout;
  } else if (without > 0) {
    without--;
  }
  const int64_t count = all ? panels : static_cast<int64_t>(list.size());
  const auto floats = static_cast<size_t>(count * op.tokens * kPanelRows);
  auto* products = reinterpret_cast<float*>(shared(products_, floats * sizeof(float), "products"));
  run_kernel(kernels_.panels,
             {op.weight, op.x, acts, op.int8, op.tokens, all ? nullptr : list.data(), count, products});
  if (is_cancelled()) return;
  screening_.passes++;
  screening_.panels += static_cast<uint64_t>(panels);
  screening_.read += static_cast<uint64_t>(count);

  const auto panel_of = [&](int64_t i) { return all ? i : int64_t{list[static_cast<size_t>(i)]}; };
  const auto product = [&](int64_t i, int64_t token) {
    return products + (i * op.tokens + token) * kPanelRows;
  };
  const int64_t pieces = (count + kSelectPanels - 1) / kSelectPanels;
  std::vector<std::vector<RankedValue>> best(static_cast<size_t>(pieces * op.tokens));
  pool_.run(pieces * op.tokens, [&](int64_t task, float*) {
    const int64_t token = task % op.tokens, first = task / op.tokens * kSelectPanels;
    TopValues top(static_cast<size_t>(op.count));
    for (int64_t i = first; i < std::min(count, first + kSelectPanels); i++) {
      const int64_t row = panel_of(i) * kPanelRows;
      top.add_run(product(i, token), std::min<int64_t>(kPanelRows, op.weight.rows - row), row);
    }
    best[static_cast<size_t>(task)] = std::move(top).sorted();
  });

  const int64_t slots = op.width / 2;
  for (int64_t token = 0; token < op.tokens; token++) {
    TopValues top(static_cast<size_t>(op.count));
    for (int64_t piece = 0; piece < pieces; piece++) {
      for (const RankedValue& one : best[static_cast<size_t>(piece * op.tokens + token)]) top.add(one);
    }
    float* values = op.out + token * op.width;
    float* rows = values + slots;
    std::fill_n(values, slots, std::numeric_limits<float>::quiet_NaN());
    std::fill_n(rows, slots, -1.0f);
    int64_t slot = 0;
    for (const RankedValue& one : std::move(top).sorted()) {
      values[slot] = one.value;
      rows[slot++] = static_cast<float>(one.index);
    }
    slot = op.count;
    for (const int32_t row : op.also) {
      const int32_t panel = row / kPanelRows;
      const int64_t at = all ? panel : std::lower_bound(list.begin(), list.end(), panel) - list.begin();
      values[slot] = product(at, token)[row % kPanelRows];
      rows[slot++] = static_cast<float>(row);
    }
  }
}

}  // namespace gs
