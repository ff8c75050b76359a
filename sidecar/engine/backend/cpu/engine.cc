#include "engine.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "errors.h"
#include "kernels/kv_layout.h"
#include "pack.h"

namespace gs {
namespace {

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Larger arenas are advised for huge pages. Pages are handed out lowest first and filled whole, layer by
// layer, so what 2 MiB pages take beyond what is written stays below 2 MiB for each run of pages: noise next
// to 64 MiB.
constexpr size_t kHugeArena = size_t{64} << 20;

int64_t checked_bytes(MatrixFormat format, int64_t rows, int64_t columns) {
  int64_t bytes;
  if (__builtin_mul_overflow(rows, file_row_bytes(format, columns), &bytes))
    throw RangeError("A matrix is too large.");
  return bytes;
}

// The bytes of a weight, mapped or held.
class WeightBytes {
 public:
  WeightBytes(const std::string& name, const WeightData& data, int64_t expected) {
    const uint64_t length = data.path.empty() ? data.bytes.size() : data.length;
    if (length != static_cast<uint64_t>(expected)) {
      throw RangeError(name + " has " + std::to_string(length) + " bytes; its shape and type need " +
                       std::to_string(expected) + ".");
    }
    if (data.path.empty()) {
      bytes_ = data.bytes.data();
    } else {
      file_.emplace(data.path, data.file_size, data.offset, data.length);
      bytes_ = file_->data();
    }
  }
  const uint8_t* data() const { return bytes_; }

 private:
  std::optional<MappedFile> file_;
  const uint8_t* bytes_;
};

}  // namespace

Engine::Engine(int threads, const std::string& isa, bool int8)
    : isa_(choose_isa(isa)),
      kernels_(*isa_.table),
      threads_(threads > 0 ? threads : physical_cores()),
      int8_(int8),
      pool_(threads_),
      dispatcher_([this] { dispatch(); }) {}

Engine::~Engine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  posted_.notify_all();
  dispatcher_.join();
}

void Engine::post(std::function<void()> work, std::function<void(std::exception_ptr)> done) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(work), std::move(done)});
  }
  posted_.notify_one();
}

