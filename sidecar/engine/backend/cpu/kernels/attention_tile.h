// The two matrix products of attention, in registers: scores = q K^T and output += p V for a strip of rows
// over one page. Each output element is one chain of multiply-adds in ascending order (over dimensions for
// scores, over positions for the output), whatever the strip's height, so a row's bits do not depend on
// which rows share its strip.
#pragma once
#include "kv_layout.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

// A strip of kStripRows x kStripVecs accumulators, kStripVecs vectors of K or V and a broadcast fill the
// register file: 6 x 4 of 32 on AVX-512 and NEON, 6 x 2 of 16 on AVX2, 4 x 2 of 16 on plain x86.
#if defined(__AVX512F__)
constexpr int kStripRows = 6, kStripVecs = 4;
#elif defined(__AVX2__)
constexpr int kStripRows = 6, kStripVecs = 2;
#elif defined(__ARM_NEON)
constexpr int kStripRows = 6, kStripVecs = 4;
#else
constexpr int kStripRows = 4, kStripVecs = 2;
#endif

constexpr int kStripWidth = kStripVecs * kLanes;

// Asks for the part of the page's other half that is due when this step's multiply-adds are done: scores
// run over K and fetch V, values run over V and fetch the next page's K. Decoding reads every page once, and
// pages are too short and too scattered for the hardware to foresee.
GS_INLINE void prefetch_step(const uint16_t* ahead) {
#pragma GCC unroll 4
  for (int i = 0; i < kStripWidth; i += 32) __builtin_prefetch(ahead + i, 0, 2);
}

// scores[row][0..63] = q[row] . k[position] for the positions of the page's strips [first, last).
template <int kRows>
void score_strip(const float* q, const uint16_t* keys, int64_t head_dim, int first, int last,
                 const uint16_t* ahead, float* scores) {
  for (int strip = first; strip < last; ++strip) {
    const uint16_t* k[kStripVecs];
    for (int v = 0; v < kStripVecs; ++v) {
      const int position = strip * kStripWidth + v * kLanes;
      k[v] = keys + (position / kTilePositions) * kTilePositions * head_dim + position % kTilePositions;
    }
    Vec sum[kRows][kStripVecs] = {};
    for (int64_t d = 0; d < head_dim; ++d) {
      prefetch_step(ahead + (strip * head_dim + d) * kStripWidth);
      Vec key[kStripVecs];
#pragma GCC unroll 8
      for (int v = 0; v < kStripVecs; ++v) key[v] = load_f16(k[v] + d * kTilePositions);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vec query = broadcast(q[r * head_dim + d]);
#pragma GCC unroll 8
        for (int v = 0; v < kStripVecs; ++v) sum[r][v] = fma(query, key[v], sum[r][v]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kStripVecs; ++v) {
        store(scores + r * kPagePositions + strip * kStripWidth + v * kLanes, sum[r][v]);
      }
    }
  }
}

// out[row][d] = out[row][d] * rescale[row] + sum over positions [from, to) of p[row][position] *
// v[position][d], for kVecs vectors of d.
template <int kRows, int kVecs>
GS_INLINE void value_columns(const float* p, const uint16_t* values, int64_t head_dim, int from, int to,
                             const float* rescale, const uint16_t* ahead, float* out) {
  Vec sum[kRows][kVecs];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) sum[r][v] = load(out + r * head_dim + v * kLanes) * rescale[r];
  }
  for (int position = from; position < to; ++position) {
    prefetch_step(ahead + position * kVecs * kLanes);
    Vec value[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) value[v] = load_f16(values + position * head_dim + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec weight = broadcast(p[r * kPagePositions + position]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) sum[r][v] = fma(weight, value[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) store(out + r * head_dim + v * kLanes, sum[r][v]);
  }
}

template <int kRows>
void value_strip(const float* p, const uint16_t* values, int64_t head_dim, int from, int to,
                 const float* rescale, const uint16_t* ahead, float* out) {
  int64_t d = 0;
  for (; d + kStripWidth <= head_dim; d += kStripWidth) {
    value_columns<kRows, kStripVecs>(p, values + d, head_dim, from, to, rescale, ahead + d * kPagePositions,
                                     out + d);
  }
  for (; d < head_dim; d += kLanes) {
    value_columns<kRows, 1>(p, values + d, head_dim, from, to, rescale, ahead + d * kPagePositions, out + d);
  }
}

// Heights are template arguments so that the accumulators live in registers; these pick the last strip's.
template <int kRows = kStripRows>
void score_rows(int64_t rows, const float* q, const uint16_t* keys, int64_t head_dim, int first, int last,
                const uint16_t* ahead, float* scores) {
  if constexpr (kRows > 0) {
    for (; rows >= kRows; rows -= kRows) {
      score_strip<kRows>(q, keys, head_dim, first, last, ahead, scores);
      q += kRows * head_dim;
      scores += kRows * kPagePositions;
    }
    score_rows<kRows - 1>(rows, q, keys, head_dim, first, last, ahead, scores);
  }
}

template <int kRows = kStripRows>
void value_rows_times(int64_t rows, const float* p, const uint16_t* values, int64_t head_dim, int from,
                      int to, const float* rescale, const uint16_t* ahead, float* out) {
  if constexpr (kRows > 0) {
    for (; rows >= kRows; rows -= kRows) {
      value_strip<kRows>(p, values, head_dim, from, to, rescale, ahead, out);
      p += kRows * kPagePositions;
      rescale += kRows;
      out += kRows * head_dim;
    }
    value_rows_times<kRows - 1>(rows, p, values, head_dim, from, to, rescale, ahead, out);
  }
}

}  // namespace

}  // namespace gs::GS_ISA
