#include "program.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "fuse.h"
#include "kernels/matrix_format.h"

namespace gs {
namespace {

// The numbers of cpu-pass.ts.
enum class OpCode : int {
  kEmbed = 1,
  kRmsNorm,
  kMatmul,
  kRope,
  kKvWrite,
  kAttention,
  kGeluMul,
  kAdd,
  kLayerNorm,
  kAddBias,
  kAveragePool,
  kMutualAttention,
  kTopLogits,
  kDiscard
};

using Rounding = MatrixObject::Rounding;

constexpr int64_t kMaxPosition = int64_t{1} << 24;
constexpr int64_t kMaxInteger = int64_t{1} << 52;

void require(bool holds, const char* message) {
  if (!holds) throw RangeError(std::string("Bad operation list: ") + message + ".");
}

class Decoder {
 public:
  Decoder(const double* words, size_t count, Objects& objects, bool int8, bool bf16)
      : next_(words), end_(words + count), objects_(objects), rounds_(int8 || bf16), bf16_(bf16) {}

  Program run() {
    while (next_ != end_) decode_op();
    return std::move(program_);
  }

 private:
  double number() {
    require(next_ != end_, "it ends inside an operation");
    return *next_++;
  }

  float finite() {
    const auto value = static_cast<float>(number());
    require(std::isfinite(value), "a factor is not finite");
    return value;
  }

  int64_t integer(int64_t least, int64_t most) {
    const double value = number();
    require(value >= static_cast<double>(least) && value <= static_cast<double>(most) &&
                value == std::floor(value),
            "an integer is out of range");
    return static_cast<int64_t>(value);
  }

  template <class Object>
  Object& object(HandleTable<Object>& table) {
    const auto& found = table.get(integer(0, kMaxInteger));
    program_.kept.push_back(found);
    return *found;
  }

  ActivationObject& activation() { return object(objects_.activations); }

  int64_t tokens(const ActivationObject& fits) { return integer(1, fits.tokens); }

  // A list of at least `shortest` int32 in [0, limit), preceded by its length.
  std::vector<int32_t> list(int64_t limit, int64_t shortest = 1) {
    const int64_t length = integer(shortest, end_ - next_);
    std::vector<int32_t> values;
    values.reserve(static_cast<size_t>(length));
    for (int64_t i = 0; i < length; i++) values.push_back(static_cast<int32_t>(integer(0, limit - 1)));
    return values;
  }

  void decode_op() {
    switch (static_cast<OpCode>(integer(1, static_cast<int64_t>(OpCode::kDiscard)))) {
      case OpCode::kEmbed:
        return embed();
      case OpCode::kRmsNorm:
        return rms_norm();
      case OpCode::kMatmul:
        return matmul();
      case OpCode::kRope:
        return rope();
      case OpCode::kKvWrite:
        return kv_write();
      case OpCode::kAttention:
        return attention();
      case OpCode::kGeluMul:
        return gelu_mul();
      case OpCode::kAdd:
        return add();
      case OpCode::kLayerNorm:
        return layer_norm();
      case OpCode::kAddBias:
        return add_bias();
      case OpCode::kAveragePool:
        return average_pool();
      case OpCode::kMutualAttention:
        return mutual_attention();
      case OpCode::kTopLogits:
        return top_logits();
      case OpCode::kDiscard:
        program_.discarded.push_back(activation().data());
        return;
    }
  }

  // Appends to the operation before, if that is of this kind and of as many tokens.
  void rows(RowStep step, int64_t count) {
    if (!program_.ops.empty()) {
      auto* last = std::get_if<RowsOp>(&program_.ops.back());
      if (last != nullptr && last->tokens == count) {
        last->steps.push_back(step);
        return;
      }
    }
    program_.ops.emplace_back(RowsOp{{step}, count});
  }

