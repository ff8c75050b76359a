// A pool of persistent worker threads that run one parallel region after another.
//
// The thread that calls run() is worker 0. Between regions workers spin for a bounded time, because a pass is
// a few hundred regions of some microseconds each, and then sleep, so an idle engine costs nothing.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "memory.h"

namespace gs {

class ThreadPool {
 public:
  // `threads` >= 1, worker 0 included. Workers run at the system's priority lowered by `niceness`; worker 0
  // is the caller's to lower. Throws OutOfMemoryError or std::system_error.
  ThreadPool(int threads, int niceness);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(scratch_.size()); }
  size_t scratch_bytes() const;

  // Calls body(task, scratch) for every task in [0, tasks), in any order on any worker, and returns when all
  // are done. Each worker has a share of consecutive tasks, which it takes one at a time, so that it reads
  // memory in one stream; who is done helps the others, so that a slow or interrupted core does fewer. Not
  // reentrant; the body must not throw. A single task runs on the caller without waking anybody.
  template <class Body>
  void run(int64_t tasks, const Body& body) {
    run_region(
        tasks,
        [](const void* context, int64_t task, float* scratch) {
          (*static_cast<const Body*>(context))(task, scratch);
        },
        &body);
  }

 private:
  using Function = void (*)(const void* context, int64_t task, float* scratch);

  void run_region(int64_t tasks, Function function, const void* context);
  void work(int worker);
  void take_tasks(int worker);

  std::vector<Region> scratch_;
  std::vector<std::thread> workers_;

  // The region being run. Written by the caller while it is closed and nobody is inside.
  Function function_ = nullptr;
  const void* context_ = nullptr;
  // Tasks of a worker's share that nobody has taken.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::vector<Share> shares_;
  alignas(64) std::atomic<uint32_t> region_{
      0};                                   // number of the newest region; odd while it is open to workers
  alignas(64) std::atomic<int> inside_{0};  // workers, other than the caller, that may be running its tasks
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace gs
