// How one attention call is cut into tasks.
//
// Rows: a query row is one head of one token. Heads that share a KV head (grouped-query attention) and
// neighbouring tokens form a block, so that a page of K and V is read once for all its rows.
//
// Splits: the KV range falls into splits of 256 positions, aligned to absolute positions. A row's softmax
// runs afresh in each split and the splits are then merged in ascending order. Prefill does that within one
// task; decode gives each split a task of its own and merges in a second phase. The arithmetic of a row is
// the same sequence either way and depends only on its own position and window: that is what makes a token's
// result independent of the pass it is computed in.
#pragma once
#include "kernels.h"
#include "kv_layout.h"

namespace gs::GS_ISA {

namespace {

// Long enough that a partial result (head_dim floats) is 1 part in 256 of the K and V it stands for; short
// enough that a window of 512 still gives two threads work.
constexpr int64_t kSplitPositions = 256;

// q, accumulator and running total of 64 rows of head_dim 256 are 192 KiB: they stay in the L2 cache beside
// the page, and one read of a page (64 KiB) serves 2 * 64 * 64 * 256 multiply-adds.
constexpr int64_t kBlockRows = 64;

// Passes this short are decoding or verifying a draft; they are always split.
constexpr int64_t kDecodeTokens = 8;

// With fewer blocks than this a longer pass is split too, while its partial results stay below 16 MiB.
constexpr int64_t kEnoughBlocks = 16;
constexpr int64_t kMaxPartialFloats = int64_t{4} << 20;

struct AttentionPlan {
  int64_t group;         // query heads per KV head
  int64_t block_heads;   // of a group, in one block
  int64_t block_tokens;  // in one block
  int64_t head_blocks, token_blocks, blocks;
  int64_t first_split, splits;
  bool split;  // every split is a task; else every block is
};

struct AttentionBlock {
  int64_t kv_head, first_head, heads, first_token, tokens;
  int64_t rows() const { return heads * tokens; }
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// First position that token `token` of the pass attends to.
inline int64_t window_start(const AttentionArgs& args, int64_t token) {
  const int64_t position = args.position + token;
  return args.window > 0 && position >= args.window ? position - args.window + 1 : 0;
}

// Past the last position that token `token` of the pass attends to.
inline int64_t visible_end(const AttentionArgs& args, int64_t token) {
  return args.visible_until != nullptr ? args.visible_until[token] : args.position + token + 1;
}

inline int64_t partial_floats(const AttentionArgs& args, int64_t splits) {
  return splits * args.tokens * args.heads * (args.kv.head_dim + 2);
}

inline AttentionPlan plan_attention(const AttentionArgs& args) {
  AttentionPlan plan{};
  if (args.tokens == 0) return plan;
  plan.group = args.heads / args.kv.kv_heads;
  plan.block_heads = plan.group < kBlockRows ? plan.group : kBlockRows;
  plan.block_tokens = kBlockRows / plan.block_heads;
  plan.head_blocks = ceil_div(plan.group, plan.block_heads);
  plan.token_blocks = ceil_div(args.tokens, plan.block_tokens);
  plan.blocks = args.kv.kv_heads * plan.head_blocks * plan.token_blocks;
  plan.first_split = window_start(args, 0) / kSplitPositions;
  plan.splits = (args.position + args.tokens - 1) / kSplitPositions - plan.first_split + 1;
  const bool worth_it =
      args.tokens <= kDecodeTokens ||
      (plan.blocks < kEnoughBlocks && partial_floats(args, plan.splits) <= kMaxPartialFloats);
  plan.split = plan.splits > 1 && worth_it;
  return plan;
}

// Blocks of late tokens come first: they attend to most, and the pool should not end on the longest task.
inline AttentionBlock block_at(const AttentionArgs& args, const AttentionPlan& plan, int64_t index) {
  const int64_t head_block = index % plan.head_blocks;
  const int64_t kv_head = index / plan.head_blocks % args.kv.kv_heads;
  const int64_t token_block = plan.token_blocks - 1 - index / plan.head_blocks / args.kv.kv_heads;
  AttentionBlock block{};
  block.kv_head = kv_head;
  block.first_head = kv_head * plan.group + head_block * plan.block_heads;
  const int64_t heads_left = plan.group - head_block * plan.block_heads;
  block.heads = heads_left < plan.block_heads ? heads_left : plan.block_heads;
  block.first_token = token_block * plan.block_tokens;
  const int64_t tokens_left = args.tokens - block.first_token;
  block.tokens = tokens_left < plan.block_tokens ? tokens_left : plan.block_tokens;
  return block;
}

}  // namespace

}  // namespace gs::GS_ISA
