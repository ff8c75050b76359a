// Screening: which panels of a large matrix may hold one of the k greatest products with an activation, told
// from a smaller copy, so that the matrix itself is read only there.
//
// The shadow s of a row w has six bits a weight with a scale for 32 columns. With x' what the rounded
// activation stands for, e = x - x', n columns, t tiles and u = 2^-24, exact numbers on the left, by Cauchy
// and Schwarz and by the standard bounds on rounded sums (N. Higham, Accuracy and Stability of Numerical
// Algorithms, 3.1),
//
//   |w x - s x'|         <= |w - s| |x'| + |w| |e|
//   |product - w x|      <= n u |w| |x|                     one chain of fma over the columns
//   |approximation - s x'| <= (t + 3) u |s| (|x1| + |x2|)   exact integers in a tile, one fma a tile; x' = x1
//   + x2
//
// and |s| <= |w| + |w - s|, so the product lies within |w - s| a + |w| b of the approximation for two numbers
// a, b of the activation alone. Everything is rounded up a little more than the arithmetic here rounds.
#include <cstdint>

#include "float_strip.h"
#include "int8_products.h"
#include "kernels.h"
#include "matrix_format.h"
#include "quantize_block.h"
#include "simd.h"

namespace gs::GS_ISA {
namespace {

constexpr QuantFormat kQuant = quant_format(MatrixFormat::kShadow);
constexpr int kLargestCode = 31;

// Rows this large, or not finite, cannot be screened: their products may overflow.
constexpr float kLargestNorm = 1e12f;
constexpr double kLargestFactor = 1e25;
constexpr float kInfinity = __builtin_inff();
// Below this, products are subnormal and round by an absolute amount instead of a relative one.
constexpr float kTiny = 1e-30f;

// Panels of a task: 117 KiB of 1,152 columns, as long as a task of the product (kTaskBytes in matmul.cc).
constexpr int64_t kTaskPanels = 8;
static_assert(kTaskPanels % kStripPanels == 0);

struct Norms {
  float difference[kPanelRows], row[kPanelRows];  // squared
};

// values: [32 columns][16 rows].
void pack_tile(const float* values, uint8_t* tile, Norms& norms) {
  float scale[kPanelRows], inverse[kPanelRows];
  for (int lane = 0; lane < kPanelRows; lane++) {
    float largest = 0.0f;
    for (int column = 0; column < kTileColumns; column++) {
      const float value = __builtin_fabsf(values[column * kPanelRows + lane]);
      largest = value > largest ? value : largest;
    }
    const float wanted = largest / kLargestCode;
    scale[lane] = wanted < 60000.0f ? wanted : 60000.0f;
  }
  for (int lane = 0; lane < kPanelRows; lane += kLanes) {
    store_f16(reinterpret_cast<uint16_t*>(tile) + lane, load(scale + lane));
    store(scale + lane, load_f16(reinterpret_cast<const uint16_t*>(tile) + lane));
  }
  for (int lane = 0; lane < kPanelRows; lane++)
    inverse[lane] = scale[lane] > 0.0f ? 1.0f / scale[lane] : 0.0f;

  uint8_t codes[8][kVectorBytes];
  for (int column = 0; column < kTileColumns; column++) {
    for (int lane = 0; lane < kPanelRows; lane++) {
      const float value = values[column * kPanelRows + lane];
      float code = value * inverse[lane];
      code = code < kLargestCode ? code : kLargestCode;
      code = code > -kLargestCode ? code : -kLargestCode;
      code = (code + 0x1.8p23f) - 0x1.8p23f;
      const float difference = value - scale[lane] * code;
      norms.difference[lane] += difference * difference;
      norms.row[lane] += value * value;
      codes[column / 4][4 * lane + column % 4] = static_cast<uint8_t>(static_cast<int>(code) + kQuant.zero);
    }
  }
  uint8_t* low = tile + kQuant.scale_bytes();
  uint8_t* high = low + kQuant.low_bytes();
  for (int j = 0; j < 4; j++) {
    for (int b = 0; b < kVectorBytes; b++)
      low[kVectorBytes * j + b] = static_cast<uint8_t>((codes[j][b] & 15) | (codes[4 + j][b] & 15) << 4);
  }
  for (int p = 0; p < 2; p++) {
    for (int b = 0; b < kVectorBytes; b++) {
      int bits = 0;
      for (int i = 0; i < 4; i++) bits |= (codes[4 * p + i][b] >> 4) << (2 * i);
      high[kVectorBytes * p + b] = static_cast<uint8_t>(bits);
    }
  }
}

// A norm of `columns` values from the sum of their squares, in F32 both, not less than it is. Squares below
// 1e-38 vanish from the sum: 1e-17 stands for them.
float norm_above(float squares, int64_t columns) {
  return __builtin_sqrtf(squares) * (1.0f + 1e-6f + 1.2e-7f * static_cast<float>(columns)) + 1e-17f;
}

float rounded_up(double factor) {
  return factor < kLargestFactor ? static_cast<float>(factor * (1 + 1e-6)) + kTiny : kInfinity;
}

constexpr double kUnit = 0x1p-24;

}  // namespace

int64_t shadow_pack_tasks(const ShadowPackArgs& args) { return panel_count(args.from.rows); }

void shadow_pack(const ShadowPackArgs& args, int64_t task, float* scratch) {
  const PackedMatrix& from = args.from;
  const uint8_t* panel = from.panels + task * panel_bytes(from.format, from.columns);
  uint8_t* tile = args.panels + task * panel_bytes(MatrixFormat::kShadow, from.columns);
  Norms norms = {};
  for (int64_t column = 0; column < from.columns; column += kTileColumns) {
    dequantize_panel(from.format, panel, column, column + kTileColumns, scratch);
    pack_tile(scratch, tile, norms);
    tile += kQuant.tile_bytes();
  }
  float* errors = args.errors + task * 2 * kPanelRows;
  for (int lane = 0; lane < kPanelRows; lane++) {
    const float difference = norm_above(norms.difference[lane], from.columns);
    const float row = norm_above(norms.row[lane], from.columns);
    const bool usable = task * kPanelRows + lane < from.rows && row < kLargestNorm;
    errors[lane] = usable ? difference : kInfinity;
    errors[kPanelRows + lane] = usable ? row : kInfinity;
  }
}

int64_t screen_round_tasks(const ScreenRoundArgs& args) { return args.tokens; }

void screen_round(const ScreenRoundArgs& args, int64_t task, float*) {
  const float* x = args.x + task * args.columns;
  const QuantizedActivations& out = args.out;
  double all = 0, first = 0, second = 0, both = 0, missing = 0;  // squared norms
  for (int64_t tile = 0; tile < args.columns / kTileColumns; tile++, x += kTileColumns) {
    const int64_t index = 2 * (tile * args.tokens + task);
    quantize_block(x, out, index);
    const int8_t* q = out.q + index * kTileColumns;
    float rest[kTileColumns];
    for (int i = 0; i < kTileColumns; i++)
      rest[i] = __builtin_fmaf(-out.scale[index], static_cast<float>(q[i]), x[i]);
    quantize_block(rest, out, index + 1);
    const double scale[2] = {out.scale[index], out.scale[index + 1]};
    for (int i = 0; i < kTileColumns; i++) {
      const double one = scale[0] * q[i], two = scale[1] * q[kTileColumns + i];
      all += double{x[i]} * x[i];
      first += one * one;
      second += two * two;
      both += (one + two) * (one + two);
      missing += (x[i] - one - two) * (x[i] - one - two);
    }
  }
  const auto columns = static_cast<double>(args.columns);
  const double parts = __builtin_sqrt(first) + __builtin_sqrt(second);
  const double summed = 1.01 * kUnit * (columns / kTileColumns + 8) * parts;
  args.factors[2 * task] = rounded_up(__builtin_sqrt(both) * (1 + 1e-5) + summed);
  args.factors[2 * task + 1] = rounded_up(__builtin_sqrt(missing) * (1 + 1e-5) +
                                          1.01 * kUnit * (columns + 2) * __builtin_sqrt(all) + summed);
}

void screen_factors(const ScreenArgs& args, float* factors) {
  const int64_t tiles = args.shadow.columns / kTileColumns;
  for (int64_t token = 0; token < args.tokens; token++) {
    double squares = 0;
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t index = tile * args.tokens + token;
      int32_t sum = 0;
      for (int i = 0; i < kTileColumns; i++) {
        const int32_t q = args.x.q[index * kTileColumns + i];
        sum += q * q;
      }
      squares += double{args.x.scale[index]} * args.x.scale[index] * sum;
    }
    const double norm = __builtin_sqrt(squares),
                 summed = 1.01 * kUnit * (static_cast<double>(tiles) + 8) * norm;
    factors[2 * token] = rounded_up(norm * (1 + 1e-5) + summed);
    factors[2 * token + 1] = rounded_up(2 * summed);
  }
}

