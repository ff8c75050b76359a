// Stores keys and values as F16 in the layout of kv_layout.h. A task is one KV head of one 16-position tile,
// so no two tasks touch the same cache line of K.
#include "kernels.h"
#include "kv_layout.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

void row_to_f16(const float* x, uint16_t* out, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store_f16(out + i, load(x + i));
}

}  // namespace

int64_t kv_write_tasks(const KvWriteArgs& args) {
  if (args.tokens == 0) return 0;
  const int64_t first_tile = args.position / kTilePositions;
  const int64_t last_tile = (args.position + args.tokens - 1) / kTilePositions;
  return (last_tile - first_tile + 1) * args.kv.kv_heads;
}

void kv_write(const KvWriteArgs& args, int64_t task, float* scratch) {
  const int64_t head_dim = args.kv.head_dim;
  const int64_t width = args.kv.kv_heads * head_dim;
  const int64_t head = task % args.kv.kv_heads;
  const int64_t tile_start = (args.position / kTilePositions + task / args.kv.kv_heads) * kTilePositions;
  const int64_t end = args.position + args.tokens;
  const int64_t from = tile_start > args.position ? tile_start : args.position;
  const int64_t to = tile_start + kTilePositions < end ? tile_start + kTilePositions : end;

  uint16_t* page = kv_head_in_page(args.kv, tile_start, head);
  uint16_t* tile = key_tiles(page) + (tile_start % kPagePositions) * head_dim;
  uint16_t* row = reinterpret_cast<uint16_t*>(scratch);
  for (int64_t position = from; position < to; ++position) {
    const int64_t source = (position - args.position) * width + head * head_dim;
    row_to_f16(args.v + source, value_rows(page, head_dim) + (position % kPagePositions) * head_dim,
               head_dim);
    row_to_f16(args.k + source, row, head_dim);
    uint16_t* lane = tile + position % kTilePositions;
    for (int64_t dim = 0; dim < head_dim; ++dim) lane[dim * kTilePositions] = row[dim];
  }
}

}  // namespace gs::GS_ISA