  void embed() {
    const ActivationObject& out = activation();
    const MatrixObject& table = object(objects_.matrices);
    const float scale = finite();
    const int64_t first = integer(0, out.tokens);
    require(table.rounding == Rounding::kNone, "embed: the table is rounded for products only");
    EmbedOp op;
    op.ids = list(table.rows);
    const auto count = static_cast<int64_t>(op.ids.size());
    require(count <= out.tokens - first && out.width == table.columns, "embed: the output does not fit");
    op.args = {table.packed(), nullptr, out.data() + first * out.width, count, scale};
    program_.ops.emplace_back(std::move(op));
  }

  // Rows of weight.length, `heads` of them in each row of x; heads is 1 for a whole-row norm.
  void rms_norm() {
    const ActivationObject& out = activation();
    const ActivationObject& x = activation();
    const VectorObject& weight = object(objects_.vectors);
    const int64_t count = tokens(x), heads = integer(1, x.width);
    const float eps = finite();
    const int64_t first = integer(0, x.tokens - count);
    require(x.width == heads * weight.length && out.width == x.width && count <= out.tokens,
            "rmsNorm: widths do not agree");
    require(first == 0 || out.data() != x.data(), "rmsNorm: rows move within the input");
    // Rows of another offset than the operations around it: neither theirs to continue nor to be continued.
    if (first > 0) program_.ops.emplace_back(RowsOp{{}, count});
    rows(
        RmsNormArgs{x.data() + first * x.width, weight.data(), out.data(), count * heads, weight.length, eps},
        count);
    if (first > 0) program_.ops.emplace_back(RowsOp{{}, count});
  }

  void matmul() {
    const ActivationObject& x = activation();
    const int64_t count = tokens(x), first = integer(0, x.tokens - count), targets = integer(1, 64);
    MatmulOp op;
    Bf16MatmulOp rounded;
    CodesMatmulOp coded;
    for (int64_t i = 0; i < targets; i++) {
      const MatrixObject& weight = object(objects_.matrices);
      const ActivationObject& out = activation();
      require(weight.columns == x.width, "matmul: the matrix has another number of columns than the input");
      require(weight.rows == out.width && count <= out.tokens, "matmul: the output does not fit");
      require(out.data() != x.data(), "matmul: the output is the input");
      if (weight.rounding == Rounding::kBf16) {
        rounded.targets.push_back(
            {weight.panels.data(), nullptr, out.data(), weight.rows, weight.columns, count});
      } else if (weight.rounding == Rounding::kCodes) {
        coded.targets.push_back({weight.panels.data(), weight.rest.data(), out.data(), weight.rows});
      } else {
        op.targets.push_back({weight.packed(), out.data()});
      }
    }
    require(op.targets.empty() || (rounded.targets.empty() && coded.targets.empty()),
            "matmul: rounded and exact matrices in one product");
    if (!coded.targets.empty()) {
      coded.x = x.data() + first * x.width;
      coded.tokens = count;
      coded.columns = x.width;
      program_.ops.emplace_back(std::move(coded));
      return;
    }
    if (!rounded.targets.empty()) {
      rounded.round = {x.data() + first * x.width, nullptr, count, x.width};
      program_.ops.emplace_back(std::move(rounded));
      return;
    }
    op.args = {x.data() + first * x.width, {}, rounds_, count, x.width, nullptr, targets};
    const auto reads_codes = [](const MatmulTarget& target) { return is_quantized(target.weight.format); };
    if (rounds_ && std::any_of(op.targets.begin(), op.targets.end(), reads_codes)) {
      // Rows of another offset than the operations before it: not theirs to continue.
      if (first > 0) program_.ops.emplace_back(RowsOp{{}, count});
      rows(QuantizeStep{op.args.x, count, x.width, 0}, count);
    }
    program_.ops.emplace_back(std::move(op));
  }

