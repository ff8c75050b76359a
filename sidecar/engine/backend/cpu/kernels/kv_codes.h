// How keys and values lie in a compressed KV page: int8 or int4 codes with one scale for each position and
// segment of dimensions. The segment is the whole head for int8, 32 dimensions (or 16) for int4. One KV head
// of one layer is a run of
//
//   K scales BF16 [segments][64] | V scales BF16 [segments][64] | K codes | V codes
//
//   int8  K  4 tiles of 16 positions, each [head_dim / 4][16 positions][4 dimensions], code + 128
//         V  [16 groups of 4 positions][head_dim][4 positions], signed
//   int4  the same with two quads in a byte, code + 8: of n quads that belong together (those of a segment
//   for
//         K, all 16 groups for V), byte j holds quad j in its low bits and quad j + n / 2 in its high bits
//
// Keys of int4 are rotated (hadamard.h). 64 bytes are one operand of a dot-product instruction: sixteen lanes
// (positions for K, dimensions for V) of four products each. A scale is the largest magnitude / 127 (int4: /
// 7), rounded up to BF16, so that no code is clipped; it is NaN where a value was not finite. Bytes are the
// same on every instruction set.
#pragma once
#include "kernels.h"
#include "kv_layout.h"

namespace gs {

constexpr int kQuad = 4;
constexpr int kCodeLanes = 16;
constexpr int kCodeBytes = kQuad * kCodeLanes;

static constexpr int64_t kv_segment(KvFormat format, int64_t head_dim) {
  if (format == KvFormat::kInt8) return head_dim;
  return head_dim % 32 == 0 ? 32 : 16;
}

static constexpr int64_t kv_segments(KvFormat format, int64_t head_dim) {
  return head_dim / kv_segment(format, head_dim);
}

// Bytes of the codes of K, or of V.
static constexpr size_t kv_code_bytes(KvFormat format, int64_t head_dim) {
  const size_t bytes = static_cast<size_t>(kPagePositions * head_dim);
  return format == KvFormat::kInt8 ? bytes : bytes / 2;
}

// Bytes that one KV head takes in one layer of one page, in any format.
static constexpr size_t kv_head_bytes(KvFormat format, int64_t head_dim) {
  if (format == KvFormat::kF16) return kv_head_elements(head_dim) * sizeof(uint16_t);
  const size_t scales = static_cast<size_t>(2 * kPagePositions * kv_segments(format, head_dim));
  return scales * sizeof(uint16_t) + 2 * kv_code_bytes(format, head_dim);
}

// The four parts of a run.
template <class Byte, class Half>
struct CodedHeadOf {
  Half* key_scales;
  Half* value_scales;
  Byte* keys;
  Byte* values;
};
using CodedHead = CodedHeadOf<const uint8_t, const uint16_t>;
using WritableCodedHead = CodedHeadOf<uint8_t, uint16_t>;

template <class Head, class Byte>
static Head coded_head(Byte* run, KvFormat format, int64_t head_dim) {
  Head head{};
  const int64_t scales = kPagePositions * kv_segments(format, head_dim);
  head.key_scales = reinterpret_cast<decltype(head.key_scales)>(run);
  head.value_scales = head.key_scales + scales;
  head.keys = reinterpret_cast<Byte*>(head.value_scales + scales);
  head.values = head.keys + kv_code_bytes(format, head_dim);
  return head;
}

}  // namespace gs
