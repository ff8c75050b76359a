// y = W x with BF16 weights and activations rounded to BF16, F32 sums: for the image tower, whose 4,096 rows
// share each matrix, so that arithmetic and not memory is the limit.
//
// Weights lie in panels of 16 rows, `[column / 2][16 rows][2]`: a 64-byte vector holds two columns of 16
// rows, one operand of VDPBF16PS with rows as lanes. Activations are `[token][columns]` BF16, read two at a
// time by broadcast. An output is one chain of dot products over the columns in order, whatever the block.
#include "bf16.h"
#include "float_strip.h"
#include "kernels.h"
#include "matrix_format.h"

namespace gs::GS_ISA {

namespace {

constexpr int64_t kBlockTokens = 96;  // of a task: 96 x 4304 activations are 826 KiB, the most of an L2 cache
constexpr int kPanels = 2;            // 2 x 12 sums, 2 weights and a broadcast: 27 of 32 registers
constexpr int kTokens = 12;
constexpr int64_t kConvertFloats = 16384;

#if GS_HAS_BF16_KERNELS

template <int kRows, int kWidth>
GS_BF16 void tile(const uint8_t* const* panels, const uint32_t* x, int64_t pairs, float* out, int64_t rows,
                  int64_t rows_left) {
  __m512 sum[kWidth][kRows];
#pragma GCC unroll 16
  for (int t = 0; t < kWidth; ++t) {
#pragma GCC unroll 2
    for (int p = 0; p < kRows; ++p) sum[t][p] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < pairs; ++k) {
    __m512bh w[kRows];
#pragma GCC unroll 2
    for (int p = 0; p < kRows; ++p) w[p] = (__m512bh)_mm512_loadu_si512(panels[p] + k * 64);
#pragma GCC unroll 16
    for (int t = 0; t < kWidth; ++t) {
      const auto value = (__m512bh)_mm512_set1_epi32(static_cast<int>(x[t * pairs + k]));
#pragma GCC unroll 2
      for (int p = 0; p < kRows; ++p) sum[t][p] = _mm512_dpbf16_ps(sum[t][p], w[p], value);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kWidth; ++t) {
#pragma GCC unroll 2
    for (int p = 0; p < kRows; ++p) {
      const int64_t left = rows_left - p * kPanelRows;
      const __mmask16 mask = left >= kPanelRows ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
      _mm512_mask_storeu_ps(out + t * rows + p * kPanelRows, mask, sum[t][p]);
    }
  }
}

template <int kRows>
GS_BF16 void strip(const uint8_t* const* panels, const uint32_t* x, int64_t pairs, int64_t tokens, float* out,
                   int64_t rows, int64_t rows_left) {
  int64_t t = 0;
  for (; t + kTokens <= tokens; t += kTokens) {
    tile<kRows, kTokens>(panels, x + t * pairs, pairs, out + t * rows, rows, rows_left);
  }
  for (; t < tokens; ++t) tile<kRows, 1>(panels, x + t * pairs, pairs, out + t * rows, rows, rows_left);
}

GS_BF16 void to_bf16(const float* from, int64_t count, uint16_t* out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
    __builtin_memcpy(out + i, &half, sizeof half);
  }
  for (; i < count; ++i) out[i] = bf16_from_float(from[i]);
}

#endif

}  // namespace

bool bf16_available() { return has_bf16(); }

int64_t bf16_pack_tasks(const Bf16PackArgs& args) { return panel_count(args.from.rows); }

// One panel, from whatever format it is packed in.
void bf16_pack(const Bf16PackArgs& args, int64_t task, float* scratch) {
  const int64_t columns = args.from.columns;
  const uint8_t* panel = args.from.panels + task * panel_bytes(args.from.format, columns);
  auto* out = reinterpret_cast<uint16_t*>(args.out) + task * (columns + columns % 2) * kPanelRows;
  for (int64_t start = 0; start < columns; start += kFloatColumns) {
    const int64_t end = start + kFloatColumns < columns ? start + kFloatColumns : columns;
    dequantize_panel(args.from.format, panel, start, end, scratch);
    for (int64_t column = start; column < end; ++column) {
      uint16_t* to = out + column / 2 * 2 * kPanelRows + column % 2;
      const float* from = scratch + (column - start) * kPanelRows;
      for (int row = 0; row < kPanelRows; ++row) to[2 * row] = bf16_from_float(from[row]);
    }
  }
}

int64_t bf16_round_tasks(const Bf16RoundArgs& args) {
  const int64_t rows = kConvertFloats / args.columns + 1;
  return (args.tokens + rows - 1) / rows;
}

// Rows get an even length, filled up with zero.
void bf16_round(const Bf16RoundArgs& args, int64_t task, float*) {
#if GS_HAS_BF16_KERNELS
  const int64_t rows = kConvertFloats / args.columns + 1, width = args.columns + args.columns % 2;
  const int64_t end = (task + 1) * rows < args.tokens ? (task + 1) * rows : args.tokens;
  for (int64_t row = task * rows; row < end; ++row) {
    to_bf16(args.x + row * args.columns, args.columns, args.out + row * width);
    if (width > args.columns) args.out[row * width + args.columns] = 0;
  }
#else
  (void)args, (void)task;
#endif
}

int64_t bf16_matmul_tasks(const Bf16MatmulArgs& args) {
  const int64_t strips = (panel_count(args.rows) + kPanels - 1) / kPanels;
  return strips * ((args.tokens + kBlockTokens - 1) / kBlockTokens);
}

void bf16_matmul(const Bf16MatmulArgs& args, int64_t task, float*) {
#if GS_HAS_BF16_KERNELS
  const int64_t panels = panel_count(args.rows), strips = (panels + kPanels - 1) / kPanels;
  const int64_t first_token = task / strips * kBlockTokens, first = task % strips * kPanels;
  const int64_t tokens = args.tokens - first_token < kBlockTokens ? args.tokens - first_token : kBlockTokens;
  const int64_t pairs = (args.columns + 1) / 2;
  const auto* x = reinterpret_cast<const uint32_t*>(args.x) + first_token * pairs;
  const uint8_t* addresses[kPanels];
  const int64_t count = panels - first < kPanels ? panels - first : kPanels;
  for (int64_t p = 0; p < count; ++p) addresses[p] = args.panels + (first + p) * pairs * 64;
  float* out = args.out + first_token * args.rows + first * kPanelRows;
  const int64_t left = args.rows - first * kPanelRows;
  if (count == kPanels) {
    strip<kPanels>(addresses, x, pairs, tokens, out, args.rows, left);
  } else {
    strip<1>(addresses, x, pairs, tokens, out, args.rows, left);
  }
#else
  (void)args, (void)task;
#endif
}

}  // namespace gs::GS_ISA
