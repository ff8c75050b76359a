#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <set>
#include <utility>

namespace gs {
namespace {

// Percent of the fastest. Efficiency cores clock at 65 to 81 % of their neighbours and do half as much in a
// cycle; equal cores differ by up to a tenth in what they may boost to.
constexpr int64_t kPerformance = 82;

int read_number(const std::string& path) {
  int value = -1;
  std::ifstream(path) >> value;
  return value;
}

}  // namespace

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  return cpus;
}

int performance_cores(const std::vector<int>& cpus, const std::string& system) {
  struct Cpu {
    std::pair<int, int> core;  // (package, core); hardware threads of one core share the pair
    int speed;
  };
  std::vector<Cpu> known;
  int fastest = 0;
  for (const int cpu : cpus) {
    const std::string folder = system + "/cpu" + std::to_string(cpu);
    const int core = read_number(folder + "/topology/core_id");
    // Arm and newer kernels give a relative speed, others of hybrid processors the highest clock rate.
    int speed = read_number(folder + "/cpu_capacity");
    if (speed < 0) speed = read_number(folder + "/cpufreq/cpuinfo_max_freq");
    fastest = std::max(fastest, speed);
    // Without topology (some containers) every hardware thread counts as a core of its own.
    const std::pair id = core < 0 ? std::pair(-1, cpu)
                                  : std::pair(read_number(folder + "/topology/physical_package_id"), core);
    known.push_back({id, speed});
  }
  std::set<std::pair<int, int>> cores;
  for (const Cpu& cpu : known) {
    if (cpu.speed < 0 || 100 * int64_t{cpu.speed} >= kPerformance * fastest) cores.insert(cpu.core);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace gs
