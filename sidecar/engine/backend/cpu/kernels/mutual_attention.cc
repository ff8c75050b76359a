// Attention without a mask: out = softmax(scale * q K^T) V, every row sees every row. For the image tower,
// whose 4,096 x 4,096 scores are never in memory: keys come in blocks of 128 with an online softmax.
//
// K and V are first copied, head by head, so that lanes are keys for scores and dimensions for values. Three
// versions: int8 codes (mutual_codes.cc), BF16 pairs for VDPBF16PS (K `[key / 16][pair of dimensions][16
// keys][2]`, V `[pair of keys][padded dimensions][2]`), and F32 (K `[key / 16][dimension][16 keys]`, V
// `[key][padded dimensions]`) for F32 precision and for processors without those dot products. Keys are
// filled up to a block, dimensions of V to 16 (of BF16 K to 2), with zeros, so a head of 72 needs no tail:
// five vectors of which the last is half empty.
#include "bf16.h"
#include "kernels.h"
#include "mutual_codes.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

constexpr int64_t kBlockKeys = 128;
constexpr int64_t kBlockRows = 48;  // query rows of a task: 8 strips of 6 for scores, 12 of 4 for values
constexpr int kTile = 16;
constexpr float kMinusInfinity = -__builtin_inff();

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

bool bf16(const MutualAttentionArgs& args) { return args.rounding == MutualRounding::kBf16; }
bool codes(const MutualAttentionArgs& args) { return args.rounding == MutualRounding::kCodes; }

struct Shape {
  int64_t keys, value_width, key_bytes, value_bytes;
  explicit Shape(const MutualAttentionArgs& args)
      : keys(round_up(args.tokens, kBlockKeys)), value_width(round_up(args.head_dim, kTile)) {
    const int64_t element = bf16(args) ? 2 : 4;
    key_bytes = keys * (bf16(args) ? round_up(args.head_dim, 2) : args.head_dim) * element;
    value_bytes = keys * value_width * element;
  }
  int64_t head_bytes() const { return key_bytes + value_bytes; }
};

// A task's buffers, carved from its scratch.
struct Rows {
  float* q;       // [row][head_dim], times scale; BF16 pairs in the BF16 version
  float* p;       // [row][128]: scores, then weights
  float* output;  // [row][value_width]
  float* peak;
  float* sum;
  float* rescale;
};

Rows carve(float* scratch, const Shape& shape) {
  Rows rows{};
  rows.q = scratch;
  rows.p = rows.q + kBlockRows * shape.value_width;
  rows.output = rows.p + kBlockRows * kBlockKeys;
  rows.peak = rows.output + kBlockRows * shape.value_width;
  rows.sum = rows.peak + kBlockRows;
  rows.rescale = rows.sum + kBlockRows;
  return rows;
}

void pack_float(const MutualAttentionArgs& args, const Shape& shape, int64_t head, int64_t block) {
  auto* keys = reinterpret_cast<float*>(args.packed + head * shape.head_bytes());
  float* values = keys + shape.key_bytes / 4;
  const int64_t width = args.heads * args.head_dim;
  for (int64_t key = block * kBlockKeys; key < (block + 1) * kBlockKeys; ++key) {
    const int64_t from = key * width + head * args.head_dim;
    const bool real = key < args.tokens;
    for (int64_t d = 0; d < args.head_dim; ++d) {
      keys[(key / kTile * args.head_dim + d) * kTile + key % kTile] = real ? args.k[from + d] : 0.0f;
    }
    for (int64_t d = 0; d < shape.value_width; ++d) {
      values[key * shape.value_width + d] = real && d < args.head_dim ? args.v[from + d] : 0.0f;
    }
  }
}

