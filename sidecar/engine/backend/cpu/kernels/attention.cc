// Attention over KV pages: out = softmax(scale * q K^T + mask) V, with the softmax and all sums across pages
// in F32. Recent pages are F16; those further behind may be int8 or int4 codes (attention_cold.h).
//
// The canonical arithmetic of one row (one head of one token), followed by every path (attention_plan.h says
// why): for each split of 256 positions, an online softmax over its 64-position pages in ascending order;
// then the splits merged in ascending order; then one division. Pages and splits outside (p - window, p] are
// not visited at all, and within a page masked positions weigh exactly 0 and their V is never read.
//
// A NaN in q, or in a visible K or V, makes that row NaN and no other; so does a score of +infinity.
#include "attention_cold.h"
#include "attention_plan.h"
#include "attention_sparse.h"
#include "attention_tile.h"
#include "kernels.h"
#include "kv_layout.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

constexpr int kPageVecs = kPagePositions / kLanes;
constexpr float kMinusInfinity = -__builtin_inff();

// One worker's buffers for a block of rows, carved from its scratch.
struct BlockState {
  float* q;          // [rows][head_dim], times scale
  float* p;          // [rows][64], scores, then weights
  float* output;     // [rows][head_dim], of the running split
  float* sum_lanes;  // [rows][kLanes], sum of weights of the running split, not yet added across lanes
  float* peak;       // [rows], largest score of the running split
  float* rescale;    // [rows], what the running split's earlier pages are multiplied by
  float* total_output;
  float* total_sum;   // [rows]
  float* total_peak;  // [rows]
  ColdState cold;
};

static_assert(((3 * kMaxHeadDim + kPagePositions + kLanes + 4) * kBlockRows + kColdScratchFloats) *
                  sizeof(float) <=
              kScratchBytes);

BlockState carve(float* scratch, int64_t head_dim) {
  const auto take = [&scratch](int64_t floats) {
    float* taken = scratch;
    scratch += floats;
    return taken;
  };
  BlockState state{};
  state.q = take(kBlockRows * head_dim);
  state.output = take(kBlockRows * head_dim);
  state.total_output = take(kBlockRows * head_dim);
  state.p = take(kBlockRows * kPagePositions);
  state.sum_lanes = take(kBlockRows * kLanes);
  state.peak = take(kBlockRows);
  state.rescale = take(kBlockRows);
  state.total_sum = take(kBlockRows);
  state.total_peak = take(kBlockRows);
  state.cold = carve_cold(scratch, head_dim);
  return state;
}

// Positions of a page, relative to its start, that a token attends to.
struct PageRange {
  int from, to;
  bool empty() const { return from >= to; }
  bool full() const { return from == 0 && to == kPagePositions; }
};

PageRange visible(const AttentionArgs& args, int64_t token, int64_t page_start) {
  const int64_t from = window_start(args, token) - page_start;
  const int64_t to = visible_end(args, token) - page_start;
  return {static_cast<int>(from > 0 ? from : 0), static_cast<int>(to < kPagePositions ? to : kPagePositions)};
}

// Scores of one row and page become weights exp(score - peak); updates the row's peak and sum.
void softmax_page(float* scores, PageRange range, float* peak, float* sum_lanes, float* rescale) {
  Vec s[kPageVecs];
  Vec largest = broadcast(kMinusInfinity);
  for (int v = 0; v < kPageVecs; ++v) {
    s[v] = load(scores + v * kLanes);
    if (!range.full()) {
      const Vec position = lane_index() + static_cast<float>(v * kLanes);
      const Vec masked = broadcast(kMinusInfinity);
      s[v] = position < static_cast<float>(range.from) ? masked : s[v];
      s[v] = position >= static_cast<float>(range.to) ? masked : s[v];
    }
    largest = max(s[v], largest);
  }
  const float page_peak = max_lanes(largest);
  const float new_peak = page_peak > *peak ? page_peak : *peak;
  *rescale = new_peak == *peak ? 1.0f : exp(*peak - new_peak);
  *peak = new_peak;
  Vec sum = load(sum_lanes) * *rescale;
  for (int v = 0; v < kPageVecs; ++v) {
    const Vec weight = exp(s[v] - new_peak);
    store(scores + v * kLanes, weight);
    sum = sum + weight;
  }
  store(sum_lanes, sum);
}

