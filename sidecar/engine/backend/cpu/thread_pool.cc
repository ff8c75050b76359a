#include "thread_pool.h"

#include <chrono>

#include "kernels/kernels.h"
#include "priority.h"

namespace gs {
namespace {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Long enough to bridge the serial stretches inside a pass (an RMSNorm of one token takes about a
// microsecond), short enough that a neighbour who needs the core hardly notices.
constexpr auto kSpin = std::chrono::microseconds(60);

// Looking at the clock costs more than a pause, so it is done once in this many.
constexpr int kPausesPerClock = 32;

// Spins until `ready`, for kSpin at most; true if it came.
template <class Ready>
bool spin_until(const Ready& ready) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerClock; i++) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return ready();
}

bool is_open(uint32_t region) { return region % 2 == 1; }

}  // namespace

ThreadPool::ThreadPool(int threads, int niceness) : shares_(static_cast<size_t>(threads)) {
  for (int i = 0; i < threads; i++)
    scratch_.emplace_back(kScratchBytes, HugePages::kNo, "a worker's scratch");
  for (int i = 1; i < threads; i++)
    workers_.emplace_back([this, i, niceness] {
      lower_priority(niceness);
      work(i);
    });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

size_t ThreadPool::scratch_bytes() const { return scratch_.size() * kScratchBytes; }

void ThreadPool::take_tasks(int worker) {
  auto* scratch = reinterpret_cast<float*>(scratch_[static_cast<size_t>(worker)].data());
  const size_t count = shares_.size();
  for (size_t i = 0; i < count; i++) {
    Share& share = shares_[(static_cast<size_t>(worker) + i) % count];
    for (;;) {
      const int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= share.end) break;
      function_(context_, task, scratch);
    }
  }
}

void ThreadPool::run_region(int64_t tasks, Function function, const void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || workers_.empty()) {
    auto* scratch = reinterpret_cast<float*>(scratch_[0].data());
    for (int64_t task = 0; task < tasks; task++) function(context, task, scratch);
    return;
  }
  function_ = function;
  context_ = context;
  const auto count = static_cast<int64_t>(shares_.size());
  for (int64_t i = 0; i < count; i++) {
    Share& share = shares_[static_cast<size_t>(i)];
    share.next.store(i * tasks / count, std::memory_order_relaxed);
    share.end = (i + 1) * tasks / count;
  }
  region_.fetch_add(1);  // opens it
  if (sleepers_.load() > 0) {
    { const std::lock_guard lock(mutex_); }  // a worker between its last look and its wait holds the mutex
    wake_.notify_all();
  }
  take_tasks(0);
  region_.fetch_add(1);  // closes it: who has not entered yet stays out, so nobody waits for a sleeper
  const auto left = [this] { return inside_.load() == 0; };
  // A worker that has lost its core in the middle of a task may be away for milliseconds: give it this one.
  while (!spin_until(left)) std::this_thread::yield();
}

// region_ and inside_ are sequentially consistent: either the worker's entry is seen by the caller that
// closes the region, which then waits, or the closing is seen by the worker, which then leaves without
// touching the fields.
void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  for (;;) {
    const auto called = [&] {
      const uint32_t region = region_.load();
      return (is_open(region) && region != seen) || stopping_.load();
    };
    if (!spin_until(called)) {
      std::unique_lock lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, called);
      sleepers_.fetch_sub(1);
    }
    if (stopping_.load()) return;
    seen = region_.load();
    if (!is_open(seen)) continue;
    inside_.fetch_add(1);
    if (region_.load() == seen) take_tasks(worker);
    inside_.fetch_sub(1);
  }
}

}  // namespace gs
