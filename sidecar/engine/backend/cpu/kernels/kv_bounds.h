// What a token may know of a page's keys without reading them: for each KV head of each layer
//
//   least F16 [head_dim] | most F16 [head_dim] | reach F32, zeros up to a multiple of 64 bytes
//
// the smallest and the largest key of each dimension over the page's positions, as attention reads them (F16,
// or what codes stand for), and reach = sum over dimensions of max(|least|, |most|). Of codes the bounds are
// rounded outwards. Infinite reach: a key is not finite.
#pragma once
#include "kv_codes.h"

namespace gs {

static constexpr size_t kv_bound_bytes(int64_t head_dim) {
  const size_t bytes = 2 * static_cast<size_t>(head_dim) * sizeof(uint16_t) + sizeof(float);
  return (bytes + 63) / 64 * 64;
}

// Up to a whole number of vectors on any instruction set.
static constexpr int64_t whole_vectors(int64_t floats) { return (floats + 15) / 16 * 16; }

// Bytes of a worker's scratch that a choice among `pages` takes for a group of heads (attention_select.cc).
static constexpr size_t page_choice_bytes(int64_t group, int64_t head_dim, int64_t pages) {
  const int64_t floats = 2 * group * head_dim + whole_vectors(group) + (group + 1) * whole_vectors(pages);
  return static_cast<size_t>(floats) * sizeof(float);
}

}  // namespace gs