void pack_bf16(const MutualAttentionArgs& args, const Shape& shape, int64_t head, int64_t block) {
  auto* keys = reinterpret_cast<uint16_t*>(args.packed + head * shape.head_bytes());
  uint16_t* values = keys + shape.key_bytes / 2;
  const int64_t width = args.heads * args.head_dim, pairs = (args.head_dim + 1) / 2;
  for (int64_t key = block * kBlockKeys; key < (block + 1) * kBlockKeys; ++key) {
    const int64_t from = key * width + head * args.head_dim;
    const bool real = key < args.tokens;
    uint16_t* to = keys + key / kTile * pairs * 2 * kTile + key % kTile * 2;
    for (int64_t d = 0; d < 2 * pairs; ++d) {
      to[d / 2 * 2 * kTile + d % 2] = real && d < args.head_dim ? bf16_from_float(args.k[from + d]) : 0;
    }
    uint16_t* value = values + key / 2 * shape.value_width * 2 + key % 2;
    for (int64_t d = 0; d < shape.value_width; ++d) {
      value[2 * d] = real && d < args.head_dim ? bf16_from_float(args.v[from + d]) : 0;
    }
  }
}

// Scores of a row become weights; `visible` of the block's keys exist.
void soften(float* scores, int64_t visible, float* peak, float* sum, float* rescale) {
  Vec largest = broadcast(kMinusInfinity);
  for (int64_t i = 0; i < kBlockKeys; i += kLanes) {
    Vec s = load(scores + i);
    if (i + kLanes > visible) {
      const Vec masked = broadcast(kMinusInfinity);
      s = lane_index() + static_cast<float>(i) >= broadcast(static_cast<float>(visible)) ? masked : s;
      store(scores + i, s);
    }
    largest = max(s, largest);
  }
  const float block_peak = max_lanes(largest);
  const float new_peak = block_peak > *peak ? block_peak : *peak;
  *rescale = new_peak == *peak ? 1.0f : exp(*peak - new_peak);
  *peak = new_peak;
  Vec total = zero();
  for (int64_t i = 0; i < kBlockKeys; i += kLanes) {
    const Vec weight = exp(load(scores + i) - new_peak);
    store(scores + i, weight);
    total = total + weight;
  }
  *sum = *sum * *rescale + sum_lanes(total);
}

void score_float(const MutualAttentionArgs& args, const float* q, const float* keys, float* scores) {
  constexpr int kVecs = kTile / kLanes;
  constexpr int kRows = 4;
  for (int64_t row = 0; row < kBlockRows; row += kRows) {
    for (int64_t tile = 0; tile < kBlockKeys / kTile; ++tile) {
      Vec sum[kRows][kVecs] = {};
      const float* key = keys + tile * args.head_dim * kTile;
      for (int64_t d = 0; d < args.head_dim; ++d) {
        for (int r = 0; r < kRows; ++r) {
          const Vec query = broadcast(q[(row + r) * args.head_dim + d]);
          for (int v = 0; v < kVecs; ++v)
            sum[r][v] = fma(query, load(key + d * kTile + v * kLanes), sum[r][v]);
        }
      }
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVecs; ++v) {
          store(scores + (row + r) * kBlockKeys + tile * kTile + v * kLanes, sum[r][v]);
        }
      }
    }
  }
}

void value_float(const Shape& shape, const Rows& rows, const float* values) {
  constexpr int kVecs = kTile / kLanes;
  constexpr int kRows = 4;
  for (int64_t row = 0; row < kBlockRows; row += kRows) {
    for (int64_t d = 0; d < shape.value_width; d += kTile) {
      Vec sum[kRows][kVecs];
      float* out = rows.output + row * shape.value_width + d;
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVecs; ++v) {
          sum[r][v] = load(out + r * shape.value_width + v * kLanes) * rows.rescale[row + r];
        }
      }
      for (int64_t key = 0; key < kBlockKeys; ++key) {
        for (int r = 0; r < kRows; ++r) {
          const Vec weight = broadcast(rows.p[(row + r) * kBlockKeys + key]);
          for (int v = 0; v < kVecs; ++v) {
            sum[r][v] = fma(weight, load(values + key * shape.value_width + d + v * kLanes), sum[r][v]);
          }
        }
      }
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVecs; ++v) store(out + r * shape.value_width + v * kLanes, sum[r][v]);
      }
    }
  }
}

#if GS_HAS_BF16_KERNELS

