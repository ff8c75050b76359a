// Integer handles instead of pointers: what JavaScript holds can be stale or forged, and must then miss.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "errors.h"

namespace gs {

// Objects of one kind. A handle is slot + generation * 2^20, exact in a double; removing an object raises its
// slot's generation, so old handles never find the slot's next tenant. Not thread-safe: the JavaScript
// thread's.
template <class Object>
class HandleTable {
 public:
  explicit HandleTable(const char* kind) : kind_(kind) {}

  int64_t add(std::shared_ptr<Object> object) {
    size_t slot = 0;
    while (slot < slots_.size() && slots_[slot].object != nullptr) slot++;
    if (slot == kSlots) throw RangeError(std::string("Too many objects of kind ") + kind_ + ".");
    if (slot == slots_.size()) slots_.emplace_back();
    slots_[slot].object = std::move(object);
    return static_cast<int64_t>(slot) + slots_[slot].generation * kSlots;
  }

  // Throws RangeError if the handle was never given out or its object is gone.
  const std::shared_ptr<Object>& get(int64_t handle) const { return slots_[find(handle)].object; }

  void remove(int64_t handle) {
    Slot& slot = slots_[find(handle)];
    slot.object.reset();
    slot.generation++;
  }

  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.object != nullptr) visit(*slot.object);
    }
  }

  void clear() {
    for (Slot& slot : slots_) {
      if (slot.object == nullptr) continue;
      slot.object.reset();
      slot.generation++;
    }
  }

 private:
  struct Slot {
    std::shared_ptr<Object> object;
    int64_t generation = 1;
  };
  static constexpr int64_t kSlots = int64_t{1} << 20;

  size_t find(int64_t handle) const {
    const int64_t slot = handle % kSlots, generation = handle / kSlots;
    if (handle < 0 || slot >= static_cast<int64_t>(slots_.size()) ||
        slots_[static_cast<size_t>(slot)].generation != generation ||
        slots_[static_cast<size_t>(slot)].object == nullptr) {
      throw RangeError(std::string("This ") + kind_ + " is not alive; it was disposed of or never existed.");
    }
    return static_cast<size_t>(slot);
  }

  const char* kind_;
  std::vector<Slot> slots_;
};

}  // namespace gs
