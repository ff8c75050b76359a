// Exact integer products between 16-bit rows and the codes of a compressed KV page: sixteen lanes at a time,
// each the sum over `quads` groups of four. Sums are exact, so they are the same on every instruction set and
// whatever rows share a strip.
//
// A row's operand is 8 bytes a quad: its four int16 values, or their high and low bytes apart where the
// machine multiplies bytes. Values stay within kOperandLevels, so that both bytes are signed where that is
// needed.
#pragma once
#include "kv_codes.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

// (x + 128) >> 8 of anything up to this fits a signed byte.
constexpr int32_t kOperandLevels = 32639;
constexpr int64_t kOperandBytes = 8;

enum class CodeSide { kKeys, kValues };

// Where codes lie and which rows they meet.
struct CodeProducts {
  const uint8_t* operand;  // [rows], `operand_stride` bytes apart
  int64_t operand_stride;
  const int32_t*
      start;  // [rows], start_stride apart: what the sums begin at (it takes the codes' offset away)
  int64_t start_stride;
  const uint8_t* codes;  // of the first sixteen lanes
  int32_t quads;
  int64_t quad_stride;  // bytes from one quad (int4: pair of quads) to the next
  int32_t groups;       // of sixteen lanes
  int64_t group_stride;
  int32_t* out;  // [rows][out_stride], 16 * groups of them written
  int64_t out_stride;
  // What is read next, of as many bytes as these codes: to be fetched meanwhile.
  const uint8_t* ahead;
};

// Writes the operands of one vector of values: kLanes / 4 quads.
GS_INLINE void store_operands(CodeSide side, IntVec values, uint8_t* quads) {
#if defined(__AVX512F__)
  // Weights are the unsigned operand here.
  const IntVec high = side == CodeSide::kKeys ? (values + 128) >> 8 : values >> 8;
  const IntVec low = values - (high << 8);
  const __m128i h = _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(high));
  const __m128i l = _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(low));
  auto* out = reinterpret_cast<__m128i*>(quads);
  _mm_storeu_si128(out, _mm_unpacklo_epi32(h, l));
  _mm_storeu_si128(out + 1, _mm_unpackhi_epi32(h, l));
#elif defined(__ARM_FEATURE_DOTPROD)
  (void)side;
  const IntVec high = (values + 128) >> 8, low = values - (high << 8);
  for (int i = 0; i < kLanes; ++i) {
    uint8_t* quad = quads + i / kQuad * kOperandBytes + i % kQuad;
    quad[0] = static_cast<uint8_t>(high[i]);
    quad[kQuad] = static_cast<uint8_t>(low[i]);
  }
#else
  (void)side;
  typedef int16_t Shorts __attribute__((vector_size(kLanes * 2)));
  const Shorts shorts = __builtin_convertvector(values, Shorts);
  __builtin_memcpy(quads, &shorts, sizeof shorts);
#endif
}

#if defined(__AVX512F__)

constexpr int kCodeRows = 6, kCodeGroups = 2;

template <CodeSide side, int kRows, int kGroups>
GS_INLINE void multiply_quad(const uint8_t* operand, int64_t stride, const __m512i* codes,
                             __m512i (*high)[kGroups], __m512i (*low)[kGroups]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    int32_t bytes[2];
    __builtin_memcpy(bytes, operand + r * stride, sizeof bytes);
    const __m512i h = _mm512_set1_epi32(bytes[0]), l = _mm512_set1_epi32(bytes[1]);
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      if constexpr (side == CodeSide::kKeys) {
        high[r][g] = _mm512_dpbusd_epi32(high[r][g], codes[g], h);
        low[r][g] = _mm512_dpbusd_epi32(low[r][g], codes[g], l);
      } else {
        high[r][g] = _mm512_dpbusd_epi32(high[r][g], h, codes[g]);
        low[r][g] = _mm512_dpbusd_epi32(low[r][g], l, codes[g]);
      }
    }
  }
}

