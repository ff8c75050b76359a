// y = W x with int8 codes on both sides, for the image tower, whose 4,096 rows share each matrix.
//
// Activations rounded to int8 err independently from row to row, and pooling and attention average that away.
// The error of an int8 weight is the same in every row, and stays: it would be three times that of BF16. So
// the rest w - code * scale is kept too, and multiplied, not by every row, which would cost as much as the
// codes themselves, but by the mean of each strip of 16 rows: neighbouring patches have much in common, and a
// sixteenth of the work takes away the common part of the error.
//
//   y[row] = codes * x[row] + rest * mean(x[16 rows around row])
//
// Both sides have a scale for each 64 columns. The text model's 32 are for weights that stand in files that
// way; here 64 leave room for 89 % of the dot products' rate instead of 80 %, at 0.59 instead of 0.54 %
// of error in a product of normally distributed values.
//
//   matrix        [kStripRows rows][64 columns]: scales f32[kStripRows] | codes [16 quads][kStripRows][4]
//   activations   [kOuts tokens][64 columns]: codes [16 quads][kOuts][4]; scales, and what sums begin at,
//                 [kOuts tokens][columns / 64][kOuts]
//
// An output is the exact integer sum of 64 columns times both scales, added up in order, then the rest.
#include "code_rows.h"
#include "float_strip.h"
#include "kernels.h"
#include "matrix_format.h"

namespace gs::GS_ISA {

namespace {

constexpr int64_t kBlockQuads = kCodedColumns / kQuad;
constexpr int64_t kBlockBytes = kStripRows * (kCodedColumns + 4);
// Activations of a task, which stay in an L2 cache while every strip of weights passes by once: few tokens of
// long rows, many of short ones, so that weights come from farther away as seldom as possible.
constexpr int64_t kTaskBytes = 576 << 10;
constexpr int64_t kMostTokens = 512;
constexpr int kPanels = kStripRows / kPanelRows;
static_assert(kStripRows % kPanelRows == 0 && kCodedRows % kStripRows == 0 && kCodedTokens % kOuts == 0 &&
              kMeanStrip % kOuts == 0);
static_assert(kCodedColumns % kTileColumns == 0);
static_assert(kPanels * kPanelRows * kCodedColumns * sizeof(float) <= kScratchBytes);

constexpr int64_t divide_up(int64_t value, int64_t step) { return (value + step - 1) / step; }

// One row of a block, `stride` floats from column to column, to codes; what they leave over stays in its
// place.
float take_codes(float* row, int64_t stride, int64_t code_stride, uint8_t* out) {
  float largest = 0.0f;
  for (int64_t i = 0; i < kCodedColumns; ++i) {
    const float size = __builtin_fabsf(row[i * stride]);
    largest = size > largest ? size : largest;
  }
  const float scale = largest / 127.0f, inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
  for (int64_t i = 0; i < kCodedColumns; ++i) {
    const float rounded = row[i * stride] * inverse + kRound;
    row[i * stride] -= (rounded - kRound) * scale;
    out[i / kQuad * code_stride + i % kQuad] = static_cast<uint8_t>(byte_of(rounded) + kCodeShift);
  }
  return scale;
}

// A block from [64 columns][kStripRows]; takes what it says away from `values`.
void pack_block(float* values, uint8_t* block) {
  auto* scales = reinterpret_cast<float*>(block);
  uint8_t* codes = block + kStripRows * sizeof(float);
  for (int row = 0; row < kStripRows; ++row)
    scales[row] = take_codes(values + row, kStripRows, kStripRows * kQuad, codes + row * kQuad);
}

int64_t block_tokens(const CodedMatmulArgs& args) {
  const int64_t tokens = kTaskBytes / (divide_up(args.columns, kCodedColumns) * kCodedColumns);
  const int64_t whole = tokens / kMeanStrip * kMeanStrip;
  return whole < kMeanStrip ? kMeanStrip : whole < kMostTokens ? whole : kMostTokens;
}

constexpr int64_t kMeanTaskStrips = 4;
constexpr int64_t kRoundTaskTokens = 16;

// What one group of tokens gives in one strip of rows, [kOuts][kStripRows].
void multiply(const uint8_t* strip, const int8_t* codes, const float* scale, const int32_t* start,
              int64_t blocks, float* out) {
  for (int i = 0; i < kOuts * kStripRows; i += kLanes) store(out + i, zero());
  for (int64_t block = 0; block < blocks; ++block, strip += kBlockBytes) {
    IntVec sums[kOuts][kRowVecs];
    start_sums(sums, start + block * kOuts);
    add_products(sums, strip + kStripRows * sizeof(float), codes + block * kCodedColumns * kOuts,
                 kBlockQuads);
    // Sums of both kinds in registers would be more than there are: the floats stay in the nearest cache, and
    // the compiler must not try otherwise (7 % slower).
    __asm__ volatile("" ::: "memory");
    const auto* scales = reinterpret_cast<const float*>(strip);
    Vec weight[kRowVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVecs; ++v) weight[v] = load(scales + v * kLanes);
#pragma GCC unroll 8
    for (int o = 0; o < kOuts; ++o) {
      const float token = scale[block * kOuts + o];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVecs; ++v) {
        float* to = out + o * kStripRows + v * kLanes;
        store(to, fma(to_float(sums[o][v]), weight[v] * token, load(to)));
      }
    }
  }
}

}  // namespace

int64_t coded_pack_tasks(const CodedPackArgs& args) { return divide_up(args.from.rows, kStripRows); }