int64_t screen_tasks(const ScreenArgs& args) {
  return (panel_count(args.shadow.rows) + kTaskPanels - 1) / kTaskPanels;
}

void screen(const ScreenArgs& args, int64_t task, float* scratch) {
  const int64_t panels = panel_count(args.shadow.rows), columns = args.shadow.columns;
  const int64_t bytes = panel_bytes(MatrixFormat::kShadow, columns), rows = args.tokens * args.parts;
  const TokenBlock block = {args.x.q, args.x.scale,          args.x.sum, args.x.first_sum, args.x.scaled_sum,
                            rows,     columns / kTileColumns};
  const int64_t end = (task + 1) * kTaskPanels < panels ? (task + 1) * kTaskPanels : panels;
  for (int64_t first = task * kTaskPanels; first < end; first += kStripPanels) {
    const int count = static_cast<int>(end - first < kStripPanels ? end - first : kStripPanels);
    const uint8_t* strip[kStripPanels];
    for (int p = 0; p < count; p++) strip[p] = args.shadow.panels + (first + p) * bytes;
    int8_strip<MatrixFormat::kShadow>(strip, count, block, scratch);
    for (int p = 0; p < count; p++) {
      const float* errors = args.errors + (first + p) * 2 * kPanelRows;
      for (int64_t t = 0; t < args.tokens; t++) {
        const float* from = scratch + p * kStripStride + t * args.parts * kPanelRows;
        const Vec difference = broadcast(args.factors[2 * t]), row = broadcast(args.factors[2 * t + 1]);
        // Finite, so that a threshold among panels is a number.
        Vec least = broadcast(-3e38f), most = least;
        for (int lane = 0; lane < kPanelRows; lane += kLanes) {
          Vec value = load(from + lane);
          if (args.parts == 2) value = value + load(from + kPanelRows + lane);
          const Vec bound =
              fma(load(errors + lane), difference, load(errors + kPanelRows + lane) * row) + kTiny;
          least = max(least, value - bound);
          most = max(most, value + bound);
        }
        args.least[t * panels + first + p] = max_lanes(least);
        args.most[t * panels + first + p] = max_lanes(most);
      }
    }
  }
}

}  // namespace gs::GS_ISA