template <CodeSide side, bool kInt4, int kRows, int kGroups>
void code_strip(const CodeProducts& p, int64_t row, int32_t group) {
  const uint8_t* operand = p.operand + row * p.operand_stride;
  const uint8_t* codes = p.codes + group * p.group_stride;
  __m512i high[kRows][kGroups], low[kRows][kGroups];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      high[r][g] = _mm512_setzero_si512();
      low[r][g] = _mm512_set1_epi32(p.start[(row + r) * p.start_stride]);
    }
  }
  const int32_t steps = kInt4 ? p.quads / 2 : p.quads;
  const uint8_t* ahead = p.ahead + static_cast<int64_t>(group) * steps * kCodeBytes;
  for (int32_t step = 0; step < steps; ++step) {
    // Pages are read once, of values a little of each line of 1 KiB at a time: no hardware foresees that.
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) __builtin_prefetch(ahead + (step * kGroups + g) * kCodeBytes, 0, 2);
    __m512i bytes[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g)
      bytes[g] = _mm512_loadu_si512(codes + step * p.quad_stride + g * p.group_stride);
    if constexpr (kInt4) {
      const __m512i mask = _mm512_set1_epi8(0x0f);
      __m512i nibbles[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) nibbles[g] = _mm512_and_si512(bytes[g], mask);
      multiply_quad<side, kRows, kGroups>(operand + step * kOperandBytes, p.operand_stride, nibbles, high,
                                          low);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) nibbles[g] = _mm512_and_si512(_mm512_srli_epi16(bytes[g], 4), mask);
      multiply_quad<side, kRows, kGroups>(operand + (step + steps) * kOperandBytes, p.operand_stride, nibbles,
                                          high, low);
    } else {
      multiply_quad<side, kRows, kGroups>(operand + step * kOperandBytes, p.operand_stride, bytes, high, low);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      _mm512_storeu_si512(p.out + (row + r) * p.out_stride + (group + g) * kCodeLanes,
                          _mm512_add_epi32(_mm512_slli_epi32(high[r][g], 8), low[r][g]));
    }
  }
}

#elif defined(__AVX2__)

constexpr int kCodeRows = 3, kCodeGroups = 1;

// Sixteen bytes become sixteen int16: four lanes of a quad.
template <CodeSide side, bool kInt4>
GS_INLINE __m256i widen(__m128i bytes) {
  return side == CodeSide::kKeys || kInt4 ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
}

template <CodeSide side, bool kInt4, int kRows, int kGroups>
void code_strip(const CodeProducts& p, int64_t row, int32_t group) {
  static_assert(kGroups == 1);
  const uint8_t* operand = p.operand + row * p.operand_stride;
  const uint8_t* codes = p.codes + group * p.group_stride;
  __m256i sum[kRows][4] = {};
  const auto multiply = [&](int64_t quad, const __m256i* lanes) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      int64_t values;
      __builtin_memcpy(&values, operand + r * p.operand_stride + quad * kOperandBytes, sizeof values);
      const __m256i x = _mm256_set1_epi64x(values);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sum[r][i] = _mm256_add_epi32(sum[r][i], _mm256_madd_epi16(lanes[i], x));
    }
  };
  const int32_t steps = kInt4 ? p.quads / 2 : p.quads;
  for (int32_t step = 0; step < steps; ++step) {
    const auto* bytes = reinterpret_cast<const __m128i*>(codes + step * p.quad_stride);
    __m256i lanes[4];
    if constexpr (kInt4) {
      const __m128i mask = _mm_set1_epi8(0x0f);
      for (int i = 0; i < 4; ++i)
        lanes[i] = widen<side, true>(_mm_and_si128(_mm_loadu_si128(bytes + i), mask));
      multiply(step, lanes);
      for (int i = 0; i < 4; ++i) {
        const __m128i high = _mm_srli_epi16(_mm_loadu_si128(bytes + i), 4);
        lanes[i] = widen<side, true>(_mm_and_si128(high, mask));
      }
      multiply(step + steps, lanes);
    } else {
      for (int i = 0; i < 4; ++i) lanes[i] = widen<side, false>(_mm_loadu_si128(bytes + i));
      multiply(step, lanes);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    int32_t* out = p.out + (row + r) * p.out_stride + group * kCodeLanes;
    const __m256i start = _mm256_set1_epi32(p.start[(row + r) * p.start_stride]);
    for (int i = 0; i < 2; ++i) {
      // hadd leaves the lanes of each half apart: 0 1 4 5 | 2 3 6 7.
      const __m256i pairs = _mm256_hadd_epi32(sum[r][2 * i], sum[r][2 * i + 1]);
      const __m256i ordered = _mm256_permute4x64_epi64(pairs, 0xd8);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8 * i), _mm256_add_epi32(ordered, start));
    }
  }
}

#elif defined(__ARM_FEATURE_DOTPROD)

constexpr int kCodeRows = 3, kCodeGroups = 1;

