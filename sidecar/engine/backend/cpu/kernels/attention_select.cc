// Chooses the pages that a token reads (attention_sparse.h). A task is one KV head of one token.
//
// The bound of a page for a head: sum over dimensions of the larger of q * least and q * most, plus what
// rounding may add (of keys' products in F32, of queries to 16 bits for codes: together below
// 2^-15 * largest |q| * reach). A page's rank is its best bound over the heads that share it, each relative
// to that head's best page. Of equal ranks the later page wins.
#include "attention_sparse.h"
#include "kv_bounds.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

constexpr float kInfinity = __builtin_inff();
constexpr int kBoundRows = 4;

// One task's buffers in a worker's scratch.
struct Selection {
  float *plus, *minus;  // [group][head_dim]: queries times scale, positive and negative parts
  float* slack;         // [group]
  float* bounds;        // [group][pages, padded]
  uint32_t* ranks;      // [pages]
};

Selection carve(float* scratch, int64_t group, int64_t head_dim, int64_t pages) {
  Selection s{};
  s.plus = scratch;
  s.minus = s.plus + group * head_dim;
  s.slack = s.minus + group * head_dim;
  s.bounds = s.slack + whole_vectors(group);
  s.ranks = reinterpret_cast<uint32_t*>(s.bounds + group * whole_vectors(pages));
  return s;
}

void load_queries(const AttentionArgs& args, int64_t token, int64_t kv_head, int64_t group,
                  const Selection& s) {
  const int64_t head_dim = args.kv.head_dim;
  const float* q = args.q + (token * args.heads + kv_head * group) * head_dim;
  for (int64_t row = 0; row < group; ++row) {
    Vec largest = zero();
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const Vec x = load(q + row * head_dim + d) * args.scale;
      store(s.plus + row * head_dim + d, max(x, zero()));
      store(s.minus + row * head_dim + d, zero() - max(-x, zero()));
      largest = max(max(x, -x), largest);
    }
    s.slack[row] = max_lanes(largest) * 0x1p-15f;
  }
}

template <int kRows>
void bound_rows(const Selection& s, int64_t row, int64_t head_dim, const uint16_t* least, float* out,
                int64_t stride) {
  const uint16_t* most = least + head_dim;
  float reach;
  __builtin_memcpy(&reach, most + head_dim, sizeof reach);
  Vec sum[kRows] = {};
  for (int64_t d = 0; d < head_dim; d += kLanes) {
    const Vec low = load_f16(least + d), high = load_f16(most + d);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const int64_t at = (row + r) * head_dim + d;
      sum[r] = fma(load(s.plus + at), high, fma(load(s.minus + at), low, sum[r]));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float bound = sum_lanes(sum[r]) + s.slack[row + r] * reach;
    // Nothing is known of a page with a key that is not finite: it comes first.
    out[(row + r) * stride] = bound < kInfinity ? bound : kInfinity;
  }
}

template <int kRows = kBoundRows>
void bound_all_rows(const Selection& s, int64_t rows, int64_t row, int64_t head_dim, const uint16_t* least,
                    float* out, int64_t stride) {
  if constexpr (kRows > 0) {
    for (; row + kRows <= rows; row += kRows) bound_rows<kRows>(s, row, head_dim, least, out, stride);
    bound_all_rows<kRows - 1>(s, rows, row, head_dim, least, out, stride);
  }
}

// Larger for larger numbers.
uint32_t ordered(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

// The `wanted`-th largest of `count` keys, by their bytes from the top; `equal` of those like it are wanted.
uint32_t threshold(const uint32_t* keys, int64_t count, int64_t wanted, int64_t* equal) {
  uint32_t prefix = 0, mask = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    int64_t counts[256] = {};
    for (int64_t i = 0; i < count; ++i) {
      if ((keys[i] & mask) == prefix) ++counts[keys[i] >> shift & 0xff];
    }
    uint32_t byte = 255;
    while (counts[byte] < wanted) wanted -= counts[byte--];
    prefix |= byte << shift;
    mask |= 0xffu << shift;
  }
  *equal = wanted;
  return prefix;
}