void Engine::dispatch() {
  for (;;) {
    std::unique_lock lock(mutex_);
    posted_.wait(lock, [this] { return !jobs_.empty() || stopping_.load(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    std::exception_ptr failure;
    try {
      if (stopping_.load()) throw CancelledError();
      job.work();
    } catch (...) {
      failure = std::current_exception();
    }
    job.done(failure);
  }
}

MemoryUse Engine::memory() const {
  MemoryUse use = {0, 0, 0, pool_.scratch_bytes() + shared_scratch_.load()};
  objects_.matrices.for_each([&](const MatrixObject& matrix) { use.weights += matrix.panels.size(); });
  objects_.vectors.for_each([&](const VectorObject& vector) { use.weights += vector.values.size(); });
  objects_.activations.for_each([&](const ActivationObject& x) { use.scratch += x.values.size(); });
  objects_.arenas.for_each([&](const KvArenaObject& arena) {
    use.kv_reserved += arena.memory.size();
    use.kv_touched += arena.memory.resident();
  });
  return use;
}

std::shared_ptr<MatrixObject> Engine::load_matrix(const std::string& name, MatrixFormat format, int64_t rows,
                                                  int64_t columns, const WeightData& data) {
  if (rows < 1 || columns < 1 || columns % column_multiple(format) != 0) {
    throw RangeError(name + " has an impossible shape.");
  }
  const WeightBytes bytes(name, data, checked_bytes(format, rows, columns));
  const int64_t panels = panel_count(rows), panel_size = panel_bytes(format, columns);
  auto matrix = std::make_shared<MatrixObject>();
  matrix->panels = Region(static_cast<size_t>(panels * panel_size), HugePages::kYes, name);
  matrix->format = format;
  matrix->rows = rows;
  matrix->columns = columns;
  uint8_t* out = matrix->panels.data();
  pool_.run(panels, [&](int64_t panel, float*) {
    if (stopping_.load(std::memory_order_relaxed)) return;
    pack_panel(format, bytes.data(), rows, columns, panel, out + panel * panel_size);
  });
  if (stopping_.load()) throw CancelledError();
  return matrix;
}

// A vector is a matrix of one row, and reading it as F32 is what embed does.
std::shared_ptr<VectorObject> Engine::load_vector(const std::string& name, MatrixFormat format,
                                                  int64_t length, const WeightData& data) {
  const auto matrix = load_matrix(name, format, 1, length, data);
  auto vector = std::make_shared<VectorObject>();
  vector->values = Region(static_cast<size_t>(length) * sizeof(float), HugePages::kNo, name);
  vector->length = length;
  const int32_t row = 0;
  run_kernel(kernels_.embed,
             {matrix->packed(), &row, reinterpret_cast<float*>(vector->values.data()), 1, 1.0f});
  return vector;
}

std::shared_ptr<ActivationObject> Engine::create_activation(int64_t tokens, int64_t width) const {
  size_t bytes;
  if (__builtin_mul_overflow(static_cast<size_t>(tokens) * sizeof(float), static_cast<size_t>(width),
                             &bytes)) {
    throw RangeError("An activation is too large.");
  }
  auto activation = std::make_shared<ActivationObject>();
  activation->values = Region(bytes, HugePages::kYes, "activations");
  activation->tokens = tokens;
  activation->width = width;
  return activation;
}

std::shared_ptr<KvArenaObject> Engine::create_arena(int64_t layers, int64_t kv_heads, int64_t head_dim,
                                                    int64_t pages) const {
  auto arena = std::make_shared<KvArenaObject>();
  arena->layers = layers;
  arena->kv_heads = kv_heads;
  arena->head_dim = head_dim;
  arena->pages = pages;
  if (head_dim % kHeadDimStep != 0 || head_dim > kMaxHeadDim) {
    throw RangeError("A head size of " + std::to_string(head_dim) + " is not a multiple of " +
                     std::to_string(kHeadDimStep) + " up to " + std::to_string(kMaxHeadDim) + ".");
  }
  size_t bytes;
  if (__builtin_mul_overflow(arena->page_elements() * sizeof(uint16_t), static_cast<size_t>(pages), &bytes)) {
    throw RangeError("A KV arena is too large.");
  }
  arena->memory = Region(bytes, bytes >= kHugeArena ? HugePages::kYes : HugePages::kNo, "the KV cache");
  return arena;
}

template <class Args>
void Engine::run_kernel(const Kernel<Args>& kernel, const Args& args) {
  pool_.run(kernel.tasks(args), [&](int64_t task, float* scratch) {
    if (!is_cancelled()) kernel.run(args, task, scratch);
  });
}

namespace {

// Forgets the flag of a pass however the pass ends.
struct Forget {
  const std::atomic<bool>*& flag;
  ~Forget() { flag = nullptr; }
};

}  // namespace

bool Engine::is_cancelled() const {
  return cancel_ != nullptr &&
         (cancel_->load(std::memory_order_relaxed) || stopping_.load(std::memory_order_relaxed));
}

void Engine::run(Program& program, const CancelFlag& cancel) {
  cancel_ = cancel.get();
  const Forget forget{cancel_};
  for (Op& op : program.ops) {
    std::visit([this](auto& one) { run_op(one); }, op);
    // Also after the last one: tasks may have been left out.
    if (is_cancelled()) throw CancelledError();
  }
}

void Engine::run_op(EmbedOp& op) {
  op.args.ids = op.ids.data();
  run_kernel(kernels_.embed, op.args);
}

void Engine::run_op(KvWriteOp& op) {
  op.args.kv.page_table = op.page_table.data();
  op.args.kv.page_table_length = static_cast<int64_t>(op.page_table.size());
  run_kernel(kernels_.kv_write, op.args);
}

void Engine::run_op(AttentionOp& op) {
  op.args.visible_until = op.visible_until.empty() ? nullptr : op.visible_until.data();
  op.args.kv.page_table = op.page_table.data();
  op.args.kv.page_table_length = static_cast<int64_t>(op.page_table.size());
  const int64_t floats = kernels_.attention_partials_floats(op.args);
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  if (bytes > partials_.size()) {
    partials_ = Region(bytes, HugePages::kNo, "attention partials");
    shared_scratch_.store(quantized_.size() + partials_.size());
  }
  op.args.partials = reinterpret_cast<float*>(partials_.data());
  run_kernel(kernels_.attention, op.args);
  if (floats > 0) run_kernel(kernels_.attention_merge, op.args);
}

void Engine::run_op(MatmulOp& op) {
  op.args.targets = op.targets.data();
  const auto reads_int8 = [](const MatmulTarget& target) { return is_quantized(target.weight.format); };
  if (op.args.int8 && std::any_of(op.targets.begin(), op.targets.end(), reads_int8))
    op.args.acts = quantize(op.args);
  run_kernel(kernels_.matmul, op.args);
}

QuantizedActivations Engine::quantize(const MatmulArgs& args) {
  const auto values = static_cast<size_t>(args.tokens * args.columns), blocks = values / kTileColumns;
  const size_t plane = aligned(blocks * sizeof(float)), bytes = aligned(values) + 4 * plane;
  if (bytes > quantized_.size()) {
    quantized_ = Region(bytes, HugePages::kYes, "rounded activations");
    shared_scratch_.store(quantized_.size() + partials_.size());
  }
  uint8_t* base = quantized_.data();
  uint8_t* planes = base + aligned(values);
  const QuantizedActivations acts = {reinterpret_cast<int8_t*>(base), reinterpret_cast<float*>(planes),
                                     reinterpret_cast<int32_t*>(planes + plane),
                                     reinterpret_cast<int32_t*>(planes + 2 * plane),
                                     reinterpret_cast<float*>(planes + 3 * plane)};
  run_kernel(kernels_.quantize, {args.x, acts, args.tokens, args.columns});
  return acts;
}

}  // namespace gs
