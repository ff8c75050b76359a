// Attention to compressed pages. Queries are rounded to 16 bits once for each row, weights once for each page
// and segment; sums are exact integers, then scaled in F32. A cold page is complete and lies behind every row
// that reads it, so nothing in it is ever masked.
//
// The order of a row's arithmetic: segments in ascending order for a score; a page's weighted values are one
// multiply-add to the running output.
#pragma once
#include "attention_plan.h"
#include "code_products.h"
#include "hadamard.h"

namespace gs::GS_ISA {

namespace {

// One worker's buffers for cold pages, beside BlockState.
struct ColdState {
  uint8_t* q;        // operands [rows][head_dim]
  float* q_scale;    // [rows]
  int32_t* q_start;  // [rows][segments], -offset * sum of q in the segment
  uint8_t* p;        // operands [rows][64]
  float* p_scale;    // [rows]
  int32_t* p_start;  // [rows]
  int32_t* sums;     // [rows][max(64, segment)]
};

// Takes the buffers from `scratch` on, in floats. head_dim / 16 segments at most.
GS_INLINE ColdState carve_cold(float* scratch, int64_t head_dim) {
  const auto take = [&scratch](int64_t floats) {
    float* taken = scratch;
    scratch += floats;
    return taken;
  };
  ColdState state{};
  state.q = reinterpret_cast<uint8_t*>(take(kBlockRows * head_dim / 2));
  state.p = reinterpret_cast<uint8_t*>(take(kBlockRows * kPagePositions / 2));
  state.sums =
      reinterpret_cast<int32_t*>(take(kBlockRows * (head_dim > kPagePositions ? head_dim : kPagePositions)));
  state.q_start = reinterpret_cast<int32_t*>(take(kBlockRows * head_dim / kHeadDimStep));
  state.q_scale = take(kBlockRows);
  state.p_scale = take(kBlockRows);
  state.p_start = reinterpret_cast<int32_t*>(take(kBlockRows));
  return state;
}

constexpr int64_t kColdScratchFloats =
    kBlockRows * (kMaxHeadDim / 2 + kPagePositions / 2 + kMaxHeadDim + kMaxHeadDim / kHeadDimStep + 3);

GS_INLINE Vec load_bf16(const uint16_t* p) {
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  Halves halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  return reinterpret_cast<Vec>(__builtin_convertvector(halves, IntVec) << 16);
}

GS_INLINE Vec to_float(const int32_t* p) {
  IntVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, Vec);
}

// x / scale to the nearest integer as operands of quads, `count` values; returns the scale, NaN if a value is
// not finite. `sum` of all codes goes to sums[i / segment].
inline float round_operand(CodeSide side, const float* x, int64_t count, int64_t segment, uint8_t* operand,
                           int32_t* sums) {
  Vec largest = zero(), finite = zero();
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vec value = load(x + i);
    largest = max(max(value, -value), largest);
    finite = finite + value * 0.0f;
  }
  const float peak = max_lanes(largest);
  const float inverse = peak > 0.0f ? static_cast<float>(kOperandLevels) / peak : 0.0f;
  for (int64_t start = 0; start < count; start += segment) {
    IntVec sum{};
    for (int64_t i = start; i < start + segment; i += kLanes) {
      const Vec rounded = load(x + i) * inverse + 0x1.8p23f;
      const IntVec codes = reinterpret_cast<IntVec>(rounded) - reinterpret_cast<IntVec>(broadcast(0x1.8p23f));
      sum = sum + codes;
      store_operands(side, codes, operand + i / kQuad * kOperandBytes);
    }
    int32_t lanes[kLanes], total = 0;
    __builtin_memcpy(lanes, &sum, sizeof lanes);
    for (const int32_t lane : lanes) total += lane;
    sums[start / segment] = total;
  }
  return peak / static_cast<float>(kOperandLevels) + sum_lanes(finite);
}

