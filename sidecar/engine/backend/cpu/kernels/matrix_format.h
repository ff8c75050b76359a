// How a matrix lies in memory once it is packed: the layout shared by every product, on every instruction
// set.
//
// Rows are cut into panels of 16, a lane of the widest register each; a matrix whose rows are no multiple of
// 16 is padded with zero rows. A panel runs through the columns.
//
// Float formats: columns of 16 elements, `[column][16 rows]`.
//
// Quantised formats: tiles of 16 rows x 32 columns ("R16"), in groups of `group_tiles` behind one header:
//
//   group   | header | tile | tile | ...
//   header  | d f16[16] | dmin f16[16] |                       K formats only (dmin: those with a minimum)
//   tile    | scales | low | high |
//   scales  | f16[16] | f16[16] minimum |                      Q4_0, Q8_0: no minimum
//           | u8[16] | u8[16] minimum |                        Q4_K, Q5_K; value times the header's d, dmin
//           | s8[16] columns 0..15 | s8[16] columns 16..31 |   Q6_K; times the header's d
//
// A code is the unsigned integer that the file stores (a Q8_0 code is biased by 128, so that it is unsigned
// too). A "word" is four codes of one row, columns 4j..4j+3, a byte each; vector j is word j of all 16 rows,
// 64 bytes:
//
//   4 to 6 bits   low   4 vectors; byte = code of vector j (low nibble) and of vector j + 4 (high nibble)
//   5 bits        high  8 u64; bit b of u64 j is bit 4 of byte b of vector j
//   6 bits        high  2 vectors; bits 2i, 2i+1 of a byte of vector p are bits 4, 5 of that byte of vector
//   4p + i 8 bits        low   8 vectors
//
// So the bytes equal the file's: Q4_0 keeps its 4.5 bits a weight, Q6_K its 6.5625.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"

// Functions of a header shared by several instruction sets belong to each of them: were they one inline
// function in namespace gs, the linker could keep the copy compiled for AVX-512 for everybody.
#ifdef GS_ISA
namespace gs::GS_ISA {
#else
namespace gs {
#endif

constexpr int kPanelRows = 16;
constexpr int kTileColumns = 32;
constexpr int kVectorBytes = 64;

enum class ScaleKind { kF16, kF16Min, kK, kKSigned };

// What a quantised format is made of. value = scale * (code - zero) + minimum.
struct QuantFormat {
  int bits;
  int zero;
  ScaleKind scales;

  constexpr bool has_minimum() const { return scales == ScaleKind::kF16Min || scales == ScaleKind::kK; }
  constexpr int group_tiles() const {
    return scales == ScaleKind::kK || scales == ScaleKind::kKSigned ? 8 : 1;
  }
  constexpr int header_bytes() const {
    return scales == ScaleKind::kK ? 64 : scales == ScaleKind::kKSigned ? 32 : 0;
  }
  constexpr int scale_bytes() const { return scales == ScaleKind::kF16Min ? 64 : 32; }
  constexpr int low_bytes() const { return bits == 8 ? 8 * kVectorBytes : 4 * kVectorBytes; }
  constexpr int high_bytes() const { return bits == 5 ? 64 : bits == 6 ? 2 * kVectorBytes : 0; }
  constexpr int tile_bytes() const { return scale_bytes() + low_bytes() + high_bytes(); }
  constexpr int group_bytes() const { return header_bytes() + group_tiles() * tile_bytes(); }
};

constexpr bool is_quantized(MatrixFormat format) {
  return format != MatrixFormat::kF32 && format != MatrixFormat::kF16 && format != MatrixFormat::kBF16;
}

constexpr QuantFormat quant_format(MatrixFormat format) {
  switch (format) {
    case MatrixFormat::kQ4_0:
      return {4, 8, ScaleKind::kF16};
    case MatrixFormat::kQ4_1:
      return {4, 0, ScaleKind::kF16Min};
    case MatrixFormat::kQ5_0:
      return {5, 16, ScaleKind::kF16};
    case MatrixFormat::kQ5_1:
      return {5, 0, ScaleKind::kF16Min};
    case MatrixFormat::kQ8_0:
      return {8, 128, ScaleKind::kF16};
    case MatrixFormat::kQ4_K:
      return {4, 0, ScaleKind::kK};
    case MatrixFormat::kQ5_K:
      return {5, 0, ScaleKind::kK};
    case MatrixFormat::kQ6_K:
      return {6, 32, ScaleKind::kKSigned};
    case MatrixFormat::kShadow:
      return {6, 32, ScaleKind::kF16};
    case MatrixFormat::kF32:
    case MatrixFormat::kF16:
    case MatrixFormat::kBF16:
      break;
  }
  return {0, 0, ScaleKind::kF16};
}

constexpr int float_bytes(MatrixFormat format) { return format == MatrixFormat::kF32 ? 4 : 2; }

constexpr int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

// Columns that a row must be a multiple of.
constexpr int64_t column_multiple(MatrixFormat format) {
  return is_quantized(format) ? int64_t{kTileColumns} * quant_format(format).group_tiles() : 1;
}

constexpr int64_t panel_bytes(MatrixFormat format, int64_t columns) {
  if (!is_quantized(format)) return columns * kPanelRows * float_bytes(format);
  const QuantFormat quant = quant_format(format);
  return columns / kTileColumns / quant.group_tiles() * quant.group_bytes();
}

// Where a tile of a panel is. `header` is what stands in front of its group, and equals `tile` where there is
// none.
struct TileAddress {
  const uint8_t* header;
  const uint8_t* tile;
};

constexpr TileAddress tile_address(const QuantFormat& quant, const uint8_t* panel, int64_t tile) {
  const uint8_t* header = panel + tile / quant.group_tiles() * quant.group_bytes();
  return {header, header + quant.header_bytes() + tile % quant.group_tiles() * quant.tile_bytes()};
}

}  // namespace gs