// Weighs a page's values for the block's tokens [first, last), which all see the same `range` of it.
void add_values(const BlockState& state, const AttentionBlock& block, int64_t first, int64_t last,
                PageRange range, const uint16_t* values, const uint16_t* ahead, int64_t head_dim) {
  const int64_t row = first * block.heads;
  value_rows_times((last - first) * block.heads, state.p + row * kPagePositions, values, head_dim, range.from,
                   range.to, state.rescale + row, ahead, state.output + row * head_dim);
}

// The first of the block's tokens that reads a page in its compressed form; block.tokens if none does.
int64_t first_cold_token(const AttentionArgs& args, const AttentionBlock& block, int64_t page_start) {
  if (args.cold.base == nullptr || page_start < args.cold.first_page * kPagePositions) return block.tokens;
  const int64_t turns_at = page_start + args.cold.hot_pages * kPagePositions;
  const int64_t token = turns_at - args.position - block.first_token;
  return token < 0 ? 0 : token < block.tokens ? token : block.tokens;
}

// A KV head's part of a compressed page.
CodedHead cold_head(const AttentionArgs& args, const AttentionBlock& block, int64_t page_start) {
  const auto page = static_cast<size_t>(args.cold.page_table[page_start / kPagePositions]);
  const size_t run_bytes = kv_head_bytes(args.cold.format, args.kv.head_dim);
  const uint8_t* run = args.cold.base + page * args.cold.page_bytes + args.cold.layer_offset +
                       static_cast<size_t>(block.kv_head) * run_bytes;
  return coded_head<CodedHead>(run, args.cold.format, args.kv.head_dim);
}

template <bool kInt4>
void attend_cold_page(const AttentionArgs& args, const AttentionBlock& block, const BlockState& state,
                      int64_t page_start, int64_t first_token, int64_t last_token) {
  const int64_t head_dim = args.kv.head_dim;
  const CodedHead head = cold_head(args, block, page_start);
  const int64_t first = first_token * block.heads, count = (last_token - first_token) * block.heads;
  cold_scores<kInt4>(head, state.cold, first, count, head_dim, state.p);
  for (int64_t row = first; row < first + count; ++row) {
    softmax_page(state.p + row * kPagePositions, {0, kPagePositions}, state.peak + row,
                 state.sum_lanes + row * kLanes, state.rescale + row);
  }
  const int64_t next = page_start + kPagePositions;
  const bool goes_on =
      first_cold_token(args, block, next) <= first_token &&
      reads_page(args, block.first_token + first_token, block.kv_head, next / kPagePositions);
  const uint8_t* ahead = goes_on ? cold_head(args, block, next).keys : head.keys;
  add_cold_values<kInt4>(head, state.cold, first, count, head_dim, state.p, state.rescale, ahead,
                         state.output);
}

// The K part of the next page that the block's token `token` reads, to be fetched meanwhile; `otherwise` if
// there is none in the pass or, where tokens choose, in the split.
const uint16_t* keys_ahead(const AttentionArgs& args, const AttentionBlock& block, int64_t page_start,
                           int64_t token, const uint16_t* otherwise) {
  int64_t next = page_start + kPagePositions;
  int64_t end = args.position + args.tokens;
  if (args.sparse.chosen != nullptr) {
    const int64_t split_end = (page_start / kSplitPositions + 1) * kSplitPositions;
    end = split_end < end ? split_end : end;
    while (next < end && !reads_page(args, block.first_token + token, block.kv_head, next / kPagePositions)) {
      next += kPagePositions;
    }
  }
  return next < end ? key_tiles(kv_head_in_page(args.kv, next, block.kv_head)) : otherwise;
}

