// A recorded pass: the flat list of numbers that cpu-pass.ts writes, checked and turned into kernel
// arguments.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <variant>
#include <vector>

#include "handles.h"
#include "kernels/kernels.h"
#include "objects.h"

namespace gs {

struct Objects {
  HandleTable<MatrixObject> matrices{"matrix"};
  HandleTable<VectorObject> vectors{"vector"};
  HandleTable<ActivationObject> activations{"activation"};
  HandleTable<KvArenaObject> arenas{"KV arena"};
  // Inverse frequencies by (head size, base, factor).
  std::map<std::tuple<int64_t, double, double>, std::shared_ptr<const std::vector<float>>> frequencies;
};

// Rounds the input of a product into one of the engine's two buffers.
struct QuantizeStep {
  const float* x;
  int64_t tokens, columns;
  int buffer;
};

// Operations that compute each token's row from the same token's rows alone, to be run one after another for
// a few tokens at a time, while the rows are in the nearest cache.
using RowStep = std::variant<RmsNormArgs, RopeArgs, GeluMulArgs, AddArgs, QuantizeStep>;
struct RowsOp {
  std::vector<RowStep> steps;
  int64_t tokens;
};

struct MatmulOp {
  MatmulArgs args;
  std::vector<MatmulTarget> targets;
  int buffer = 0;  // of the rounded input
};

// GatedMatmulArgs without the buffers: reads buffer 0, writes buffer 1.
struct GatedMatmulOp {
  PackedMatrix gate, up;
  int64_t tokens, columns;
};

// A product with matrices of codes and rest.
struct CodesMatmulOp {
  struct Target {
    const uint8_t* codes;
    const uint8_t* rest;
    float* out;
    int64_t rows;
  };
  const float* x;
  int64_t tokens, columns;
  std::vector<Target> targets;
};

struct Bf16MatmulOp {
  Bf16RoundArgs round;
  std::vector<Bf16MatmulArgs> targets;
};

// The greatest products of each row of x, and those asked for.
struct TopLogitsOp {
  PackedMatrix weight;
  const ShadowObject* shadow;  // or null: all of the matrix is read
  const float* x;
  int64_t tokens;
  bool int8;  // or BF16: x is read rounded
  int64_t count;
  std::vector<int32_t> also;
  float* out;  // [tokens][width]: width / 2 values, then as many rows of the matrix they are of
  int64_t width;
};

struct EmbedOp {
  EmbedArgs args;
  std::vector<int32_t> ids;
};

struct KvWriteOp {
  KvWriteArgs args;
  std::vector<int32_t> page_table;
};

struct AttentionOp {
  AttentionArgs args;
  std::vector<int32_t> visible_until;  // empty: each token sees up to itself
  std::vector<int32_t> page_table, cold_table;
};

using Op =
    std::variant<EmbedOp, RowsOp, MatmulOp, GatedMatmulOp, KvWriteOp, AttentionOp, LayerNormArgs, AddBiasArgs,
                 AveragePoolArgs, MutualAttentionArgs, Bf16MatmulOp, CodesMatmulOp, TopLogitsOp>;

// Pointers inside `ops` point into objects that `kept` keeps alive, and into the ops' own vectors: the vector
// of ops is filled before any pointer is taken by the runner, which calls bind on each.
struct Program {
  std::vector<Op> ops;
  std::vector<const float*> discarded;  // activations that nobody reads after the pass
  std::vector<std::shared_ptr<const void>> kept;
};

// Reads `count` numbers. Every handle, length, range and position is checked again here, although cpu-pass.ts
// has done so: the list comes from outside. Products of quantised matrices read activations rounded to int8
// or to BF16, or neither. Throws RangeError.
Program decode_program(const double* words, size_t count, Objects& objects, bool int8, bool bf16);

}  // namespace gs
