#include "thread_pool.h"

#include <algorithm>
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

// What a worker fetches of a piece at most. Two pieces leave room in a second-level cache of 512 KiB, and are
// what memory delivers to one core in some ten microseconds.
constexpr size_t kFetchBytes = size_t{192} << 10;

// Lines fetched between two looks at what is waited for: some 30 ns.
constexpr uintptr_t kLineBytes = 64, kFetchStep = 16 * kLineBytes;

// Spins until `ready`, for kSpin at most; true if it came. Meanwhile calls `idle`, which does a little of
// something useful and returns whether it did.
template <class Ready, class Idle>
bool spin_until(const Ready& ready, const Idle& idle) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerClock; i++) {
      if (ready()) return true;
      if (!idle()) relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return ready();
}

bool is_open(uint32_t region) { return region % 2 == 1; }

}  // namespace

ThreadPool::ThreadPool(int threads, int niceness)
    : shares_(static_cast<size_t>(threads)), ahead_(static_cast<size_t>(threads)) {
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

void ThreadPool::expect(const Reading& reading) {
  const size_t workers = ahead_.size();
  size_t all = 0;
  for (const Stretch& stretch : reading.stretches) all += stretch.bytes;
  for (size_t worker = 0; worker < workers; worker++) {
    Ahead& ahead = ahead_[worker];
    size_t pieces = 0;
    const auto add = [&](const Stretch& stretch, size_t from, size_t bytes) {
      if (pieces == kPieces || bytes == 0) return;
      const uintptr_t begin = reinterpret_cast<uintptr_t>(stretch.begin) + from;
      ahead.begin[pieces].store(begin, std::memory_order_relaxed);
      ahead.end[pieces++].store(begin + std::min(bytes, kFetchBytes), std::memory_order_relaxed);
    };
    size_t skip = all / workers * worker, share = all / workers;
    for (const Stretch& stretch : reading.stretches) {
      if (reading.side_by_side) {
        add(stretch, stretch.bytes / workers * worker, stretch.bytes / workers);
        continue;
      }
      const size_t from = std::min(skip, stretch.bytes), bytes = std::min(share, stretch.bytes - from);
      skip -= from;
      share -= bytes;
      add(stretch, from, bytes);
    }
    for (; pieces < kPieces; pieces++) ahead.end[pieces].store(0, std::memory_order_relaxed);
    ahead.version.fetch_add(1, std::memory_order_release);
  }
}

bool ThreadPool::fetch(const Ahead& ahead, Fetched& fetched) {
  const uint32_t version = ahead.version.load(std::memory_order_acquire);
  if (version != fetched.version) {
    fetched.version = version;
    for (int i = 0; i < kPieces; i++) {
      fetched.next[i] = ahead.begin[i].load(std::memory_order_relaxed);
      fetched.end[i] = ahead.end[i].load(std::memory_order_relaxed);
    }
  }
  bool any = false;
  for (int i = 0; i < kPieces; i++) {
    if (fetched.next[i] >= fetched.end[i]) continue;
    for (uintptr_t line = 0; line < kFetchStep; line += kLineBytes) {
      __builtin_prefetch(reinterpret_cast<const void*>(fetched.next[i] + line), 0, 2);
    }
    fetched.next[i] += kFetchStep;
    any = true;
  }
  return any;
}

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
  const auto idle = [this] { return fetch(ahead_[0], fetched_); };
  while (!spin_until(left, idle)) std::this_thread::yield();
}

// region_ and inside_ are sequentially consistent: either the worker's entry is seen by the caller that
// closes the region, which then waits, or the closing is seen by the worker, which then leaves without
// touching the fields.
void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  Fetched fetched;
  const auto idle = [&] { return fetch(ahead_[static_cast<size_t>(worker)], fetched); };
  for (;;) {
    const auto called = [&] {
      const uint32_t region = region_.load();
      return (is_open(region) && region != seen) || stopping_.load();
    };
    if (!spin_until(called, idle)) {
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