void coded_pack(const CodedPackArgs& args, int64_t task, float* scratch) {
  const int64_t columns = args.from.columns, blocks = divide_up(columns, kCodedColumns);
  const int64_t bytes = panel_bytes(args.from.format, columns), panels = panel_count(args.from.rows);
  float* values = scratch;                                     // [64][kStripRows]
  float* panel_values = scratch + kCodedColumns * kStripRows;  // [64][16]
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t start = block * kCodedColumns, left = columns - start;
    const int64_t count = left < kCodedColumns ? left : kCodedColumns;
    __builtin_memset(values, 0, kCodedColumns * kStripRows * sizeof(float));
    for (int p = 0; p < kPanels && task * kPanels + p < panels; ++p) {
      dequantize_panel(args.from.format, args.from.panels + (task * kPanels + p) * bytes, start,
                       start + count, panel_values);
      for (int64_t column = 0; column < count; ++column) {
        __builtin_memcpy(values + column * kStripRows + p * kPanelRows, panel_values + column * kPanelRows,
                         kPanelRows * sizeof(float));
      }
    }
    const int64_t at = (task * blocks + block) * kBlockBytes;
    pack_block(values, args.codes + at);
    pack_block(values, args.rest + at);
  }
}

int64_t strip_means_tasks(const StripMeansArgs& args) {
  return divide_up(divide_up(args.rows, kMeanStrip), kMeanTaskStrips);
}

void strip_means(const StripMeansArgs& args, int64_t task, float*) {
  const int64_t strips = divide_up(args.rows, kMeanStrip);
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

int64_t coded_round_tasks(const CodedRoundArgs& args) { return divide_up(args.tokens, kRoundTaskTokens); }

void coded_round(const CodedRoundArgs& args, int64_t task, float*) {
  const int64_t blocks = divide_up(args.columns, kCodedColumns);
  const int64_t last = (task + 1) * kRoundTaskTokens;
  const int64_t end = last < args.tokens ? last : args.tokens;
  // Tokens that fill up the last group count for nothing, but are read.
  for (int64_t token = task * kRoundTaskTokens; token < divide_up(end, kOuts) * kOuts; ++token) {
    const int64_t group = token / kOuts, lane = token % kOuts;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t start = block * kCodedColumns, left = token < args.tokens ? args.columns - start : 0;
      const int64_t from = token * args.columns + start;
      float filled[kCodedColumns];
      if (left < kCodedColumns) {
        for (int64_t i = 0; i < kCodedColumns; ++i) filled[i] = i < left ? args.x[from + i] : 0.0f;
      }
      const float* values = left < kCodedColumns ? filled : args.x + from;
      Vec largest = zero();
      for (int i = 0; i < kCodedColumns; i += kLanes) {
        const Vec x = load(values + i);
        largest = max(max(x, -x), largest);
      }
      const float most = max_lanes(largest), inverse = most > 0.0f ? 127.0f / most : 0.0f;
      int32_t words[kBlockQuads];
      int8_t codes[kCodedColumns];
      int32_t sum = 0;
      for (int i = 0; i < kCodedColumns; ++i) codes[i] = byte_of(values[i] * inverse + kRound);
      for (int i = 0; i < kCodedColumns; ++i) sum += codes[i];
      __builtin_memcpy(words, codes, sizeof words);
      int8_t* to = args.out.codes + (group * blocks + block) * kCodedColumns * kOuts + lane * kQuad;
      for (int64_t quad = 0; quad < kBlockQuads; ++quad)
        __builtin_memcpy(to + quad * kOuts * kQuad, words + quad, kQuad);
      const int64_t at = (group * blocks + block) * kOuts + lane;
      args.out.scale[at] = most / 127.0f;
      args.out.start[at] = -kCodeShift * sum;
    }
  }
}

int64_t coded_matmul_tasks(const CodedMatmulArgs& args) {
  return divide_up(args.rows, kStripRows) * divide_up(args.tokens, block_tokens(args));
}

// Tasks run through every strip for one block of tokens before the next block, so that the activations stay
// in the caches.
void coded_matmul(const CodedMatmulArgs& args, int64_t task, float*) {
  const int64_t strips = divide_up(args.rows, kStripRows), blocks = divide_up(args.columns, kCodedColumns);
  const int64_t step = block_tokens(args);
  const int64_t first_row = task % strips * kStripRows, first_token = task / strips * step;
  const int64_t left = args.rows - first_row, rows = left < kStripRows ? left : kStripRows;
  const int64_t end = args.tokens < first_token + step ? args.tokens : first_token + step;
  const uint8_t* strip = args.strips + task % strips * blocks * kBlockBytes;
  for (int64_t group = first_token; group < end; group += kOuts) {
    alignas(64) float results[kOuts * kStripRows];
    const int64_t at = group * blocks;
    multiply(strip, args.acts.codes + at * kCodedColumns, args.acts.scale + at, args.acts.start + at, blocks,
             results);
    for (int64_t token = group; token < group + kOuts && token < end; ++token) {
      float* out = args.out + token * args.rows + first_row;
      const float* from = results + (token - group) * kStripRows;
      if (args.more == nullptr) {
        __builtin_memcpy(out, from, static_cast<size_t>(rows) * sizeof(float));
      } else {
        const float* more = args.more + token / kMeanStrip * args.rows + first_row;
        for (int64_t i = 0; i < rows; ++i) out[i] = from[i] + more[i];
      }
    }
  }
}

}  // namespace gs::GS_ISA
