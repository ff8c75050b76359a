// Which instruction sets this build has kernels for and this processor can run, best first.
#pragma once
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace gs {

struct Isa {
  const char* name;         // "avx512", "avx2", "neon", "scalar"
  const char* description;  // "AVX-512 VNNI"
  const KernelTable* table;
};

// Never empty: scalar is always last.
const std::vector<Isa>& usable_isas();

// The best one, or the one named. Throws BackendError, naming the choices, if it cannot run here.
const Isa& choose_isa(const std::string& name);

}  // namespace gs
