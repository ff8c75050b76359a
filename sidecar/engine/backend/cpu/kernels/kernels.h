// The kernels' common language: argument structs, and the table of functions that one instruction set offers.
//
// Every kernel file is compiled once for each instruction set inside `namespace gs::GS_ISA` (GS_ISA is one of
// avx512, avx2, neon, neon_i8mm, scalar) and knows nothing of threads, Node or callers: an operation is cut
// into `tasks` pieces, and `run(args, task, scratch)` computes one piece. Pieces are independent, so the thread
// pool may hand them out in any order; results do not depend on how many threads there are.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gs {

constexpr int kPagePositions = 64;  // KV positions in a page; backend.ts PAGE_POSITIONS

struct RmsNormArgs {
  const float* x;       // [rows][width]
  const float* weight;  // [width]
  float* out;           // [rows][width], may be x
  int64_t rows, width;
  float eps;
};

struct RopeArgs {
  float* x;  // [tokens][heads][head_dim], in place
  int64_t tokens, heads, head_dim;
  int64_t position;      // of token 0
  const float* inv_freq; // [head_dim / 2], base^(-2i/head_dim) / factor, F32 rounded from double
};

// F16 pages: page p of the arena starts at base + p * page_stride; a layer's part of it at + layer_offset.
// (Strides in elements.) Inside a layer's part, for each kv head: K then V, in the layout kv_layout.h draws.
struct KvArgs {
  uint16_t* base;
  size_t page_stride, layer_offset;
  const int32_t* page_table;  // position p lives in page page_table[(p / 64) % page_table_length]
  int64_t page_table_length;
  int64_t kv_heads, head_dim;
};

struct KvWriteArgs {
  KvArgs kv;
  const float* k;  // [tokens][kv_heads * head_dim]
  const float* v;
  int64_t position, tokens;
};

struct AttentionArgs {
  KvArgs kv;
  const float* q;  // [tokens][heads * head_dim]
  float* out;
  int64_t position, tokens, heads;
  int64_t window;  // 0 is global
  float scale;
  float* partials;  // attention_partials_floats() of shared scratch, for the split-KV path
};

struct GeluMulArgs {
  const float* gate;
  const float* up;
  float* out;  // may be gate
  int64_t count;
};

struct AddArgs {
  float* out;
  const float* x;
  int64_t count;
};

}  // namespace gs
