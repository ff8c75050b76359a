#include "pack.h"

#include <cstring>

namespace gs {
namespace {

constexpr uint32_t kLowNibbles = 0x0f0f0f0f;

// A block of a file: `columns` values in `bytes` bytes.
struct FileBlock {
  int columns;
  int bytes;
};

constexpr FileBlock file_block(MatrixFormat format) {
  switch (format) {
    case MatrixFormat::kF32:
      return {1, 4};
    case MatrixFormat::kF16:
    case MatrixFormat::kBF16:
      return {1, 2};
    case MatrixFormat::kQ4_0:
      return {32, 18};
    case MatrixFormat::kQ4_1:
      return {32, 20};
    case MatrixFormat::kQ5_0:
      return {32, 22};
    case MatrixFormat::kQ5_1:
      return {32, 24};
    case MatrixFormat::kQ8_0:
      return {32, 34};
    case MatrixFormat::kQ4_K:
      return {256, 144};
    case MatrixFormat::kQ5_K:
      return {256, 176};
    case MatrixFormat::kQ6_K:
      return {256, 210};
    case MatrixFormat::kShadow:
      break;
  }
  return {1, 1};
}

uint32_t load32(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

void store32(uint8_t* bytes, uint32_t word) { std::memcpy(bytes, &word, sizeof word); }

// Bits 0..3 spread to bit 0 of four bytes, and back.
uint32_t bits_to_bytes(uint32_t bits) { return (bits * 0x00204081u) & 0x01010101u; }
uint32_t bytes_to_bits(uint32_t bytes) { return (bytes * 0x10204080u) >> 28; }

// The 32 codes of one row's tile, as eight words of four.
struct Codes {
  uint32_t word[8];
};

void add_nibbles(const uint8_t* low, Codes& codes) {
  for (int j = 0; j < 4; j++) {
    const uint32_t pair = load32(low + 4 * j);
    codes.word[j] = pair & kLowNibbles;
    codes.word[4 + j] = (pair >> 4) & kLowNibbles;
  }
}

void add_fifth_bits(const uint8_t* high, Codes& codes) {
  const uint32_t bits = load32(high);
  for (int j = 0; j < 8; j++) codes.word[j] |= bits_to_bytes((bits >> (4 * j)) & 15) << 4;
}

// Tile `sub` (0..7) of a Q4_K or Q5_K block: nibbles of columns 64i..64i+31 are the low halves of 32 bytes,
// the next 32 columns their high halves; bit `sub` of the bytes of `high` is the fifth bit.
void add_k_nibbles(const uint8_t* low, const uint8_t* high, int sub, Codes& codes) {
  for (int j = 0; j < 8; j++) {
    codes.word[j] = (load32(low + 32 * (sub / 2) + 4 * j) >> (4 * (sub % 2))) & kLowNibbles;
    if (high != nullptr) codes.word[j] |= ((load32(high + 4 * j) >> sub) & 0x01010101u) << 4;
  }
}

// Tile `sub` of a Q6_K block, which holds two halves of 128 columns.
void add_q6_k(const uint8_t* block, int sub, Codes& codes) {
  const int half = sub / 4, quarter = sub % 4;
  const uint8_t* low = block + 64 * half + 32 * (quarter % 2);
  const uint8_t* high = block + 128 + 32 * half;
  for (int j = 0; j < 8; j++) {
    codes.word[j] = (load32(low + 4 * j) >> (4 * (quarter / 2))) & kLowNibbles;
    codes.word[j] |= ((load32(high + 4 * j) >> (2 * quarter)) & 0x03030303u) << 4;
  }
}

// The six-bit scale and minimum of tile `sub` from the twelve bytes of a Q4_K or Q5_K block.
void k_scale(const uint8_t* packed, int sub, uint8_t& scale, uint8_t& minimum) {
  if (sub < 4) {
    scale = packed[sub] & 63;
    minimum = packed[sub + 4] & 63;
    return;
  }
  scale = static_cast<uint8_t>((packed[sub + 4] & 15) | (packed[sub - 4] >> 6) << 4);
  minimum = static_cast<uint8_t>(packed[sub + 4] >> 4 | (packed[sub] >> 6) << 4);
}

// Reads row `lane`'s tile from its file block; writes its scales into `header` and `tile`, its codes into
// `codes`. A template, like all that runs once a row of a tile, so that the choices are made by the compiler.
template <MatrixFormat format>
void read_row(const uint8_t* block, int sub, int lane, uint8_t* header, uint8_t* tile, Codes& codes) {
  const auto copy_f16 = [lane](uint8_t* to, const uint8_t* from) { std::memcpy(to + 2 * lane, from, 2); };
  switch (format) {
    case MatrixFormat::kQ4_0:
      copy_f16(tile, block);
      add_nibbles(block + 2, codes);
      return;
    case MatrixFormat::kQ4_1:
      copy_f16(tile, block);
      copy_f16(tile + 32, block + 2);
      add_nibbles(block + 4, codes);
      return;
    case MatrixFormat::kQ5_0:
      copy_f16(tile, block);
      add_nibbles(block + 6, codes);
      add_fifth_bits(block + 2, codes);
      return;
    case MatrixFormat::kQ5_1:
      copy_f16(tile, block);
      copy_f16(tile + 32, block + 2);
      add_nibbles(block + 8, codes);
      add_fifth_bits(block + 4, codes);
      return;
    case MatrixFormat::kQ8_0:
      copy_f16(tile, block);
      for (int j = 0; j < 8; j++) codes.word[j] = load32(block + 2 + 4 * j) ^ 0x80808080u;
      return;
    case MatrixFormat::kQ4_K:
    case MatrixFormat::kQ5_K: {
      const bool five = format == MatrixFormat::kQ5_K;
      copy_f16(header, block);
      copy_f16(header + 32, block + 2);
      k_scale(block + 4, sub, tile[lane], tile[16 + lane]);
      add_k_nibbles(block + (five ? 48 : 16), five ? block + 16 : nullptr, sub, codes);
      return;
    }
    case MatrixFormat::kQ6_K:
      copy_f16(header, block + 208);
      tile[lane] = block[192 + 2 * sub];
      tile[16 + lane] = block[192 + 2 * sub + 1];
      add_q6_k(block, sub, codes);
      return;
    case MatrixFormat::kF32:
    case MatrixFormat::kF16:
    case MatrixFormat::kBF16:
    case MatrixFormat::kShadow:
      return;
  }
}

// Puts row `lane`'s codes into the planes of a tile, whose high plane starts out zero.
template <MatrixFormat format>
void write_codes(const Codes& codes, int lane, uint8_t* low) {
  constexpr QuantFormat quant = quant_format(format);
  if (quant.bits == 8) {
    for (int j = 0; j < 8; j++) store32(low + kVectorBytes * j + 4 * lane, codes.word[j]);
    return;
  }
  for (int j = 0; j < 4; j++) {
    store32(low + kVectorBytes * j + 4 * lane,
            (codes.word[j] & kLowNibbles) | (codes.word[4 + j] & kLowNibbles) << 4);
  }
  uint8_t* high = low + quant.low_bytes();
  if (quant.bits == 5) {
    for (int j = 0; j < 8; j++) {
      const uint32_t bits = bytes_to_bits((codes.word[j] >> 4) & 0x01010101u);
      high[8 * j + lane / 2] |= static_cast<uint8_t>(bits << (4 * (lane % 2)));
    }
  } else if (quant.bits == 6) {
    for (int p = 0; p < 2; p++) {
      uint32_t bits = 0;
      for (int i = 0; i < 4; i++) bits |= ((codes.word[4 * p + i] >> 4) & 0x03030303u) << (2 * i);
      store32(high + kVectorBytes * p + 4 * lane, bits);
    }
  }
}

template <MatrixFormat format>
void pack_quantized(const uint8_t* file, int64_t lanes, int64_t columns, uint8_t* out) {
  constexpr QuantFormat quant = quant_format(format);
  constexpr FileBlock block = file_block(format);
  const int64_t row_bytes = file_row_bytes(format, columns);
  constexpr int tiles_per_block = block.columns / kTileColumns;
  for (int64_t group = 0; group < columns / kTileColumns / quant.group_tiles(); group++) {
    uint8_t* header = out + group * quant.group_bytes();
    for (int i = 0; i < quant.group_tiles(); i++) {
      uint8_t* tile = header + quant.header_bytes() + i * quant.tile_bytes();
      const int64_t column = (group * quant.group_tiles() + i) * kTileColumns;
      for (int lane = 0; lane < lanes; lane++) {
        const uint8_t* source = file + lane * row_bytes + column / block.columns * block.bytes;
        Codes codes = {};
        read_row<format>(source, i % tiles_per_block, lane, header, tile, codes);
        write_codes<format>(codes, lane, tile + quant.scale_bytes());
      }
    }
  }
}

template <class Element>
void pack_float(const uint8_t* file, int64_t lanes, int64_t columns, uint8_t* out) {
  if (lanes == kPanelRows) {
    // Sixteen sequential readers and one sequential writer, the inner loop of a length that the compiler
    // knows.
    for (int64_t column = 0; column < columns; column++) {
      Element values[kPanelRows];
      for (int lane = 0; lane < kPanelRows; lane++) {
        std::memcpy(&values[lane], file + (lane * columns + column) * static_cast<int64_t>(sizeof(Element)),
                    sizeof(Element));
      }
      std::memcpy(out + column * static_cast<int64_t>(sizeof values), values, sizeof values);
    }
    return;
  }
  for (int64_t lane = 0; lane < lanes; lane++) {
    for (int64_t column = 0; column < columns; column++) {
      std::memcpy(out + (column * kPanelRows + lane) * static_cast<int64_t>(sizeof(Element)),
                  file + (lane * columns + column) * static_cast<int64_t>(sizeof(Element)), sizeof(Element));
    }
  }
}

}  // namespace

int64_t file_row_bytes(MatrixFormat format, int64_t columns) {
  const FileBlock block = file_block(format);
  return columns / block.columns * block.bytes;
}

void pack_panel(MatrixFormat format, const uint8_t* file, int64_t rows, int64_t columns, int64_t panel,
                uint8_t* out) {
  const int64_t first = panel * kPanelRows;
  const int64_t lanes = rows - first < kPanelRows ? rows - first : kPanelRows;
  const uint8_t* source = file + first * file_row_bytes(format, columns);
  // `out` is fresh zeroed memory, so padding rows are zero already: a zero scale makes the value zero.
  switch (format) {
    case MatrixFormat::kF32:
      return pack_float<uint32_t>(source, lanes, columns, out);
    case MatrixFormat::kF16:
    case MatrixFormat::kBF16:
      return pack_float<uint16_t>(source, lanes, columns, out);
    case MatrixFormat::kQ4_0:
      return pack_quantized<MatrixFormat::kQ4_0>(source, lanes, columns, out);
    case MatrixFormat::kQ4_1:
      return pack_quantized<MatrixFormat::kQ4_1>(source, lanes, columns, out);
    case MatrixFormat::kQ5_0:
      return pack_quantized<MatrixFormat::kQ5_0>(source, lanes, columns, out);
    case MatrixFormat::kQ5_1:
      return pack_quantized<MatrixFormat::kQ5_1>(source, lanes, columns, out);
    case MatrixFormat::kQ8_0:
      return pack_quantized<MatrixFormat::kQ8_0>(source, lanes, columns, out);
    case MatrixFormat::kQ4_K:
      return pack_quantized<MatrixFormat::kQ4_K>(source, lanes, columns, out);
    case MatrixFormat::kQ5_K:
      return pack_quantized<MatrixFormat::kQ5_K>(source, lanes, columns, out);
    case MatrixFormat::kQ6_K:
      return pack_quantized<MatrixFormat::kQ6_K>(source, lanes, columns, out);
    case MatrixFormat::kShadow:
      return;
  }
}

}  // namespace gs