// The block's tokens [first, last), all of which read the page if they see it.
void attend_page(const AttentionArgs& args, const AttentionBlock& block, const BlockState& state,
                 int64_t page_start, int64_t first, int64_t last) {
  const int64_t head_dim = args.kv.head_dim;
  const int64_t turns = first_cold_token(args, block, page_start);
  const int64_t first_cold = turns > first ? turns : first;
  if (first_cold < last) {
    if (args.cold.format == KvFormat::kInt4) {
      attend_cold_page<true>(args, block, state, page_start, first_cold, last);
    } else {
      attend_cold_page<false>(args, block, state, page_start, first_cold, last);
    }
    last = first_cold;
  }
  // Windows move with the token, so the tokens that see anything of a page are consecutive.
  while (first < last && visible(args, block.first_token + first, page_start).empty()) ++first;
  while (last > first && visible(args, block.first_token + last - 1, page_start).empty()) --last;
  if (first == last) return;

  uint16_t* head = kv_head_in_page(args.kv, page_start, block.kv_head);
  const uint16_t* keys = key_tiles(head);
  const uint16_t* values = value_rows(head, head_dim);
  const uint16_t* next_keys = keys_ahead(args, block, page_start, first, keys);
  const int from = visible(args, block.first_token + first, page_start).from;
  const int to = visible(args, block.first_token + last - 1, page_start).to;
  score_rows((last - first) * block.heads, state.q + first * block.heads * head_dim, keys, head_dim,
             from / kStripWidth, (to + kStripWidth - 1) / kStripWidth, values,
             state.p + first * block.heads * kPagePositions);

  for (int64_t token = first; token < last; ++token) {
    const PageRange range = visible(args, block.first_token + token, page_start);
    for (int64_t row = token * block.heads; row < (token + 1) * block.heads; ++row) {
      softmax_page(state.p + row * kPagePositions, range, state.peak + row, state.sum_lanes + row * kLanes,
                   state.rescale + row);
    }
  }

  // Tokens that see the whole page share strips; at the window's edges each token has a range of its own.
  for (int64_t token = first; token < last;) {
    const PageRange range = visible(args, block.first_token + token, page_start);
    int64_t next = token + 1;
    while (range.full() && next < last && visible(args, block.first_token + next, page_start).full()) ++next;
    add_values(state, block, token, next, range, values, next_keys, head_dim);
    token = next;
  }
}

void load_queries(const AttentionArgs& args, const AttentionBlock& block, const BlockState& state) {
  const int64_t head_dim = args.kv.head_dim;
  const int64_t count = block.heads * head_dim;
  for (int64_t token = 0; token < block.tokens; ++token) {
    const float* source = args.q + ((block.first_token + token) * args.heads + block.first_head) * head_dim;
    float* target = state.q + token * count;
    for (int64_t i = 0; i < count; ++i) target[i] = source[i] * args.scale;
  }
  if (args.cold.base != nullptr) load_cold_queries(args.cold, block.rows(), head_dim, state.q, state.cold);
}

// Runs one split of the block afresh: state.peak, sum_lanes and output hold its result.
void attend_split(const AttentionArgs& args, const AttentionBlock& block, const BlockState& state,
                  int64_t split) {
  const int64_t rows = block.rows();
  for (int64_t row = 0; row < rows; ++row) state.peak[row] = kMinusInfinity;
  __builtin_memset(state.sum_lanes, 0, sizeof(float) * rows * kLanes);
  __builtin_memset(state.output, 0, sizeof(float) * rows * args.kv.head_dim);
  const int64_t start = split * kSplitPositions;
  for (int64_t page = start; page < start + kSplitPositions; page += kPagePositions) {
    const auto reads = [&](int64_t token) {
      return reads_page(args, block.first_token + token, block.kv_head, page / kPagePositions);
    };
    for (int64_t first = 0; first < block.tokens;) {
      int64_t last = first;
      while (last < block.tokens && reads(last)) ++last;
      if (first < last) attend_page(args, block, state, page, first, last);
      first = last + 1;
    }
  }
}

// A row's softmax state over some positions: `output` is weighed by exp(score - peak), not yet divided by
// `sum`.
struct Partial {
  float peak, sum;
  bool nothing_seen() const { return peak == kMinusInfinity && sum == 0.0f; }
};

// total += next, rescaled to the larger peak.
void merge(Partial& total, float* total_output, Partial next, const float* next_output, int64_t head_dim) {
  if (next.nothing_seen()) return;
  if (total.nothing_seen()) {
    total = next;
    __builtin_memcpy(total_output, next_output, sizeof(float) * head_dim);
    return;
  }
  const float peak = next.peak > total.peak ? next.peak : total.peak;
  const float keep = exp(total.peak - peak), take = exp(next.peak - peak);
  total.peak = peak;
  total.sum = total.sum * keep + next.sum * take;
  for (int64_t d = 0; d < head_dim; d += kLanes) {
    store(total_output + d, load(total_output + d) * keep + load(next_output + d) * take);
  }
}

void finish(const AttentionArgs& args, int64_t token, int64_t head, const float* output, Partial total) {
  const int64_t head_dim = args.kv.head_dim;
  float* out = args.out + (token * args.heads + head) * head_dim;
  for (int64_t d = 0; d < head_dim; d += kLanes) store(out + d, load(output + d) / broadcast(total.sum));
  if (args.sparse.chosen == nullptr || args.sparse.missed == nullptr) return;
  const float* unread = unread_mass(args, token, head);
  const float ratio = unread[1] == 0 ? 0 : unread[1] * exp(unread[0] - total.peak) / total.sum;
  const float share = ratio < 0x1p100f ? ratio / (1 + ratio) : 1;
  float* missed = args.sparse.missed + token * args.heads + head;
  if (share > *missed) *missed = share;
}

