// How the system shares the processor between us and an editor.
#pragma once

namespace gs {

// Lowers the calling thread's priority by `niceness` (0 to 19, as `nice` counts) below what it is; without
// effect where the system does not let threads differ.
void lower_priority(int niceness);

}  // namespace gs
