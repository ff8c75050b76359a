// The tables that dispatch.cc chooses from; which of them exist depends on the processor family.
#pragma once
#include "kernels.h"

namespace gs {

#define GS_DECLARE_TABLE(isa)        \
  namespace isa {                    \
  const KernelTable& kernel_table(); \
  }

#if defined(__x86_64__)
GS_DECLARE_TABLE(avx512)
GS_DECLARE_TABLE(avxvnni)
GS_DECLARE_TABLE(avx2)
#elif defined(__aarch64__)
GS_DECLARE_TABLE(neon_i8mm)
GS_DECLARE_TABLE(neon)
#endif
GS_DECLARE_TABLE(scalar)

#undef GS_DECLARE_TABLE

}  // namespace gs
