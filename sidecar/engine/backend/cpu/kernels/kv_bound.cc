// Makes the bounds of a page's keys (kv_bounds.h). A task is one KV head of one layer.
#include "hadamard.h"
#include "kv_bounds.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

float bf16_value(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float x;
  __builtin_memcpy(&x, &wide, sizeof x);
  return x;
}

// Keys of one tile as floats, [head_dim][16].
void f16_tile(const uint16_t* run, int64_t tile, int64_t head_dim, float* keys) {
  const uint16_t* from = run + tile * kTilePositions * head_dim;
  for (int64_t i = 0; i < kTilePositions * head_dim; i += kLanes) store(keys + i, load_f16(from + i));
}

void coded_tile(const CodedHead& head, KvFormat format, int64_t tile, int64_t head_dim, float* keys) {
  const int64_t segment = kv_segment(format, head_dim), segments = head_dim / segment;
  const int64_t quads = segment / kQuad;
  const size_t segment_bytes = kv_code_bytes(format, segment) / kPageTiles;
  for (int64_t dim = 0; dim < head_dim; ++dim) {
    const int64_t s = dim / segment, quad = dim % segment / kQuad;
    const uint8_t* codes = head.keys + static_cast<size_t>(tile * segments + s) * segment_bytes;
    const uint16_t* scales = head.key_scales + s * kPagePositions + tile * kTilePositions;
    for (int64_t lane = 0; lane < kTilePositions; ++lane) {
      const int64_t byte = lane * kQuad + dim % kQuad;
      int32_t code;
      if (format == KvFormat::kInt8) {
        code = codes[quad * kCodeBytes + byte] - 128;
      } else {
        const uint8_t pair = codes[quad % (quads / 2) * kCodeBytes + byte];
        code = (quad < quads / 2 ? pair & 0x0f : pair >> 4) - 8;
      }
      keys[dim * kTilePositions + lane] = static_cast<float>(code) * bf16_value(scales[lane]);
    }
  }
  if (format != KvFormat::kInt4) return;
  // Rotated back: large channels, which tell pages apart, are seen as such.
  float key[kMaxHeadDim];
  for (int64_t lane = 0; lane < kTilePositions; ++lane) {
    for (int64_t dim = 0; dim < head_dim; ++dim) key[dim] = keys[dim * kTilePositions + lane];
    rotate_back(format, head_dim, key);
    for (int64_t dim = 0; dim < head_dim; ++dim) keys[dim * kTilePositions + lane] = key[dim];
  }
}

}  // namespace

int64_t kv_bound_tasks(const KvBoundArgs& args) { return args.runs; }

void kv_bound(const KvBoundArgs& args, int64_t task, float* scratch) {
  const int64_t head_dim = args.head_dim;
  const uint8_t* run = args.from + static_cast<size_t>(task) * kv_head_bytes(args.format, head_dim);
  auto* least = reinterpret_cast<uint16_t*>(args.to + static_cast<size_t>(task) * kv_bound_bytes(head_dim));
  uint16_t* most = least + head_dim;
  float *keys = scratch, *low = keys + head_dim * kTilePositions, *high = low + head_dim;
  float finite = 0;
  for (int64_t tile = 0; tile < kPageTiles; ++tile) {
    if (args.format == KvFormat::kF16) {
      f16_tile(reinterpret_cast<const uint16_t*>(run), tile, head_dim, keys);
    } else {
      coded_tile(coded_head<CodedHead>(run, args.format, head_dim), args.format, tile, head_dim, keys);
    }
    for (int64_t dim = 0; dim < head_dim; ++dim) {
      const float* lanes = keys + dim * kTilePositions;
      float a = tile == 0 ? lanes[0] : low[dim], b = tile == 0 ? lanes[0] : high[dim];
      for (int64_t lane = 0; lane < kTilePositions; ++lane) {
        a = lanes[lane] < a ? lanes[lane] : a;
        b = lanes[lane] > b ? lanes[lane] : b;
        finite += lanes[lane] * 0.0f;
      }
      low[dim] = a;
      high[dim] = b;
    }
  }
  float reach = 0;
  for (int64_t dim = 0; dim < head_dim; ++dim) {
    if (args.format != KvFormat::kF16) {
      // A step of F16 outwards at least, whichever way the conversion rounds.
      low[dim] -= (low[dim] < 0 ? -low[dim] : low[dim]) * 0x1p-10f + 0x1p-24f;
      high[dim] += (high[dim] < 0 ? -high[dim] : high[dim]) * 0x1p-10f + 0x1p-24f;
    }
    const float a = low[dim] < 0 ? -low[dim] : low[dim], b = high[dim] < 0 ? -high[dim] : high[dim];
    reach += a > b ? a : b;
  }
  reach = finite == 0.0f ? reach * 1.001f : __builtin_inff();
  for (int64_t dim = 0; dim < head_dim; dim += kLanes) {
    store_f16(least + dim, load(low + dim));
    store_f16(most + dim, load(high + dim));
  }
  __builtin_memcpy(most + head_dim, &reach, sizeof reach);
}

}  // namespace gs::GS_ISA