  void top_logits() {
    const ActivationObject& x = activation();
    const MatrixObject& weight = object(objects_.matrices);
    const ActivationObject& out = activation();
    const int64_t count = tokens(x), first = integer(0, x.tokens - count);
    require(weight.columns == x.width && weight.rounding == Rounding::kNone,
            "topLogits: the matrix does not fit the input");
    require(count <= kTokenBlock / 2 && count <= out.tokens && out.width % 2 == 0 && out.data() != x.data(),
            "topLogits: the output does not fit");
    TopLogitsOp op;
    op.count = integer(1, out.width / 2);
    op.also = list(weight.rows, 0);
    require(static_cast<int64_t>(op.also.size()) <= out.width / 2 - op.count,
            "topLogits: the output is too narrow");
    op.weight = weight.packed();
    op.shadow = weight.shadow.get();
    if (weight.shadow != nullptr) program_.kept.push_back(weight.shadow);
    op.x = x.data() + first * x.width;
    op.tokens = count;
    op.int8 = rounds_ && is_quantized(weight.format);
    // The shadow's bounds are of exact products, or of those with activations rounded to int8.
    if (op.int8 && bf16_) op.shadow = nullptr;
    op.out = out.data();
    op.width = out.width;
    if (op.int8) {
      // Rows of another offset than the operations before it: not theirs to continue.
      if (first > 0) program_.ops.emplace_back(RowsOp{{}, count});
      rows(QuantizeStep{op.x, count, x.width, 0}, count);
    }
    program_.ops.emplace_back(std::move(op));
  }

  void rope() {
    const ActivationObject& x = activation();
    const int64_t count = tokens(x), heads = integer(1, x.width), head_dim = integer(2, x.width);
    const int64_t position = integer(0, kMaxPosition - count);
    const double base = number(), factor = number();
    require(head_dim % 2 == 0 && heads * head_dim == x.width, "rope: heads do not fill the row");
    require(std::isfinite(base) && base > 0 && std::isfinite(factor) && factor > 0,
            "rope: bad base or factor");
    auto& frequencies = objects_.frequencies[{head_dim, base, factor}];
    if (frequencies == nullptr) {
      std::vector<float> values;
      for (int64_t i = 0; i < head_dim / 2; i++) {
        const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
        values.push_back(static_cast<float>(std::pow(base, exponent) / factor));
      }
      frequencies = std::make_shared<const std::vector<float>>(std::move(values));
    }
    program_.kept.push_back(frequencies);
    rows(RopeArgs{x.data(), count, heads, head_dim, position, frequencies->data()}, count);
  }

  KvArgs kv(int64_t layer, const KvArenaObject& arena) {
    require(layer < arena.layers, "the KV arena has fewer layers");
    require(arena.format == KvFormat::kF16, "new keys and values need an F16 arena");
    return {reinterpret_cast<uint16_t*>(arena.memory.data()),
            arena.page_bytes() / sizeof(uint16_t),
            arena.layer_bytes() / sizeof(uint16_t) * static_cast<size_t>(layer),
            nullptr,
            0,
            arena.kv_heads,
            arena.head_dim};
  }

  void kv_write() {
    const KvArenaObject& arena = object(objects_.arenas);
    const int64_t layer = integer(0, arena.layers - 1);
    const ActivationObject& k = activation();
    const ActivationObject& v = activation();
    const int64_t count = tokens(k), position = integer(0, kMaxPosition - count);
    KvWriteOp op;
    op.page_table = list(arena.pages);
    require(k.width == arena.kv_heads * arena.head_dim && v.width == k.width && count <= v.tokens,
            "kvWrite: widths do not agree");
    require(count <= static_cast<int64_t>(op.page_table.size()) * kPagePositions,
            "kvWrite: more tokens than the page table holds");
    op.args = {kv(layer, arena), k.data(), v.data(), position, count};
    program_.ops.emplace_back(std::move(op));
  }

