// How many threads a machine is good for.
#pragma once
#include <string>
#include <vector>

namespace gs {

// Processors that this process may use.
std::vector<int> allowed_cpus();

// Physical performance cores among `cpus`: hardware threads of one core count once, and cores clearly slower
// than the fastest not at all: the others would wait for them at the end of every operation. `system` is
// where the kernel describes its devices, /sys/devices/system/cpu; what it does not tell is taken as equal.
int performance_cores(const std::vector<int>& cpus, const std::string& system);

}  // namespace gs
