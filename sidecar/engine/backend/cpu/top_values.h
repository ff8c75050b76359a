// The greatest of many values.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gs {

struct RankedValue {
  float value;
  int32_t index;
};

// Whether `a` stands before `b`: greater values first, equal ones in order of index; what is no finite number
// stands before all, so that nobody misses it.
bool precedes(const RankedValue& a, const RankedValue& b);

// Keeps the first `count` of what is added, in the order of precedes().
class TopValues {
 public:
  explicit TopValues(size_t count) : count_(count) { kept_.reserve(count); }

  void add(RankedValue value);
  // Values with indices from `first` on.
  void add_run(const float* values, int64_t count, int64_t first);
  std::vector<RankedValue> sorted() &&;

 private:
  size_t count_;
  std::vector<RankedValue> kept_;  // a heap once full, the last one at its root
};

}  // namespace gs
