// How keys and values lie in a KV page. A page holds 64 positions of every layer of one class; inside a
// layer's part each KV head has 128 * head_dim F16 values in one run:
//
//   page ── layer 0 ─┬─ head 0 ─┬─ K  tile 0: positions  0..15   [head_dim][16]   lane = position
//        ├─ layer 1  ├─ head 1  │     tile 1: positions 16..31   [head_dim][16]
//        └─ ...      └─ ...     │     tile 2: positions 32..47   [head_dim][16]
//                               │     tile 3: positions 48..63   [head_dim][16]
//                               └─ V  [64 positions][head_dim]
//
// K is transposed in tiles, so that q.k of 16 positions is head_dim multiply-adds of a whole vector with no
// sum across lanes, on any vector width up to 16. V is not: there the output dimension runs along the lanes.
//
// A position's page is page_table[(p / 64) % page_table_length]. What was never written, or is left from an
// earlier owner of the page, may be anything: readers must not let it reach a result, not even times zero.
#pragma once
#include "kernels.h"

namespace gs {

constexpr int kTilePositions = 16;
constexpr int kPageTiles = kPagePositions / kTilePositions;

// Head dimensions are multiples of this: V rows and output rows are whole numbers of vectors everywhere.
constexpr int kHeadDimStep = 16;
constexpr int64_t kMaxHeadDim = 512;

// F16 values that one KV head takes in one layer of one page. (static: see simd.h on the linker.)
static constexpr size_t kv_head_elements(int64_t head_dim) {
  return size_t{2} * kPagePositions * static_cast<size_t>(head_dim);
}

// Start of a KV head's run in the page that holds `position`.
static inline uint16_t* kv_head_in_page(const KvArgs& kv, int64_t position, int64_t kv_head) {
  const int64_t page = kv.page_table[(position / kPagePositions) % kv.page_table_length];
  return kv.base + static_cast<size_t>(page) * kv.page_stride + kv.layer_offset +
         static_cast<size_t>(kv_head) * kv_head_elements(kv.head_dim);
}

static inline uint16_t* key_tiles(uint16_t* head) { return head; }

static inline uint16_t* value_rows(uint16_t* head, int64_t head_dim) {
  return head + kPagePositions * head_dim;
}

}  // namespace gs