  void attention() {
    const ActivationObject& out = activation();
    const ActivationObject& q = activation();
    const KvArenaObject& arena = object(objects_.arenas);
    const int64_t layer = integer(0, arena.layers - 1), count = tokens(q);
    const int64_t position = integer(0, kMaxPosition - count), heads = integer(1, q.width);
    const int64_t window = integer(0, kMaxPosition);
    const float scale = finite();
    AttentionOp op;
    op.visible_until = list(kMaxPosition, 0);
    op.page_table = list(arena.pages);
    require(heads % arena.kv_heads == 0, "attention: query heads are no multiple of the KV heads");
    require(q.width == heads * arena.head_dim && out.width == q.width && count <= out.tokens &&
                out.data() != q.data(),
            "attention: widths do not agree");
    // What the oldest token sees must still be there: the last span positions live in distinct slots.
    const int64_t end = position + count;
    const int64_t span = window == 0 || window + count - 1 > end ? end : window + count - 1;
    require(span <= static_cast<int64_t>(op.page_table.size()) * kPagePositions,
            "attention: the page table is shorter than what the tokens attend to");
    if (!op.visible_until.empty()) {
      require(static_cast<int64_t>(op.visible_until.size()) == count, "attention: a bound for each token");
      int64_t least = position + 1;
      for (int64_t i = 0; i < count; i++) {
        if (least < position + i + 1) least = position + i + 1;
        const int64_t until = op.visible_until[static_cast<size_t>(i)];
        require(until >= least && until <= end, "attention: a token sees too little or too much");
        least = until;
      }
    }
    op.args = {kv(layer, arena), {},      {},    q.data(), out.data(), position, count, heads,
               window,           nullptr, scale, nullptr};
    const KvArenaObject* behind = &arena;
    if (integer(0, 1) == 1) {
      require(window == 0, "attention: only global layers have compressed pages");
      behind = &cold_pages(op, arena, layer);
    }
    if (integer(0, 1) == 1) {
      require(window == 0, "attention: tokens choose among pages of global layers only");
      sparse_pages(op, *behind, layer);
    }
    program_.ops.emplace_back(std::move(op));
  }

  // The compressed pages behind an attention's F16 ones.
  const KvArenaObject& cold_pages(AttentionOp& op, const KvArenaObject& hot, int64_t layer) {
    const KvArenaObject& arena = object(objects_.arenas);
    require(arena.format != KvFormat::kF16, "attention: the compressed pages are F16");
    require(arena.layers == hot.layers && arena.kv_heads == hot.kv_heads && arena.head_dim == hot.head_dim,
            "attention: the compressed pages have another shape");
    const int64_t hot_pages = integer(1, kMaxPosition), first_page = integer(0, kMaxPosition);
    op.cold_table = list(arena.pages);
    const int64_t last_page = (op.args.position + op.args.tokens - 1) / kPagePositions;
    require(last_page - hot_pages < static_cast<int64_t>(op.cold_table.size()),
            "attention: a compressed page is missing");
    op.args.cold = {arena.memory.data(),
                    arena.page_bytes(),
                    arena.layer_bytes() * static_cast<size_t>(layer),
                    nullptr,
                    arena.format,
                    hot_pages,
                    first_page};
    return arena;
  }

  // The bounds by which tokens choose among the pages of `arena`.
  void sparse_pages(AttentionOp& op, const KvArenaObject& arena, int64_t layer) {
    AttentionArgs& args = op.args;
    const int64_t recent = integer(1, kMaxPosition), top = integer(1, kMaxPosition);
    require(arena.bounds.size() > 0, "attention: the pages have no bounds of keys");
    require(args.cold.base == nullptr || (recent >= args.cold.hot_pages && args.cold.first_page == 0),
            "attention: tokens choose among compressed pages only, where there are any");
    const int64_t last_page = (args.position + args.tokens - 1) / kPagePositions;
    // Pages to choose from were complete before this pass.
    require((args.position + args.tokens - 1) / kPagePositions + 1 - recent <= args.position / kPagePositions,
            "attention: too few recent pages for this pass");
    require(page_choice_bytes(args.heads / arena.kv_heads, arena.head_dim, last_page + 1) <= kScratchBytes,
            "attention: too many pages to choose from");
    args.sparse = {arena.bounds.data(),
                   arena.page_bound_bytes(),
                   arena.layer_bound_bytes() * static_cast<size_t>(layer),
                   nullptr,
                   recent,
                   top,
                   nullptr,
                   0,
                   nullptr,
                   nullptr};
    if (integer(0, 1) == 1) {
      const ActivationObject& missed = activation();
      require(missed.width == args.heads && args.tokens <= missed.tokens && missed.data() != args.out &&
                  missed.data() != args.q,
              "attention: what was missed does not fit");
      args.sparse.missed = missed.data();
    }
  }