// Marks `wanted` of pages [1, pages), and page 0.
void choose(const uint32_t* ranks, int64_t pages, int64_t wanted, uint64_t* chosen) {
  chosen[0] |= 1;
  if (wanted == 0) return;
  int64_t equal;
  const uint32_t least = threshold(ranks + 1, pages - 1, wanted, &equal);
  for (int64_t page = pages - 1; page > 0; --page) {
    const bool wins = ranks[page] > least || (ranks[page] == least && equal-- > 0);
    if (wins) chosen[page / 64] |= uint64_t{1} << (page % 64);
  }
}

// What the pages that are not chosen may hold: 64 positions each with a score of their bound.
void sum_unread(const float* bounds, int64_t pages, const uint64_t* chosen, float peak, float* unread) {
  Vec sum = zero();
  for (int64_t page = 0; page < pages; page += kLanes) {
    float left[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int64_t at = page + i;
      const bool read = at >= pages || (chosen[at / 64] >> (at % 64) & 1) != 0;
      left[i] = read ? -kInfinity : bounds[at] < kInfinity ? bounds[at] - peak : kInfinity;
    }
    sum = sum + exp(load(left));
  }
  unread[0] = peak;
  // A little more than 64 covers what exp and this sum round away.
  unread[1] = sum_lanes(sum) * 64.01f;
}

}  // namespace

int64_t attention_select_tasks(const AttentionArgs& args) { return args.tokens * args.kv.kv_heads; }

void attention_select(const AttentionArgs& args, int64_t task, float* scratch) {
  const SparseKvArgs& sparse = args.sparse;
  const int64_t token = task / args.kv.kv_heads, kv_head = task % args.kv.kv_heads;
  const int64_t group = args.heads / args.kv.kv_heads, head_dim = args.kv.head_dim;
  const int64_t pages = choosable_pages(args, token);
  uint64_t* chosen = chosen_pages(args, token, kv_head);
  __builtin_memset(chosen, 0, sizeof(uint64_t) * static_cast<size_t>(sparse.words));
  if (pages <= sparse.top_pages + 1) {
    for (int64_t page = 0; page < pages; ++page) chosen[page / 64] |= uint64_t{1} << (page % 64);
    for (int64_t row = 0; row < group; ++row) {
      float* unread = unread_mass(args, token, kv_head * group + row);
      unread[0] = -kInfinity;
      unread[1] = 0;
    }
    return;
  }
  const Selection s = carve(scratch, group, head_dim, pages);
  load_queries(args, token, kv_head, group, s);
  const int64_t stride = whole_vectors(pages);
  for (int64_t page = 0; page < pages; ++page) {
    const uint8_t* record = sparse.bounds + static_cast<size_t>(sparse.page_table[page]) * sparse.page_bytes +
                            sparse.layer_offset + static_cast<size_t>(kv_head) * kv_bound_bytes(head_dim);
    bound_all_rows(s, group, 0, head_dim, reinterpret_cast<const uint16_t*>(record), s.bounds + page, stride);
  }
  for (int64_t page = 0; page < pages; ++page) s.ranks[page] = 0;
  for (int64_t row = 0; row < group; ++row) {
    const float* bounds = s.bounds + row * stride;
    float peak = -kInfinity;
    for (int64_t page = 0; page < pages; ++page) {
      if (bounds[page] > peak && bounds[page] < kInfinity) peak = bounds[page];
    }
    unread_mass(args, token, kv_head * group + row)[0] = peak;
    for (int64_t page = 0; page < pages; ++page) {
      const uint32_t rank = ordered(bounds[page] < kInfinity ? bounds[page] - peak : kInfinity);
      if (rank > s.ranks[page]) s.ranks[page] = rank;
    }
  }
  choose(s.ranks, pages, sparse.top_pages, chosen);
  for (int64_t row = 0; row < group; ++row) {
    float* unread = unread_mass(args, token, kv_head * group + row);
    sum_unread(s.bounds + row * stride, pages, chosen, unread[0], unread);
  }
}

}  // namespace gs::GS_ISA
