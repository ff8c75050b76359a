// Which pages a token reads when it does not read all: recent ones and the first one always, of the others
// those that its own queries and the bounds of keys (kv_bounds.h) give most hope of. The choice of a token
// and KV head depends on nothing else, so it is the same whatever pass the token is in.
#pragma once
#include "kernels.h"

namespace gs::GS_ISA {

namespace {

// Pages [0, n) of the sequence are the ones that token `token` of the pass chooses among.
inline int64_t choosable_pages(const AttentionArgs& args, int64_t token) {
  const int64_t pages = (args.position + token) / kPagePositions + 1 - args.sparse.recent_pages;
  return pages > 0 ? pages : 0;
}

inline uint64_t* chosen_pages(const AttentionArgs& args, int64_t token, int64_t kv_head) {
  return args.sparse.chosen + (token * args.kv.kv_heads + kv_head) * args.sparse.words;
}

inline bool reads_page(const AttentionArgs& args, int64_t token, int64_t kv_head, int64_t page) {
  if (args.sparse.chosen == nullptr || page >= choosable_pages(args, token)) return true;
  return (chosen_pages(args, token, kv_head)[page / 64] >> (page % 64) & 1) != 0;
}

// Peak and sum of what a head's unread pages may hold at most, as those of a softmax.
inline float* unread_mass(const AttentionArgs& args, int64_t token, int64_t head) {
  return args.sparse.unread + 2 * (token * args.heads + head);
}

}  // namespace

}  // namespace gs::GS_ISA
