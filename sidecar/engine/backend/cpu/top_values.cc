#include "top_values.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <utility>

namespace gs {

bool precedes(const RankedValue& a, const RankedValue& b) {
  const bool a_finite = std::isfinite(a.value), b_finite = std::isfinite(b.value);
  if (a_finite != b_finite) return b_finite;
  if (a_finite && a.value != b.value) return a.value > b.value;
  return a.index < b.index;
}

void TopValues::add(RankedValue value) {
  if (kept_.size() < count_) {
    kept_.push_back(value);
    if (kept_.size() == count_) std::make_heap(kept_.begin(), kept_.end(), precedes);
  } else if (precedes(value, kept_.front())) {
    std::pop_heap(kept_.begin(), kept_.end(), precedes);
    kept_.back() = value;
    std::push_heap(kept_.begin(), kept_.end(), precedes);
  }
}

void TopValues::add_run(const float* values, int64_t count, int64_t first) {
  // Most values fail one comparison: sixteen of them at a time.
  constexpr int64_t kStep = 16;
  for (int64_t start = 0; start < count; start += kStep) {
    const int64_t end = std::min(count, start + kStep);
    if (kept_.size() == count_ && end - start == kStep && std::isfinite(kept_.front().value)) {
      const float weakest = kept_.front().value;
      int candidates = 0;
      for (int64_t i = start; i < start + kStep; i++) {
        candidates += !(values[i] < weakest) | (values[i] < -FLT_MAX);
      }
      if (candidates == 0) continue;
    }
    for (int64_t i = start; i < end; i++) add({values[i], static_cast<int32_t>(first + i)});
  }
}

std::vector<RankedValue> TopValues::sorted() && {
  std::sort(kept_.begin(), kept_.end(), precedes);
  return std::move(kept_);
}

}  // namespace gs
