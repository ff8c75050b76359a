// Rounds F16 pages to int8 or int4 codes (kv_codes.h). A task is one KV head of one layer. Plain arithmetic
// that rounds alike on every instruction set, so that a page's bytes never depend on the processor.
#include "hadamard.h"
#include "kv_codes.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

// Up to the next BF16 of a number that is not negative; NaN for what is not finite.
uint16_t scale_up(float x) {
  const uint32_t bits = bits_of(x);
  if (bits >= 0x7f800000u) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0xffffu) >> 16);
}

// Codes of `count` values, signed, and their scale.
uint16_t round_segment(const float* x, int64_t count, float levels, int32_t* codes) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = bits_of(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  const uint16_t scale = scale_up(float_of(largest) / levels);
  const float step = float_of(static_cast<uint32_t>(scale) << 16);
  const float inverse = largest > 0 && largest < 0x7f800000u ? 1.0f / step : 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    // Not finite, or so small that the inverse overflows: any code will do, the scale says the rest.
    float value = x[i] * inverse;
    value = value < levels ? value : levels;
    value = value > -levels ? value : -levels;
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, ties to even.
    codes[i] = static_cast<int32_t>((value + 0x1.8p23f) - 0x1.8p23f);
  }
  return scale;
}

void to_floats(const uint16_t* halves, float* out, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store(out + i, load_f16(halves + i));
}

// Puts a code into quad `quad` of `quads` that belong together.
void put(KvFormat format, uint8_t* codes, int64_t quad, int64_t quads, int64_t stride, int64_t byte,
         int32_t code) {
  if (format == KvFormat::kInt8) {
    codes[quad * stride + byte] = static_cast<uint8_t>(code);
    return;
  }
  const int64_t half = quads / 2;
  uint8_t* pair = codes + (quad % half) * stride + byte;
  *pair =
      static_cast<uint8_t>(quad < half ? (*pair & 0xf0) | (code + 8) : (*pair & 0x0f) | ((code + 8) << 4));
}

}  // namespace

int64_t kv_compress_tasks(const KvCompressArgs& args) { return args.runs; }

void kv_compress(const KvCompressArgs& args, int64_t task, float* scratch) {
  const int64_t head_dim = args.head_dim, segment = kv_segment(args.format, head_dim);
  const int64_t segments = head_dim / segment, segment_quads = segment / kQuad;
  const float levels = args.format == KvFormat::kInt8 ? 127.0f : 7.0f;
  const size_t segment_bytes = kv_code_bytes(args.format, segment) / kPageTiles;
  const uint16_t* run = args.from + static_cast<size_t>(task) * kv_head_elements(head_dim);
  const uint16_t* tiles = run;
  const uint16_t* rows = run + kPagePositions * head_dim;
  const auto head = coded_head<WritableCodedHead>(
      args.to + static_cast<size_t>(task) * kv_head_bytes(args.format, head_dim), args.format, head_dim);
  float* lanes = scratch;                          // [head_dim][16] of a tile, then a row of V
  float* key = lanes + head_dim * kTilePositions;  // [head_dim]
  int32_t codes[kMaxHeadDim];

  for (int64_t position = 0; position < kPagePositions; ++position) {
    const int64_t tile = position / kTilePositions, lane = position % kTilePositions;
    if (lane == 0) to_floats(tiles + tile * kTilePositions * head_dim, lanes, kTilePositions * head_dim);
    for (int64_t dim = 0; dim < head_dim; ++dim) key[dim] = lanes[dim * kTilePositions + lane];
    for (int64_t s = 0; s < segments; ++s) {
      if (args.format == KvFormat::kInt4) hadamard(key + s * segment, segment);
      head.key_scales[s * kPagePositions + position] =
          round_segment(key + s * segment, segment, levels, codes);
      uint8_t* out = head.keys + static_cast<size_t>(tile * segments + s) * segment_bytes;
      for (int64_t i = 0; i < segment; ++i) {
        const int32_t code = args.format == KvFormat::kInt8 ? codes[i] + 128 : codes[i];
        put(args.format, out, i / kQuad, segment_quads, kCodeBytes, lane * kQuad + i % kQuad, code);
      }
    }
  }
  for (int64_t position = 0; position < kPagePositions; ++position) {
    to_floats(rows + position * head_dim, lanes, head_dim);
    for (int64_t s = 0; s < segments; ++s) {
      head.value_scales[s * kPagePositions + position] =
          round_segment(lanes + s * segment, segment, levels, codes);
      for (int64_t i = 0; i < segment; ++i) {
        put(args.format, head.values, position / kQuad, kPagePositions / kQuad, head_dim * kQuad,
            (s * segment + i) * kQuad + position % kQuad, codes[i]);
      }
    }
  }
}

}  // namespace gs::GS_ISA
