#include "engine.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cores.h"
#include "errors.h"
#include "kernels/kv_layout.h"
#include "pack.h"
#include "priority.h"
#include "read_ahead.h"

namespace gs {
namespace {

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Larger arenas are advised for huge pages. Pages are handed out lowest first and filled whole, layer by
// layer, so what 2 MiB pages take beyond what is written stays below 2 MiB for each run of pages: noise next
// to 64 MiB.
constexpr size_t kHugeArena = size_t{64} << 20;

// Narrower matrices cost little in any form, and are of small towers that average the errors of few patches.
constexpr int64_t kLeastCodedColumns = 512;
// Likewise attention among fewer patches.
constexpr int64_t kLeastCodedTokens = 512;

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

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

Engine::Engine(int threads, const std::string& isa, Precision precision, int niceness)
    : isa_(choose_isa(isa)),
      kernels_(*isa_.table),
      threads_(threads > 0 ? threads : performance_cores(allowed_cpus(), "/sys/devices/system/cpu")),
      precision_(precision),
      pool_(threads_, niceness),
      dispatcher_([this, niceness] {
        lower_priority(niceness);
        dispatch();
      }) {}

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
  objects_.matrices.for_each([&](const MatrixObject& matrix) {
    use.weights += matrix.panels.size() + matrix.rest.size();
    if (matrix.shadow != nullptr) use.weights += matrix.shadow->panels.size() + matrix.shadow->errors.size();
  });
  objects_.vectors.for_each([&](const VectorObject& vector) { use.weights += vector.values.size(); });
  objects_.activations.for_each([&](const ActivationObject& x) { use.scratch += x.values.size(); });
  objects_.arenas.for_each([&](const KvArenaObject& arena) {
    use.kv_reserved += arena.memory.size();
    use.kv_touched += arena.memory.resident();
  });
  return use;
}

std::shared_ptr<MatrixObject> Engine::load_matrix(const std::string& name, MatrixFormat format, int64_t rows,
                                                  int64_t columns, const WeightData& data, Keeping keeping) {
  if (rows < 1 || columns < 1 || columns % column_multiple(format) != 0) {
    throw RangeError(name + " has an impossible shape.");
  }
  const WeightBytes bytes(name, data, checked_bytes(format, rows, columns));
  const int64_t panels = panel_count(rows), panel_size = panel_bytes(format, columns);
  auto matrix = std::make_shared<MatrixObject>();
  const auto size = static_cast<size_t>(panels * panel_size);
  const bool stays = keeping == Keeping::kAsItIs;
  matrix->panels = stays ? weights_.take(size, name) : Slice(Region(size, HugePages::kYes, name));
  matrix->format = format;
  matrix->rows = rows;
  matrix->columns = columns;
  uint8_t* out = matrix->panels.data();
  pool_.run(panels, [&](int64_t panel, float*) {
    if (stopping_.load(std::memory_order_relaxed)) return;
    pack_panel(format, bytes.data(), rows, columns, panel, out + panel * panel_size);
  });
  if (stopping_.load()) throw CancelledError();
  if (keeping == Keeping::kRounded) round_matrix(name, *matrix);
  return matrix;
}

void Engine::round_matrix(const std::string& name, MatrixObject& matrix) {
  const int64_t panels = panel_count(matrix.rows);
  const bool codes_pay = int8() && !is_quantized(matrix.format) && matrix.columns >= kLeastCodedColumns;
  if (!codes_pay && bf16()) {
    const int64_t pairs = (matrix.columns + 1) / 2;
    Slice halves = weights_.take(static_cast<size_t>(panels * pairs) * kVectorBytes, name);
    run_kernel(kernels_.bf16_pack, {matrix.packed(), halves.data()});
    matrix.panels = std::move(halves);
    matrix.rounding = MatrixObject::Rounding::kBf16;
  } else if (codes_pay) {
    const int64_t blocks = (matrix.columns + kCodedColumns - 1) / kCodedColumns;
    const auto bytes = static_cast<size_t>(round_up(matrix.rows, kCodedRows) * blocks * (kCodedColumns + 4));
    Slice codes = weights_.take(bytes, name), rest = weights_.take(bytes, name);
    run_kernel(kernels_.coded_pack, {matrix.packed(), codes.data(), rest.data()});
    matrix.panels = std::move(codes);
    matrix.rest = std::move(rest);
    matrix.rounding = MatrixObject::Rounding::kCodes;
  }
}

// A vector is a matrix of one row, and reading it as F32 is what embed does.
std::shared_ptr<VectorObject> Engine::load_vector(const std::string& name, MatrixFormat format,
                                                  int64_t length, const WeightData& data) {
  const auto matrix = load_matrix(name, format, 1, length, data, Keeping::kForNow);
  auto vector = std::make_shared<VectorObject>();
  vector->values = weights_.take(static_cast<size_t>(length) * sizeof(float), name);
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
                                                    int64_t pages, KvFormat format, bool bounded) const {
  auto arena = std::make_shared<KvArenaObject>();
  arena->format = format;
  arena->layers = layers;
  arena->kv_heads = kv_heads;
  arena->head_dim = head_dim;
  arena->pages = pages;
  if (head_dim % kHeadDimStep != 0 || head_dim > kMaxHeadDim) {
    throw RangeError("A head size of " + std::to_string(head_dim) + " is not a multiple of " +
                     std::to_string(kHeadDimStep) + " up to " + std::to_string(kMaxHeadDim) + ".");
  }
  size_t bytes;
  if (__builtin_mul_overflow(arena->page_bytes(), static_cast<size_t>(pages), &bytes)) {
    throw RangeError("A KV arena is too large.");
  }
  arena->memory = Region(bytes, bytes >= kHugeArena ? HugePages::kYes : HugePages::kNo, "the KV cache");
  if (bounded) {
    // Not more than the pages themselves, so this does not overflow.
    arena->bounds = Region(arena->page_bound_bytes() * static_cast<size_t>(pages), HugePages::kNo,
                           "bounds of the KV cache's keys");
  }
  return arena;
}

void Engine::compress_page(const KvArenaObject& from, int64_t from_page, const KvArenaObject& to,
                           int64_t to_page) const {
  if (from.format != KvFormat::kF16 || to.format == KvFormat::kF16)
    throw RangeError("A page is compressed from an F16 arena into an int8 or int4 one.");
  if (from.layers != to.layers || from.kv_heads != to.kv_heads || from.head_dim != to.head_dim)
    throw RangeError("A page is compressed only between arenas of one shape.");
  const KvCompressArgs args = {reinterpret_cast<const uint16_t*>(from.page(from_page)), to.page(to_page),
                               to.format, to.layers * to.kv_heads, to.head_dim};
  Region scratch(kScratchBytes, HugePages::kNo, "compressing a KV page");
  for (int64_t task = 0; task < kernels_.kv_compress.tasks(args); ++task)
    kernels_.kv_compress.run(args, task, reinterpret_cast<float*>(scratch.data()));
}

void Engine::bound_page(const KvArenaObject& arena, int64_t page) const {
  if (arena.bounds.size() == 0) throw RangeError("This KV arena was made without bounds of keys.");
  const KvBoundArgs args = {arena.page(page),
                            arena.bounds.data() + static_cast<size_t>(page) * arena.page_bound_bytes(),
                            arena.format, arena.layers * arena.kv_heads, arena.head_dim};
  Region scratch(kScratchBytes, HugePages::kNo, "bounds of a KV page");
  for (int64_t task = 0; task < kernels_.kv_bound.tasks(args); ++task)
    kernels_.kv_bound.run(args, task, reinterpret_cast<float*>(scratch.data()));
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

size_t Engine::expect_after(const Program& program, size_t first) {
  for (size_t i = first; i < program.ops.size(); i++) {
    const Reading reading = reading_of(program.ops[i]);
    if (reading.stretches[0].bytes == 0) continue;
    pool_.expect(reading);
    return i;
  }
  // The next pass most likely begins as this one does.
  if (first > 0) expect_after(program, 0);
  return program.ops.size();
}

void Engine::run(Program& program, const CancelFlag& cancel) {
  cancel_ = cancel.get();
  const Forget forget{cancel_};
  size_t expected = expect_after(program, 0);
  for (size_t i = 0; i < program.ops.size(); i++) {
    Op& op = program.ops[i];
    if (i == expected) expected = expect_after(program, i + 1);
    const auto work = [&] { std::visit([this](auto& one) { run_op(one); }, op); };
    if (profile_.on()) {
      profile_.measure(op, work);
    } else {
      work();
    }
    // Also after the last one: tasks may have been left out.
    if (is_cancelled()) throw CancelledError();
  }
}

namespace {

// Tokens [first, last) of `tokens`.
struct RowRange {
  int64_t tokens, first, last;
  int64_t count() const { return last - first; }
};

// Four tokens for a worker to take at once when there are few, else sixteen: a cache line of their scales.
int64_t rows_per_task(int64_t tokens) { return tokens <= 16 ? 4 : 16; }

template <class Args>
void run_all(const Kernel<Args>& kernel, const Args& args, float* scratch) {
  for (int64_t task = 0; task < kernel.tasks(args); task++) kernel.run(args, task, scratch);
}

void run_rows(const KernelTable& kernels, RmsNormArgs args, RowRange range, const QuantizedActivations*&,
              float* scratch) {
  const int64_t rows = args.rows / range.tokens, skipped = range.first * rows * args.width;
  args.x += skipped;
  args.out += skipped;
  args.rows = range.count() * rows;
  run_all(kernels.rms_norm, args, scratch);
}

void run_rows(const KernelTable& kernels, RopeArgs args, RowRange range, const QuantizedActivations*&,
              float* scratch) {
  args.x += range.first * args.heads * args.head_dim;
  args.position += range.first;
  args.tokens = range.count();
  run_all(kernels.rope, args, scratch);
}

void run_rows(const KernelTable& kernels, GeluMulArgs args, RowRange range, const QuantizedActivations*&,
              float* scratch) {
  const int64_t width = args.count / range.tokens;
  args.gate += range.first * width;
  args.up += range.first * width;
  args.out += range.first * width;
  args.count = range.count() * width;
  run_all(kernels.gelu_mul, args, scratch);
}

void run_rows(const KernelTable& kernels, AddArgs args, RowRange range, const QuantizedActivations*&,
              float* scratch) {
  const int64_t width = args.count / range.tokens;
  args.out += range.first * width;
  args.x += range.first * width;
  args.count = range.count() * width;
  run_all(kernels.add, args, scratch);
}

void run_rows(const KernelTable& kernels, const QuantizeStep& step, RowRange range,
              const QuantizedActivations*& target, float* scratch) {
  run_all(kernels.quantize, {step.x, *target++, step.tokens, step.columns, range.first, range.last}, scratch);
}

}  // namespace

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
  op.args.cold.page_table = op.cold_table.data();
  op.args.sparse.page_table = op.args.cold.base != nullptr ? op.args.cold.page_table : op.args.kv.page_table;
  op.args.sparse.chosen = nullptr;
  if (op.args.sparse.bounds != nullptr) choose_pages(op.args);
  const int64_t floats = kernels_.attention_partials_floats(op.args);
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  if (bytes > partials_.size()) {
    partials_ = Region(bytes, HugePages::kNo, "attention partials");
    count_shared_scratch();
  }
  op.args.partials = reinterpret_cast<float*>(partials_.data());
  run_kernel(kernels_.attention, op.args);
  if (floats > 0) run_kernel(kernels_.attention_merge, op.args);
}

void Engine::choose_pages(AttentionArgs& args) {
  const int64_t last_page = (args.position + args.tokens - 1) / kPagePositions;
  const int64_t pages = last_page + 1 - args.sparse.recent_pages;
  if (pages <= 0) return;
  args.sparse.words = (pages + 63) / 64;
  const auto sets = static_cast<size_t>(args.tokens * args.kv.kv_heads * args.sparse.words);
  const auto rows = static_cast<size_t>(args.tokens * args.heads);
  uint8_t* memory =
      shared(choices_, sets * sizeof(uint64_t) + rows * 2 * sizeof(float), "choices among KV pages");
  args.sparse.chosen = reinterpret_cast<uint64_t*>(memory);
  args.sparse.unread = reinterpret_cast<float*>(memory + sets * sizeof(uint64_t));
  run_kernel(kernels_.attention_select, args);
}

void Engine::run_op(const RowsOp& op) {
  if (op.steps.empty()) return;
  const int64_t step = rows_per_task(op.tokens);
  std::vector<QuantizedActivations> targets;
  for (const RowStep& one : op.steps) {
    const auto* rounding = std::get_if<QuantizeStep>(&one);
    if (rounding != nullptr) {
      targets.push_back(rounded(rounding->buffer, rounding->tokens, rounding->columns));
    }
  }
  pool_.run((op.tokens + step - 1) / step, [&](int64_t task, float* scratch) {
    const RowRange range = {op.tokens, task * step, std::min(op.tokens, (task + 1) * step)};
    const QuantizedActivations* target = targets.data();
    for (const RowStep& one : op.steps) {
      if (is_cancelled()) return;
      std::visit([&](const auto& args) { run_rows(kernels_, args, range, target, scratch); }, one);
    }
  });
}

void Engine::run_op(MatmulOp& op) {
  op.args.targets = op.targets.data();
  if (op.args.int8) op.args.acts = rounded(op.buffer, op.args.tokens, op.args.columns);
  run_kernel(kernels_.matmul, op.args);
}

uint8_t* Engine::shared(Region& region, size_t bytes, const char* purpose) {
  if (bytes > region.size()) {
    region = Region();
    region = Region(bytes, HugePages::kYes, purpose);
    count_shared_scratch();
  }
  return region.data();
}

MutualRounding Engine::mutual_rounding(int64_t tokens) const {
  if (int8() && kernels_.mutual_codes_available() && tokens >= kLeastCodedTokens)
    return MutualRounding::kCodes;
  return bf16() ? MutualRounding::kBf16 : MutualRounding::kNone;
}

void Engine::run_op(MutualAttentionArgs& args) {
  args.rounding = mutual_rounding(args.tokens);
  const auto bytes = static_cast<size_t>(kernels_.mutual_attention_bytes(args));
  args.packed = shared(image_, bytes, "keys and values of an image");
  run_kernel(kernels_.mutual_attention_pack, args);
  if (!is_cancelled()) run_kernel(kernels_.mutual_attention, args);
}

void Engine::run_op(Bf16MatmulOp& op) {
  const auto columns = static_cast<size_t>(op.round.columns + op.round.columns % 2);
  const size_t bytes = static_cast<size_t>(op.round.tokens) * columns * sizeof(uint16_t);
  op.round.out = reinterpret_cast<uint16_t*>(shared(image_, bytes, "rounded activations"));
  run_kernel(kernels_.bf16_round, op.round);
  for (Bf16MatmulArgs& target : op.targets) {
    target.x = op.round.out;
    run_kernel(kernels_.bf16_matmul, target);
  }
}

namespace {

size_t coded_activation_bytes(int64_t tokens, int64_t columns) {
  const int64_t filled = round_up(tokens, kCodedTokens) * round_up(columns, kCodedColumns);
  return static_cast<size_t>(filled + filled / kCodedColumns * 8);
}

CodedActivations coded_activations(uint8_t* memory, int64_t tokens, int64_t columns) {
  const int64_t filled = round_up(tokens, kCodedTokens) * round_up(columns, kCodedColumns);
  auto* scale = reinterpret_cast<float*>(memory + filled);
  return {reinterpret_cast<int8_t*>(memory), scale,
          reinterpret_cast<int32_t*>(scale + filled / kCodedColumns)};
}

}  // namespace

void Engine::run_op(const CodesMatmulOp& op) {
  const int64_t strips = (op.tokens + kMeanStrip - 1) / kMeanStrip;
  int64_t widest = 0;
  for (const CodesMatmulOp::Target& target : op.targets) widest = std::max(widest, target.rows);
  const size_t rounded_bytes = aligned(coded_activation_bytes(op.tokens, op.columns));
  const size_t rounded_means = aligned(coded_activation_bytes(strips, op.columns));
  const auto floats = static_cast<size_t>(strips * (op.columns + widest));
  uint8_t* memory =
      shared(image_, rounded_bytes + rounded_means + floats * sizeof(float), "coded activations");
  auto* means = reinterpret_cast<float*>(memory + rounded_bytes + rounded_means);
  float* more = means + strips * op.columns;
  const CodedActivations acts = coded_activations(memory, op.tokens, op.columns);
  const CodedActivations mean_acts = coded_activations(memory + rounded_bytes, strips, op.columns);

  run_kernel(kernels_.coded_round, {op.x, acts, op.tokens, op.columns});
  run_kernel(kernels_.strip_means, {op.x, means, op.tokens, op.columns});
  run_kernel(kernels_.coded_round, {means, mean_acts, strips, op.columns});
  for (const CodesMatmulOp::Target& target : op.targets) {
    run_kernel(kernels_.coded_matmul,
               {target.rest, mean_acts, nullptr, more, target.rows, op.columns, strips});
    run_kernel(kernels_.coded_matmul,
               {target.codes, acts, more, target.out, target.rows, op.columns, op.tokens});
  }
}

void Engine::run_op(const GatedMatmulOp& op) {
  run_kernel(kernels_.gated_matmul, {rounded(0, op.tokens, op.columns), op.tokens, op.columns, op.gate, op.up,
                                     rounded(1, op.tokens, op.gate.rows)});
}

QuantizedActivations Engine::rounded(int buffer, int64_t tokens, int64_t columns) {
  Region& region = rounded_[buffer];
  const auto values = static_cast<size_t>(tokens * columns), blocks = values / kTileColumns;
  const size_t width = bf16_codes() ? sizeof(uint16_t) : sizeof(int8_t);
  const size_t plane = aligned(blocks * sizeof(float)), bytes = aligned(width * values) + 4 * plane;
  if (bytes > region.size()) {
    region = Region(bytes, HugePages::kYes, "rounded activations");
    count_shared_scratch();
  }
  uint8_t* base = region.data();
  uint8_t* planes = base + aligned(width * values);
  return {reinterpret_cast<int8_t*>(base),
          reinterpret_cast<float*>(planes),
          reinterpret_cast<int32_t*>(planes + plane),
          reinterpret_cast<int32_t*>(planes + 2 * plane),
          reinterpret_cast<float*>(planes + 3 * plane),
          bf16_codes() ? reinterpret_cast<uint16_t*>(base) : nullptr};
}

void Engine::count_shared_scratch() {
  shared_scratch_.store(rounded_[0].size() + rounded_[1].size() + partials_.size() + choices_.size() +
                        image_.size() + products_.size() + screened_.size());
}

}  // namespace gs