template <CodeSide side, bool kInt4, int kRows, int kGroups>
void code_strip(const CodeProducts& p, int64_t row, int32_t group) {
  static_assert(kGroups == 1);
  // Key codes of int8 are code + 128: turning the top bit makes them signed, so nothing has to be taken away.
  constexpr bool kTurn = side == CodeSide::kKeys && !kInt4;
  const uint8_t* operand = p.operand + row * p.operand_stride;
  const uint8_t* codes = p.codes + group * p.group_stride;
  int32x4_t high[kRows][4], low[kRows][4];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 4; ++i) {
      high[r][i] = vdupq_n_s32(0);
      low[r][i] = vdupq_n_s32(kTurn ? 0 : p.start[(row + r) * p.start_stride]);
    }
  }
  const auto multiply = [&](int64_t quad, const int8x16_t* lanes) {
    for (int r = 0; r < kRows; ++r) {
      const int8x8_t x = vreinterpret_s8_u8(vld1_u8(operand + r * p.operand_stride + quad * kOperandBytes));
      for (int i = 0; i < 4; ++i) {
        high[r][i] = vdotq_lane_s32(high[r][i], lanes[i], x, 0);
        low[r][i] = vdotq_lane_s32(low[r][i], lanes[i], x, 1);
      }
    }
  };
  const int32_t steps = kInt4 ? p.quads / 2 : p.quads;
  for (int32_t step = 0; step < steps; ++step) {
    const uint8_t* bytes = codes + step * p.quad_stride;
    int8x16_t lanes[4];
    if constexpr (kInt4) {
      const uint8x16_t mask = vdupq_n_u8(0x0f);
      for (int i = 0; i < 4; ++i) lanes[i] = vreinterpretq_s8_u8(vandq_u8(vld1q_u8(bytes + 16 * i), mask));
      multiply(step, lanes);
      for (int i = 0; i < 4; ++i) lanes[i] = vreinterpretq_s8_u8(vshrq_n_u8(vld1q_u8(bytes + 16 * i), 4));
      multiply(step + steps, lanes);
    } else {
      for (int i = 0; i < 4; ++i) {
        const uint8x16_t loaded = vld1q_u8(bytes + 16 * i);
        lanes[i] = vreinterpretq_s8_u8(kTurn ? veorq_u8(loaded, vdupq_n_u8(0x80)) : loaded);
      }
      multiply(step, lanes);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    int32_t* out = p.out + (row + r) * p.out_stride + group * kCodeLanes;
    for (int i = 0; i < 4; ++i) vst1q_s32(out + 4 * i, vaddq_s32(vshlq_n_s32(high[r][i], 8), low[r][i]));
  }
}

#else

constexpr int kCodeRows = 1, kCodeGroups = 1;

template <CodeSide side, bool kInt4, int kRows, int kGroups>
void code_strip(const CodeProducts& p, int64_t row, int32_t group) {
  static_assert(kRows == 1 && kGroups == 1);
  const uint8_t* operand = p.operand + row * p.operand_stride;
  const uint8_t* codes = p.codes + group * p.group_stride;
  // Unsigned, because sums pass beyond 2^31 on their way to a result that does not.
  uint32_t sum[kCodeLanes];
  for (uint32_t& lane : sum) lane = static_cast<uint32_t>(p.start[row * p.start_stride]);
  const int32_t steps = kInt4 ? p.quads / 2 : p.quads;
  for (int32_t quad = 0; quad < p.quads; ++quad) {
    const uint8_t* bytes = codes + (quad % steps) * p.quad_stride;
    int16_t x[kQuad];
    __builtin_memcpy(x, operand + quad * kOperandBytes, sizeof x);
    for (int lane = 0; lane < kCodeLanes; ++lane) {
      for (int i = 0; i < kQuad; ++i) {
        const uint8_t byte = bytes[lane * kQuad + i];
        int32_t code = byte;
        if constexpr (kInt4) {
          code = quad < steps ? byte & 0x0f : byte >> 4;
        } else if constexpr (side == CodeSide::kValues) {
          code = static_cast<int8_t>(byte);
        }
        sum[lane] += static_cast<uint32_t>(code * x[i]);
      }
    }
  }
  int32_t* out = p.out + row * p.out_stride + group * kCodeLanes;
  for (int lane = 0; lane < kCodeLanes; ++lane) out[lane] = static_cast<int32_t>(sum[lane]);
}

#endif

template <CodeSide side, bool kInt4, int kRows>
void code_rows(const CodeProducts& p, int64_t row) {
  int32_t group = 0;
  for (; group + kCodeGroups <= p.groups; group += kCodeGroups)
    code_strip<side, kInt4, kRows, kCodeGroups>(p, row, group);
  static_assert(kCodeGroups <= 2);
  if constexpr (kCodeGroups > 1) {
    if (group < p.groups) code_strip<side, kInt4, kRows, 1>(p, row, group);
  }
}

// Every row with every group; heights are template arguments so that sums live in registers.
template <CodeSide side, bool kInt4, int kRows = kCodeRows>
void code_products(const CodeProducts& p, int64_t rows, int64_t row = 0) {
  if constexpr (kRows > 0) {
    for (; row + kRows <= rows; row += kRows) code_rows<side, kInt4, kRows>(p, row);
    code_products<side, kInt4, kRows - 1>(p, rows, row);
  }
}

}  // namespace

}  // namespace gs::GS_ISA
