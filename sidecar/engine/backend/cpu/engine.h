// The CPU engine without Node: objects, a thread pool, and one dispatcher thread that runs jobs in order.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "dispatch.h"
#include "objects.h"
#include "profile.h"
#include "program.h"
#include "thread_pool.h"

namespace gs {

// A weight as it stands in a file, or its bytes. `bytes` is used if `path` is empty.
struct WeightData {
  std::string path;
  uint64_t file_size = 0, offset = 0, length = 0;
  std::vector<uint8_t> bytes;
};

struct MemoryUse {
  size_t weights, kv_reserved, kv_touched, scratch;
};

// What topLogits read: panels of matrices without a shadow count as read. Counted by the dispatcher.
struct Screening {
  std::atomic<uint64_t> passes{0};
  std::atomic<uint64_t> panels{0};  // of the matrices, once a pass
  std::atomic<uint64_t> read{0};    // of these, exactly
};

// How products read activations, and matrices that may be rounded: `PRECISIONS` of native.ts, in its order.
enum class Precision : int { kInt8, kBf16, kF32 };

// What becomes of a matrix's packed panels.
enum class Keeping { kAsItIs, kRounded, kForNow };

using CancelFlag = std::shared_ptr<std::atomic<bool>>;

class Engine {
 public:
  // `threads` 0 takes one for each physical core; `isa` empty takes the best; all threads that compute are
  // `niceness` below the process. Throws BackendError, OutOfMemoryError.
  Engine(int threads, const std::string& isa, Precision precision, int niceness);
  // Cancels what is queued or running, waits for the operation in progress, and joins every thread.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Isa& isa() const { return isa_; }
  int threads() const { return threads_; }
  bool int8() const { return precision_ == Precision::kInt8; }
  // Whether products of quantised matrices round activations to BF16.
  bool bf16_codes() const { return precision_ == Precision::kBf16 && kernels_.bf16_available(); }
  Objects& objects() { return objects_; }
  const Screening& screening() const { return screening_; }
  MemoryUse memory() const;
  Profile& profile() { return profile_; }

  // Queues `work` for the dispatcher thread and then calls `done` there with what it threw, if anything.
  void post(std::function<void()> work, std::function<void(std::exception_ptr)> done);

  // Runs the operations in order; throws CancelledError once `cancel` is set, which is looked at before every
  // task: a product over a chunk of a prompt alone can take half a second on a busy machine. Dispatcher only.
  void run(Program& program, const CancelFlag& cancel);

  // Packs with all threads. Dispatcher only.
  std::shared_ptr<MatrixObject> load_matrix(const std::string& name, MatrixFormat format, int64_t rows,
                                            int64_t columns, const WeightData& data,
                                            Keeping keeping = Keeping::kAsItIs);
  // Makes a part of the shadow of a matrix whose columns are a multiple of 32, with all threads; true once
  // `growing` is whole. In parts, so that passes need not wait for all of it. Dispatcher only.
  bool grow_shadow(MatrixObject& matrix);
  std::shared_ptr<VectorObject> load_vector(const std::string& name, MatrixFormat format, int64_t length,
                                            const WeightData& data);

  std::shared_ptr<ActivationObject> create_activation(int64_t tokens, int64_t width) const;
  std::shared_ptr<KvArenaObject> create_arena(int64_t layers, int64_t kv_heads, int64_t head_dim,
                                              int64_t pages, KvFormat format, bool bounded) const;
  // Makes the bounds of a page's keys; on the calling thread, as compress_page.
  void bound_page(const KvArenaObject& arena, int64_t page) const;
  // Rounds an F16 page to the format of `to`; on the calling thread. A pass may run that touches neither
  // page.
  void compress_page(const KvArenaObject& from, int64_t from_page, const KvArenaObject& to,
                     int64_t to_page) const;

 private:
  // Whether an image's products may round to BF16: the processor must have dot products for it.
  bool bf16() const { return precision_ != Precision::kF32 && kernels_.bf16_available(); }
  MutualRounding mutual_rounding(int64_t tokens) const;
  struct Job {
    std::function<void()> work;
    std::function<void(std::exception_ptr)> done;
  };

  void dispatch();
  // Lets idle workers fetch what the first operation from `first` on reads that reads weights; returns which.
  size_t expect_after(const Program& program, size_t first);
  template <class Args>
  void run_kernel(const Kernel<Args>& kernel, const Args& args) {
    pool_.run(kernel.tasks(args), [&](int64_t task, float* scratch) {
      if (!is_cancelled()) kernel.run(args, task, scratch);
    });
  }
  // Lets each token of `args` choose its pages.
  void choose_pages(AttentionArgs& args);
  bool is_cancelled() const;
  // A matrix that is only multiplied, as the precision and the processor want it.
  void round_matrix(const std::string& name, MatrixObject& matrix);
  void run_op(EmbedOp& op);
  void run_op(const RowsOp& op);
  void run_op(MatmulOp& op);
  void run_op(const GatedMatmulOp& op);
  void run_op(KvWriteOp& op);
  void run_op(AttentionOp& op);
  void run_op(const LayerNormArgs& args) { run_kernel(kernels_.layer_norm, args); }
  void run_op(const AddBiasArgs& args) { run_kernel(kernels_.add_bias, args); }
  void run_op(const AveragePoolArgs& args) { run_kernel(kernels_.average_pool, args); }
  void run_op(MutualAttentionArgs& args);
  void run_op(Bf16MatmulOp& op);
  void run_op(const CodesMatmulOp& op);
  // screening.cc
  void run_op(TopLogitsOp& op);
  std::vector<int32_t> screen(const TopLogitsOp& op, const QuantizedActivations& acts);
  // At least `bytes` of `region`, which grows and never shrinks.
  uint8_t* shared(Region& region, size_t bytes, const char* purpose);
  // One of the two buffers of rounded activations, laid out for that many; grows with the need.
  QuantizedActivations rounded(int buffer, int64_t tokens, int64_t columns);

  const Isa& isa_;
  const KernelTable& kernels_;
  const int threads_;
  const Precision precision_;
  ThreadPool pool_;
  Objects objects_;
  Profile profile_;
  SharedRegions weights_;  // the dispatcher's

  // Shared scratch of the operation in progress; grows to the largest need. The dispatcher's.
  Region rounded_[2], partials_, choices_, image_, products_, screened_;
  std::atomic<size_t> shared_scratch_{0};
  Screening screening_;
  // Requests that leave the shadow alone, of few and of many products; the dispatcher's.
  int without_shadow_[2] = {};
  void count_shared_scratch();
  // Of the pass in progress, else null. Written by the dispatcher between regions, read by all workers.
  const std::atomic<bool>* cancel_ = nullptr;

  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<Job> jobs_;
  std::atomic<bool> stopping_{false};
  std::thread dispatcher_;
};

}  // namespace gs
