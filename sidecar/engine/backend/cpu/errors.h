// What the native engine throws. The addon's edge turns each into a JavaScript error with the code named
// here; anything else that escapes becomes code INTERNAL.
#pragma once
#include <stdexcept>
#include <string>

namespace gs {

// An argument outside its range, a dead handle, a list that does not parse. Code RANGE.
struct RangeError : std::runtime_error {
  using runtime_error::runtime_error;
};

// The system refused memory; the message says how much was asked for. Code OUT_OF_MEMORY.
struct OutOfMemoryError : std::runtime_error {
  using runtime_error::runtime_error;
};

// The signal of a pass fired, or the engine was disposed of under it. Code CANCELLED.
struct CancelledError : std::runtime_error {
  CancelledError() : runtime_error("The pass was cancelled.") {}
};

// A file is missing, changed or unreadable; an instruction set is not there. Code BACKEND.
struct BackendError : std::runtime_error {
  using runtime_error::runtime_error;
};

}  // namespace gs