// Where the split path keeps a row's result between its two phases.
struct PartialSlot {
  float* state;   // peak, sum
  float* output;  // [head_dim]
};

PartialSlot partial_slot(const AttentionArgs& args, const AttentionPlan& plan, int64_t split, int64_t token,
                         int64_t head) {
  const int64_t rows = args.tokens * args.heads;
  const int64_t slot = split * rows + token * args.heads + head;
  return {args.partials + plan.splits * rows * args.kv.head_dim + 2 * slot,
          args.partials + slot * args.kv.head_dim};
}

void attend_block(const AttentionArgs& args, const AttentionBlock& block, const BlockState& state) {
  const int64_t head_dim = args.kv.head_dim;
  for (int64_t row = 0; row < block.rows(); ++row) {
    state.total_peak[row] = kMinusInfinity;
    state.total_sum[row] = 0.0f;
  }
  const int64_t first = window_start(args, block.first_token) / kSplitPositions;
  const int64_t last = (visible_end(args, block.first_token + block.tokens - 1) - 1) / kSplitPositions;
  for (int64_t split = first; split <= last; ++split) {
    attend_split(args, block, state, split);
    for (int64_t row = 0; row < block.rows(); ++row) {
      Partial total{state.total_peak[row], state.total_sum[row]};
      merge(total, state.total_output + row * head_dim,
            {state.peak[row], sum_lanes(load(state.sum_lanes + row * kLanes))}, state.output + row * head_dim,
            head_dim);
      state.total_peak[row] = total.peak;
      state.total_sum[row] = total.sum;
    }
  }
  for (int64_t row = 0; row < block.rows(); ++row) {
    finish(args, block.first_token + row / block.heads, block.first_head + row % block.heads,
           state.total_output + row * head_dim, {state.total_peak[row], state.total_sum[row]});
  }
}

void attend_block_split(const AttentionArgs& args, const AttentionPlan& plan, const AttentionBlock& block,
                        int64_t split, const BlockState& state) {
  const int64_t head_dim = args.kv.head_dim;
  attend_split(args, block, state, plan.first_split + split);
  for (int64_t row = 0; row < block.rows(); ++row) {
    const PartialSlot slot = partial_slot(args, plan, split, block.first_token + row / block.heads,
                                          block.first_head + row % block.heads);
    slot.state[0] = state.peak[row];
    slot.state[1] = sum_lanes(load(state.sum_lanes + row * kLanes));
    __builtin_memcpy(slot.output, state.output + row * head_dim, sizeof(float) * head_dim);
  }
}

}  // namespace

int64_t attention_partials_floats(const AttentionArgs& args) {
  const AttentionPlan plan = plan_attention(args);
  return plan.split ? partial_floats(args, plan.splits) : 0;
}

int64_t attention_tasks(const AttentionArgs& args) {
  const AttentionPlan plan = plan_attention(args);
  return plan.split ? plan.blocks * plan.splits : plan.blocks;
}

void attention(const AttentionArgs& args, int64_t task, float* scratch) {
  const AttentionPlan plan = plan_attention(args);
  const BlockState state = carve(scratch, args.kv.head_dim);
  const AttentionBlock block = block_at(args, plan, plan.split ? task / plan.splits : task);
  load_queries(args, block, state);
  if (plan.split) {
    attend_block_split(args, plan, block, task % plan.splits, state);
  } else {
    attend_block(args, block, state);
  }
}

int64_t attention_merge_tasks(const AttentionArgs& args) {
  return plan_attention(args).split ? args.tokens * args.heads : 0;
}

// One row: its splits in ascending order.
void attention_merge(const AttentionArgs& args, int64_t task, float* scratch) {
  const AttentionPlan plan = plan_attention(args);
  const int64_t token = task / args.heads, head = task % args.heads;
  Partial total{kMinusInfinity, 0.0f};
  for (int64_t split = 0; split < plan.splits; ++split) {
    const PartialSlot slot = partial_slot(args, plan, split, token, head);
    merge(total, scratch, {slot.state[0], slot.state[1]}, slot.output, args.kv.head_dim);
  }
  finish(args, token, head, scratch, total);
}

}  // namespace gs::GS_ISA
