// A matrix as int8 codes plus int8 codes of what those leave over, for the image tower.
//
// Activations rounded to int8 err independently from row to row, and pooling and attention average that away.
// The error of an int8 weight is the same in every row, and stays: it would be three times that of BF16. So
// the rest w - code * scale is kept too, and multiplied, not by every row, which would cost as much as the
// codes themselves, but by the mean of each strip of 16 rows: neighbouring patches have much in common, and a
// sixteenth of the work takes away the common part of the error.
//
//   y[row] = codes * x[row] + rest * mean(x[strip of row])
//
// Measured on a full tower of random weights (27 layers): 0.5 % relative error, as with BF16; codes alone 1.5
// %.
#include "float_strip.h"
#include "kernels.h"
#include "matrix_format.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

// One Q8_0 tile from [32 columns][16 rows]; takes what it says away from `values`.
void pack_tile(float* values, uint8_t* tile) {
  float scale[kPanelRows], inverse[kPanelRows];
  for (int lane = 0; lane < kPanelRows; ++lane) {
    float largest = 0;
    for (int column = 0; column < kTileColumns; ++column) {
      const float value = __builtin_fabsf(values[column * kPanelRows + lane]);
      largest = value > largest ? value : largest;
    }
    scale[lane] = largest / 127.0f;
  }
  for (int lane = 0; lane < kPanelRows; lane += kLanes) {
    auto* halves = reinterpret_cast<uint16_t*>(tile) + lane;
    store_f16(halves, load(scale + lane));
    store(scale + lane, load_f16(halves));
  }
  for (int lane = 0; lane < kPanelRows; ++lane) inverse[lane] = scale[lane] > 0 ? 1.0f / scale[lane] : 0.0f;
  uint8_t* codes = tile + quant_format(MatrixFormat::kQ8_0).scale_bytes();
  for (int column = 0; column < kTileColumns; ++column) {
    for (int lane = 0; lane < kPanelRows; ++lane) {
      float& value = values[column * kPanelRows + lane];
      float code = (value * inverse[lane] + 0x1.8p23f) - 0x1.8p23f;  // to the nearest integer
      code = code < 127.0f ? code : 127.0f;
      code = code > -128.0f ? code : -128.0f;
      value -= code * scale[lane];
      codes[column / 4 * kVectorBytes + 4 * lane + column % 4] =
          static_cast<uint8_t>(static_cast<int32_t>(code) + quant_format(MatrixFormat::kQ8_0).zero);
    }
  }
}

constexpr int64_t kMeanTaskStrips = 4;

}  // namespace

int64_t residual_pack_tasks(const ResidualPackArgs& args) { return panel_count(args.from.rows); }

void residual_pack(const ResidualPackArgs& args, int64_t task, float* scratch) {
  const int64_t columns = args.from.columns, tiles = (columns + kTileColumns - 1) / kTileColumns;
  const int64_t tile_bytes = quant_format(MatrixFormat::kQ8_0).tile_bytes();
  const uint8_t* panel = args.from.panels + task * panel_bytes(args.from.format, columns);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t start = tile * kTileColumns, left = columns - start;
    const int64_t count = left < kTileColumns ? left : kTileColumns;
    dequantize_panel(args.from.format, panel, start, start + count, scratch);
    for (int64_t i = count * kPanelRows; i < kTileColumns * kPanelRows; ++i) scratch[i] = 0.0f;
    const int64_t at = (task * tiles + tile) * tile_bytes;
    pack_tile(scratch, args.codes + at);
    pack_tile(scratch, args.rest + at);
  }
}

int64_t strip_means_tasks(const StripMeansArgs& args) {
  const int64_t strips = (args.rows + kMeanStrip - 1) / kMeanStrip;
  return (strips + kMeanTaskStrips - 1) / kMeanTaskStrips;
}

void strip_means(const StripMeansArgs& args, int64_t task, float*) {
  const int64_t strips = (args.rows + kMeanStrip - 1) / kMeanStrip;
  const int64_t end = (task + 1) * kMeanTaskStrips < strips ? (task + 1) * kMeanTaskStrips : strips;
  for (int64_t strip = task * kMeanTaskStrips; strip < end; ++strip) {
    const int64_t left = args.rows - strip * kMeanStrip, rows = left < kMeanStrip ? left : kMeanStrip;
    const float* x = args.x + strip * kMeanStrip * args.width;
    float* out = args.out + strip * args.width;
    const float share = 1.0f / static_cast<float>(rows);
    for (int64_t i = 0; i < args.width; ++i) {
      float sum = x[i];
      for (int64_t row = 1; row < rows; ++row) sum += x[row * args.width + i];
      out[i] = sum * share;
    }
  }
}

}  // namespace gs::GS_ISA
