// Rows of a packed matrix as activations: the embedding of a token is the head's row, dequantised and scaled.
#include <cstdint>

#include "kernels.h"
#include "tile_codes.h"

namespace gs::GS_ISA {
namespace {

// Code of column `column` (0..31) of row `lane`, without unpacking the other rows.
int row_code(const QuantFormat& quant, const uint8_t* tile, int lane, int column) {
  const int word = column / 4, byte = 4 * lane + column % 4;
  const uint8_t* low = tile + quant.scale_bytes();
  if (quant.bits == 8) return low[kVectorBytes * word + byte];
  const uint8_t* high = low + quant.low_bytes();
  int code = low[kVectorBytes * (word % 4) + byte] >> (word < 4 ? 0 : 4) & 15;
  if (quant.bits == 5) code |= (high[8 * word + byte / 8] >> (byte % 8) & 1) << 4;
  if (quant.bits == 6) code |= (high[kVectorBytes * (word / 4) + byte] >> (2 * (word % 4)) & 3) << 4;
  return code;
}

void embed_quantized(const EmbedArgs& args, const uint8_t* panel, int lane, float* out) {
  const QuantFormat quant = quant_format(args.table.format);
  TileScales scales;
  for (int64_t tile = 0; tile < args.table.columns / kTileColumns; tile++) {
    const TileAddress at = tile_address(quant, panel, tile);
    load_scales(quant, at, scales);
    for (int column = 0; column < kTileColumns; column++) {
      const float scale = column < 16 ? scales.first[lane] : scales.second[lane];
      const auto code = static_cast<float>(row_code(quant, at.tile, lane, column) - quant.zero);
      out[tile * kTileColumns + column] = args.scale * __builtin_fmaf(scale, code, scales.minimum[lane]);
    }
  }
}

void embed_float(const EmbedArgs& args, const uint8_t* panel, int lane, float* out) {
  for (int64_t column = 0; column < args.table.columns; column++) {
    const int64_t index = column * kPanelRows + lane;
    float value;
    if (args.table.format == MatrixFormat::kF32) {
      __builtin_memcpy(&value, panel + 4 * index, sizeof value);
    } else {
      const uint16_t bits = load16(panel + 2 * index);
      value = args.table.format == MatrixFormat::kF16 ? float_from_f16(bits) : float_from_bf16(bits);
    }
    out[column] = args.scale * value;
  }
}

}  // namespace

int64_t embed_tasks(const EmbedArgs& args) { return args.tokens; }

void embed(const EmbedArgs& args, int64_t task, float*) {
  const int64_t row = args.ids[task];
  const uint8_t* panel =
      args.table.panels + row / kPanelRows * panel_bytes(args.table.format, args.table.columns);
  const auto lane = static_cast<int>(row % kPanelRows);
  float* out = args.out + task * args.table.columns;
  if (is_quantized(args.table.format)) {
    embed_quantized(args, panel, lane, out);
  } else {
    embed_float(args, panel, lane, out);
  }
}

}  // namespace gs::GS_ISA
