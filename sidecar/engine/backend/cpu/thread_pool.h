// A pool of persistent worker threads that run one parallel region after another.
//
// The thread that calls run() is worker 0. Between regions workers spin for a bounded time, because a pass is
// a few hundred regions of some microseconds each, and then sleep, so an idle engine costs nothing.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "memory.h"

namespace gs {

// Memory that a region to come reads once, from front to back.
struct Stretch {
  const uint8_t* begin;
  size_t bytes;
};

struct Reading {
  std::array<Stretch, 3> stretches{};  // unused ones are empty
  // Every worker reads its share of each stretch; else a share of all stretches one behind the other.
  bool side_by_side = false;
};

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

  // Says what a later region will read. Workers with nothing to do fetch the beginning of their share into
  // their cache, so that memory is not idle while one of them computes what no other can help with. Only the
  // thread that calls run() may call it; the memory may go away at any time, as fetching never faults.
  void expect(const Reading& reading);

 private:
  using Function = void (*)(const void* context, int64_t task, float* scratch);

  void run_region(int64_t tasks, Function function, const void* context);
  void work(int worker);
  void take_tasks(int worker);

  // The part of a Reading that a worker fetches. Written by the caller at any time: who reads half of an old
  // one and half of a new one fetches something useless.
  static constexpr int kPieces = 2;
  struct alignas(64) Ahead {
    std::atomic<uint32_t> version{0};
    std::atomic<uintptr_t> begin[kPieces] = {}, end[kPieces] = {};
  };
  // How far a worker has got with it.
  struct Fetched {
    uint32_t version = 0;
    uintptr_t next[kPieces] = {}, end[kPieces] = {};
  };
  // Fetches a little; false if there is nothing left.
  static bool fetch(const Ahead& ahead, Fetched& fetched);

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
  std::vector<Ahead> ahead_;
  Fetched fetched_;  // by worker 0
  alignas(64) std::atomic<uint32_t> region_{
      0};                                   // number of the newest region; odd while it is open to workers
  alignas(64) std::atomic<int> inside_{0};  // workers, other than the caller, that may be running its tasks
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace gs