GS_BF16 void score_bf16(int64_t pairs, const uint32_t* q, const uint16_t* keys, float* scores) {
  constexpr int kRows = 6, kVecs = 4;
  for (int64_t row = 0; row < kBlockRows; row += kRows) {
    for (int64_t tile = 0; tile < kBlockKeys / kTile; tile += kVecs) {
      __m512 sum[kRows][kVecs];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVecs; ++v) sum[r][v] = _mm512_setzero_ps();
      }
      for (int64_t d = 0; d < pairs; ++d) {
        __m512bh key[kVecs];
#pragma GCC unroll 8
        for (int v = 0; v < kVecs; ++v) {
          key[v] = (__m512bh)_mm512_loadu_si512(keys + ((tile + v) * pairs + d) * 2 * kTile);
        }
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          const auto query = (__m512bh)_mm512_set1_epi32(static_cast<int>(q[(row + r) * pairs + d]));
#pragma GCC unroll 8
          for (int v = 0; v < kVecs; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], key[v], query);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVecs; ++v) {
          _mm512_storeu_ps(scores + (row + r) * kBlockKeys + (tile + v) * kTile, sum[r][v]);
        }
      }
    }
  }
}

// Weights [row][128] F32 to BF16 in place, at the start of each row.
GS_BF16 void round_weights(float* p) {
  for (int64_t row = 0; row < kBlockRows; ++row) {
    float* from = p + row * kBlockKeys;
    auto* to = reinterpret_cast<uint8_t*>(from);
    for (int64_t i = 0; i < kBlockKeys; i += kTile) {
      const __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
      __builtin_memcpy(to + 2 * i, &half, sizeof half);
    }
  }
}

template <int kVecs>
GS_BF16 void value_columns_bf16(const Shape& shape, const Rows& rows, const uint16_t* values, int64_t d) {
  constexpr int kRows = 4;
  for (int64_t row = 0; row < kBlockRows; row += kRows) {
    __m512 sum[kRows][kVecs];
    float* out = rows.output + row * shape.value_width + d;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 rescale = _mm512_set1_ps(rows.rescale[row + r]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        sum[r][v] = _mm512_mul_ps(_mm512_loadu_ps(out + r * shape.value_width + v * kTile), rescale);
      }
    }
    for (int64_t pair = 0; pair < kBlockKeys / 2; ++pair) {
      __m512bh value[kVecs];
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        value[v] = (__m512bh)_mm512_loadu_si512(values + (pair * shape.value_width + d + v * kTile) * 2);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int bits;
        __builtin_memcpy(&bits, rows.p + (row + r) * kBlockKeys + pair, sizeof bits);
        // The weights' row is 64 pairs long at the start of 128 floats.
        const auto weight = (__m512bh)_mm512_set1_epi32(bits);
#pragma GCC unroll 8
        for (int v = 0; v < kVecs; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], value[v], weight);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) _mm512_storeu_ps(out + r * shape.value_width + v * kTile, sum[r][v]);
    }
  }
}

GS_BF16 void value_bf16(const Shape& shape, const Rows& rows, const uint16_t* values) {
  round_weights(rows.p);
  int64_t d = 0;
  for (; d + 5 * kTile <= shape.value_width; d += 5 * kTile) value_columns_bf16<5>(shape, rows, values, d);
  for (; d < shape.value_width; d += kTile) value_columns_bf16<1>(shape, rows, values, d);
}

#endif

