#include "dispatch.h"

#include <utility>

#include "errors.h"
#include "kernels/kernel_table.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace gs {
namespace {

std::vector<Isa> find_isas() {
  std::vector<Isa> isas;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2 && avx512) isas.push_back({"avx512", "AVX-512 VNNI", &avx512::kernel_table()});
  if (avx2 && __builtin_cpu_supports("avxvnni")) {
    isas.push_back({"avxvnni", "AVX-VNNI", &avxvnni::kernel_table()});
  }
  if (avx2) isas.push_back({"avx2", "AVX2", &avx2::kernel_table()});
#elif defined(__aarch64__)
  constexpr unsigned long kDotProduct = 1ul << 20, kHalfVectors = 1ul << 10;  // HWCAP_ASIMDDP, HWCAP_ASIMDHP
  const unsigned long capabilities = getauxval(AT_HWCAP);
  if ((capabilities & kDotProduct) && (capabilities & kHalfVectors)) {
    constexpr unsigned long kInt8Products = 1ul << 13;  // HWCAP2_I8MM
    if (getauxval(AT_HWCAP2) & kInt8Products) {
      isas.push_back({"neon_i8mm", "NEON int8 matrix products", &neon_i8mm::kernel_table()});
    }
    isas.push_back({"neon", "NEON dot product", &neon::kernel_table()});
  }
#endif
  isas.push_back({"scalar", "scalar", &scalar::kernel_table()});
  return isas;
}

}  // namespace

const std::vector<Isa>& usable_isas() {
  static const std::vector<Isa> isas = find_isas();
  return isas;
}

const Isa& choose_isa(const std::string& name) {
  if (name.empty()) return usable_isas().front();
  std::string choices;
  for (const Isa& isa : usable_isas()) {
    if (name == isa.name) return isa;
    choices += choices.empty() ? isa.name : std::string(", ") + isa.name;
  }
  throw BackendError("Instruction set \"" + name + "\" cannot run here; choose one of " + choices + ".");
}

}  // namespace gs