  void gelu_mul() {
    const ActivationObject& out = activation();
    const ActivationObject& gate = activation();
    const ActivationObject& up = activation();
    const int64_t count = tokens(gate);
    require(count <= up.tokens && count <= out.tokens && up.width == gate.width && out.width == gate.width,
            "geluMul: shapes do not agree");
    rows(GeluMulArgs{gate.data(), up.data(), out.data(), count * gate.width}, count);
  }

  void add() {
    const ActivationObject& out = activation();
    const ActivationObject& x = activation();
    const int64_t count = tokens(x), first = integer(0, out.tokens);
    require(count <= out.tokens - first && out.width == x.width, "add: shapes do not agree");
    // Rows of another offset than the operations around it: neither theirs to continue nor to be continued.
    if (first > 0) program_.ops.emplace_back(RowsOp{{}, count});
    rows(AddArgs{out.data() + first * out.width, x.data(), count * x.width}, count);
    if (first > 0) program_.ops.emplace_back(RowsOp{{}, count});
  }

  void layer_norm() {
    const ActivationObject& out = activation();
    const ActivationObject& x = activation();
    const VectorObject& weight = object(objects_.vectors);
    const VectorObject& bias = object(objects_.vectors);
    const int64_t count = tokens(x);
    const float eps = finite();
    require(x.width == weight.length && x.width == bias.length && out.width == x.width && count <= out.tokens,
            "layerNorm: shapes do not agree");
    program_.ops.emplace_back(
        LayerNormArgs{x.data(), weight.data(), bias.data(), out.data(), count, x.width, eps});
  }

  void add_bias() {
    const ActivationObject& x = activation();
    const VectorObject& bias = object(objects_.vectors);
    const int64_t count = tokens(x);
    const bool gelu = integer(0, 1) == 1;
    require(x.width == bias.length, "addBias: widths do not agree");
    program_.ops.emplace_back(AddBiasArgs{x.data(), bias.data(), count, x.width, gelu});
  }

  void average_pool() {
    const ActivationObject& out = activation();
    const ActivationObject& x = activation();
    const int64_t side = integer(1, 1 << 16), factor = integer(1, side);
    require(side % factor == 0 && side * side <= x.tokens && side / factor * (side / factor) <= out.tokens &&
                out.width == x.width && out.data() != x.data(),
            "averagePool: shapes do not agree");
    program_.ops.emplace_back(AveragePoolArgs{x.data(), out.data(), side, factor, x.width});
  }

  void mutual_attention() {
    const ActivationObject& out = activation();
    const ActivationObject& q = activation();
    const ActivationObject& k = activation();
    const ActivationObject& v = activation();
    const int64_t count = tokens(q), heads = integer(1, q.width);
    const float scale = finite();
    require(q.width % heads == 0 && q.width / heads <= kMaxMutualHeadDim, "mutualAttention: bad head size");
    for (const ActivationObject* other : {&out, &k, &v}) {
      require(other->width == q.width && count <= other->tokens, "mutualAttention: shapes do not agree");
    }
    program_.ops.emplace_back(MutualAttentionArgs{q.data(), k.data(), v.data(), out.data(), count, heads,
                                                  q.width / heads, scale, MutualRounding::kNone, nullptr});
  }

  const double* next_;
  const double* end_;
  Objects& objects_;
  bool rounds_, bf16_;
  Program program_;
};

}  // namespace

Program decode_program(const double* words, size_t count, Objects& objects, bool int8, bool bf16) {
  Program program = Decoder(words, count, objects, int8, bf16).run();
  fuse_gated_products(program);
  return program;
}

}  // namespace gs