void attend(const MutualAttentionArgs& args, const Shape& shape, const Rows& rows, int64_t head,
            int64_t block) {
  const uint8_t* packed = args.packed + head * shape.head_bytes();
  const int64_t visible = args.tokens - block * kBlockKeys;
  const int64_t key_at = shape.key_bytes / shape.keys * kBlockKeys * block;
  const int64_t value_at = shape.key_bytes + shape.value_bytes / shape.keys * kBlockKeys * block;
#if GS_HAS_BF16_KERNELS
  if (bf16(args)) {
    score_bf16((args.head_dim + 1) / 2, reinterpret_cast<const uint32_t*>(rows.q),
               reinterpret_cast<const uint16_t*>(packed + key_at), rows.p);
  }
#endif
  if (!bf16(args)) score_float(args, rows.q, reinterpret_cast<const float*>(packed + key_at), rows.p);
  for (int64_t row = 0; row < kBlockRows; ++row) {
    soften(rows.p + row * kBlockKeys, visible < kBlockKeys ? visible : kBlockKeys, rows.peak + row,
           rows.sum + row, rows.rescale + row);
  }
#if GS_HAS_BF16_KERNELS
  if (bf16(args)) value_bf16(shape, rows, reinterpret_cast<const uint16_t*>(packed + value_at));
#endif
  if (!bf16(args)) value_float(shape, rows, reinterpret_cast<const float*>(packed + value_at));
}

}  // namespace

static_assert((2 * kMaxMutualHeadDim + kBlockKeys + 3) * kBlockRows * sizeof(float) <= kScratchBytes);

int64_t mutual_attention_bytes(const MutualAttentionArgs& args) {
  if (codes(args)) return mutual_codes_bytes(args);
  return Shape(args).head_bytes() * args.heads;
}

int64_t mutual_attention_pack_tasks(const MutualAttentionArgs& args) {
  if (codes(args)) return mutual_codes_pack_tasks(args);
  return args.heads * (Shape(args).keys / kBlockKeys);
}

void mutual_attention_pack(const MutualAttentionArgs& args, int64_t task, float*) {
  if (codes(args)) return mutual_codes_pack(args, task);
  const Shape shape(args);
  const int64_t blocks = shape.keys / kBlockKeys;
  if (bf16(args)) {
    pack_bf16(args, shape, task / blocks, task % blocks);
  } else {
    pack_float(args, shape, task / blocks, task % blocks);
  }
}

int64_t mutual_attention_tasks(const MutualAttentionArgs& args) {
  if (codes(args)) return mutual_codes_tasks(args);
  return args.heads * ((args.tokens + kBlockRows - 1) / kBlockRows);
}

void mutual_attention(const MutualAttentionArgs& args, int64_t task, float* scratch) {
  if (codes(args)) return mutual_codes(args, task, scratch);
  const Shape shape(args);
  const int64_t row_blocks = (args.tokens + kBlockRows - 1) / kBlockRows;
  const int64_t head = task / row_blocks, first = task % row_blocks * kBlockRows;
  const int64_t count = args.tokens - first < kBlockRows ? args.tokens - first : kBlockRows;
  const Rows rows = carve(scratch, shape);
  const int64_t width = args.heads * args.head_dim, pairs = (args.head_dim + 1) / 2;
  __builtin_memset(rows.q, 0, static_cast<size_t>(kBlockRows * shape.value_width) * sizeof(float));
  __builtin_memset(rows.output, 0, static_cast<size_t>(kBlockRows * shape.value_width) * sizeof(float));
  for (int64_t row = 0; row < kBlockRows; ++row) {
    rows.peak[row] = kMinusInfinity;
    rows.sum[row] = 0.0f;
  }
  auto* halves = reinterpret_cast<uint8_t*>(rows.q);
  for (int64_t row = 0; row < count; ++row) {
    const float* from = args.q + (first + row) * width + head * args.head_dim;
    for (int64_t d = 0; d < args.head_dim; ++d) {
      const float value = from[d] * args.scale;
      if (bf16(args)) {
        const uint16_t half = bf16_from_float(value);
        __builtin_memcpy(halves + (row * pairs * 2 + d) * 2, &half, sizeof half);
      } else {
        rows.q[row * args.head_dim + d] = value;
      }
    }
  }
  for (int64_t block = 0; block < shape.keys / kBlockKeys; ++block) attend(args, shape, rows, head, block);
  for (int64_t row = 0; row < count; ++row) {
    float* out = args.out + (first + row) * width + head * args.head_dim;
    const float* from = rows.output + row * shape.value_width;
    for (int64_t d = 0; d < args.head_dim; ++d) out[d] = from[d] / rows.sum[row];
  }
}

}  // namespace gs::GS_ISA
