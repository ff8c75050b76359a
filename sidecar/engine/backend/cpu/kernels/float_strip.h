// Products with F32 activations: of float matrices always, of quantised ones in F32 precision.
//
// Each output is one chain acc = fma(w[k], x[k], acc) over the columns in order, whatever the number of
// tokens. The chain is latency-bound, so several panels or tokens run side by side to fill the multipliers.
#pragma once
#include <cstdint>

#include "strip.h"
#include "tile_codes.h"
#include "vec16.h"

namespace gs::GS_ISA {

// Columns of a strip that are dequantised at a time: 4 panels x 1024 columns are 256 KiB, a share of the
// second- level cache that leaves room for the activations, and fit a worker's scratch.
constexpr int64_t kFloatColumns = 1024;
constexpr int kFloatPanels = 4;

// Accumulators of the blocked product, panels x 4 tokens, must fit the registers: 16 of 32 with AVX-512;
// elsewhere a Vec16 takes two or four of 16 or 32.
#if defined(__AVX512F__)
constexpr int kTilePanels = 4;
#else
constexpr int kTilePanels = 1;
#endif
constexpr int kTileTokens = 4;

// Reads a float format straight from the panels; for a few tokens, where converting in passing costs nothing
// next to fetching the weights.
template <MatrixFormat format, int panel_count, int token_count>
void float_direct(const uint8_t* const* panels, const float* x, int64_t columns, float* out) {
  Vec16 acc[panel_count][token_count];
  for (auto& row : acc) {
    for (auto& value : row) value = Vec16::zero();
  }
  constexpr int kBytes = kPanelRows * float_bytes(format);
  for (int64_t k = 0; k < columns; k++) {
#pragma GCC unroll 4
    for (int p = 0; p < panel_count; p++) {
      // A page ahead: the hardware prefetchers stop at page ends, and each panel is a stream of its own.
      if (k % (kVectorBytes / kBytes > 0 ? kVectorBytes / kBytes : 1) == 0) {
        __builtin_prefetch(panels[p] + k * kBytes + 4096);
      }
      const Vec16 w = load_elements<format>(panels[p] + k * kBytes);
#pragma GCC unroll 4
      for (int t = 0; t < token_count; t++) acc[p][t].add_product(w, x[t * columns + k]);
    }
  }
  for (int p = 0; p < panel_count; p++) {
    for (int t = 0; t < token_count; t++) acc[p][t].store(out + p * kStripStride + t * kPanelRows);
  }
}

template <MatrixFormat format>
void convert_elements(const uint8_t* from, int64_t columns, float* out) {
  constexpr int kBytes = kPanelRows * float_bytes(format);
  for (int64_t k = 0; k < columns; k++) load_elements<format>(from + k * kBytes).store(out + k * kPanelRows);
}

// Columns [start, end) of a panel as F32, [end - start][16 rows]. Quantised formats need whole tiles.
inline void dequantize_panel(MatrixFormat format, const uint8_t* panel, int64_t start, int64_t end,
                             float* out) {
  if (is_quantized(format)) {
    const QuantFormat quant = quant_format(format);
    for (int64_t tile = start / kTileColumns; tile < end / kTileColumns; tile++) {
      dequantize_tile(quant, tile_address(quant, panel, tile), out);
      out += kTileColumns * kPanelRows;
    }
    return;
  }
  const uint8_t* from = panel + start * kPanelRows * float_bytes(format);
  if (format == MatrixFormat::kF32) convert_elements<MatrixFormat::kF32>(from, end - start, out);
  if (format == MatrixFormat::kF16) convert_elements<MatrixFormat::kF16>(from, end - start, out);
  if (format == MatrixFormat::kBF16) convert_elements<MatrixFormat::kBF16>(from, end - start, out);
}

// One tile of the blocked product: panels x tokens accumulators in registers over a run of columns,
// continuing from `out`, where they were kept (exactly) since the run before.
template <int panel_count, int token_count>
void float_tile(const float* const* weights, const float* x, int64_t x_stride, int64_t columns,
                float* const* out) {
  Vec16 acc[panel_count][token_count];
#pragma GCC unroll 8
  for (int p = 0; p < panel_count; p++) {
#pragma GCC unroll 8
    for (int t = 0; t < token_count; t++) acc[p][t] = Vec16::load(out[p] + t * kPanelRows);
  }
  for (int64_t k = 0; k < columns; k++) {
    Vec16 w[panel_count];
#pragma GCC unroll 8
    for (int p = 0; p < panel_count; p++) w[p] = Vec16::load(weights[p] + k * kPanelRows);
#pragma GCC unroll 8
    for (int t = 0; t < token_count; t++) {
#pragma GCC unroll 8
      for (int p = 0; p < panel_count; p++) acc[p][t].add_product(w[p], x[t * x_stride + k]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < panel_count; p++) {
#pragma GCC unroll 8
    for (int t = 0; t < token_count; t++) acc[p][t].store(out[p] + t * kPanelRows);
  }
}

// out[panel][token][16] = W x for up to kFloatPanels panels of any format. `strip` holds kFloatPanels *
// kFloatColumns * 16 floats.
inline void float_blocked(MatrixFormat format, const uint8_t* const* panels, int panel_count, const float* x,
                          int64_t tokens, int64_t columns, float* strip, float* out) {
  for (int p = 0; p < panel_count; p++) {
    for (int64_t i = 0; i < tokens * kPanelRows; i++) out[p * kStripStride + i] = 0.0f;
  }
  for (int64_t start = 0; start < columns; start += kFloatColumns) {
    const int64_t end = start + kFloatColumns < columns ? start + kFloatColumns : columns;
    const float* weights[kFloatPanels];
    for (int p = 0; p < panel_count; p++) {
      float* panel = strip + p * kFloatColumns * kPanelRows;
      dequantize_panel(format, panels[p], start, end, panel);
      weights[p] = panel;
    }
    for (int64_t t = 0; t < tokens;) {
      const int step = tokens - t >= kTileTokens ? kTileTokens : 1;
      const float* from = x + t * columns + start;
      for (int p = 0; p < panel_count;) {
        const int width = panel_count - p >= kTilePanels ? kTilePanels : 1;
        float* to[kFloatPanels];
        for (int i = 0; i < width; i++) to[i] = out + (p + i) * kStripStride + t * kPanelRows;
        const auto tile =
            width == kTilePanels
                ? (step == 1 ? float_tile<kTilePanels, 1> : float_tile<kTilePanels, kTileTokens>)
                : (step == 1 ? float_tile<1, 1> : float_tile<1, kTileTokens>);
        tile(weights + p, from, columns, end - start, to);
        p += width;
      }
      t += step;
    }
  }
}

}  // namespace gs::GS_ISA