// Rounds the block's queries (times scale, [rows][head_dim]).
inline void load_cold_queries(const ColdKvArgs& cold, int64_t rows, int64_t head_dim, const float* q,
                              const ColdState& state) {
  const int64_t segment = kv_segment(cold.format, head_dim), segments = head_dim / segment;
  const int32_t offset = cold.format == KvFormat::kInt8 ? 128 : 8;
  float rotated[kMaxHeadDim];
  for (int64_t row = 0; row < rows; ++row) {
    int32_t* sums = state.q_start + row * segments;
    __builtin_memcpy(rotated, q + row * head_dim, sizeof(float) * static_cast<size_t>(head_dim));
    rotate_back(cold.format, head_dim, rotated);
    state.q_scale[row] =
        round_operand(CodeSide::kKeys, rotated, head_dim, segment, state.q + row * head_dim * 2, sums);
    for (int64_t s = 0; s < segments; ++s)
      sums[s] = static_cast<int32_t>(-static_cast<int64_t>(offset) * sums[s]);
  }
}

// scores[row][0..63] of rows [first, first + count).
template <bool kInt4>
void cold_scores(const CodedHead& head, const ColdState& state, int64_t first, int64_t count,
                 int64_t head_dim, float* scores) {
  constexpr KvFormat format = kInt4 ? KvFormat::kInt4 : KvFormat::kInt8;
  const int64_t segment = kv_segment(format, head_dim), segments = head_dim / segment;
  const auto segment_bytes = static_cast<int64_t>(kv_code_bytes(format, segment)) / kPageTiles;
  for (int64_t s = 0; s < segments; ++s) {
    const CodeProducts products = {state.q + first * head_dim * 2 + s * segment * 2,
                                   head_dim * 2,
                                   state.q_start + first * segments + s,
                                   segments,
                                   head.keys + s * segment_bytes,
                                   static_cast<int32_t>(segment / kQuad),
                                   kCodeBytes,
                                   kPageTiles,
                                   segments * segment_bytes,
                                   state.sums,
                                   kPagePositions,
                                   head.values + s * kPageTiles * segment_bytes};
    code_products<CodeSide::kKeys, kInt4>(products, count);
    for (int64_t row = 0; row < count; ++row) {
      const float q_scale = state.q_scale[first + row];
      for (int64_t i = 0; i < kPagePositions; i += kLanes) {
        float* out = scores + (first + row) * kPagePositions + i;
        const Vec scale = load_bf16(head.key_scales + s * kPagePositions + i) * q_scale;
        const Vec sum = to_float(state.sums + row * kPagePositions + i);
        store(out, s == 0 ? sum * scale : fma(sum, scale, load(out)));
      }
    }
  }
}

// output[row] = output[row] * rescale[row] + the page's values weighed by p[row], for rows [first, first +
// count). `ahead`: the codes read next.
template <bool kInt4>
void add_cold_values(const CodedHead& head, const ColdState& state, int64_t first, int64_t count,
                     int64_t head_dim, const float* p, const float* rescale, const uint8_t* ahead,
                     float* output) {
  constexpr KvFormat format = kInt4 ? KvFormat::kInt4 : KvFormat::kInt8;
  const int64_t segment = kv_segment(format, head_dim), segments = head_dim / segment;
  for (int64_t s = 0; s < segments; ++s) {
    for (int64_t row = 0; row < count; ++row) {
      float weights[kPagePositions];
      for (int64_t i = 0; i < kPagePositions; i += kLanes) {
        store(weights + i, load(p + (first + row) * kPagePositions + i) *
                               load_bf16(head.value_scales + s * kPagePositions + i));
      }
      int32_t sum;
      state.p_scale[row] = round_operand(CodeSide::kValues, weights, kPagePositions, kPagePositions,
                                         state.p + row * kPagePositions * 2, &sum);
      state.p_start[row] = kInt4 ? -8 * sum : 0;
    }
    const CodeProducts products = {state.p,
                                   kPagePositions * 2,
                                   state.p_start,
                                   1,
                                   head.values + s * segment * kQuad,
                                   kPagePositions / kQuad,
                                   head_dim * kQuad,
                                   static_cast<int32_t>(segment / kCodeLanes),
                                   kCodeBytes,
                                   state.sums,
                                   segment,
                                   ahead + s * static_cast<int64_t>(kv_code_bytes(format, segment))};
    code_products<CodeSide::kValues, kInt4>(products, count);
    for (int64_t row = 0; row < count; ++row) {
      const Vec scale = broadcast(state.p_scale[row]);
      for (int64_t d = 0; d < segment; d += kLanes) {
        float* out = output + (first + row) * head_dim + s * segment + d;
        store(out, fma(to_float(state.sums + row * segment + d), scale, load(out) * rescale[first + row]));
      }
    }
  }
}

}  // namespace

}  // namespace gs::GS_ISA
