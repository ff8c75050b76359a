// What each kind of operation takes: for `bench --profile`, off otherwise.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "program.h"

namespace gs {

struct OperationTime {
  int64_t runs = 0;
  double wall = 0;        // seconds
  double cpu = 0;         // seconds of all threads of the process: steadier than `wall` on a busy machine
  double operations = 0;  // a multiplication and an addition are two; 0 where nothing is worth counting
};

class Profile {
 public:
  // Whether anybody has asked yet; the first call of take() turns it on.
  bool on() const { return on_; }
  // By kind, since the call before.
  std::map<std::string, OperationTime> take();
  // Runs `work`, which is `op`.
  template <class Work>
  void measure(const Op& op, const Work& work) {
    const Clock start = now();
    work();
    add(op, start, now());
  }

 private:
  struct Clock {
    double wall, cpu;
  };
  static Clock now();
  void add(const Op& op, Clock start, Clock end);

  std::atomic<bool> on_{false};
  std::mutex mutex_;
  std::map<std::string, OperationTime> times_;
};

}  // namespace gs
