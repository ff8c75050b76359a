// Attention without a mask in int8: what mutual_attention.cc computes, by byte dot products where the machine
// has them (AVX-512 VNNI, NEON dotprod), four times as many a cycle as F32.
//
//   scores   codes of q (a scale for each row) x codes of k - mean(k) (a scale for each key). What is common
//            to all keys adds the same to all scores of a row, which softmax takes away again; without it
//            codes have finer steps (SageAttention, arXiv 2410.02367). Where steps are still too coarse for
//            how sharply a row chooses, what the codes left over of both is multiplied too.
//   weights  255 * e^(score - greatest of the row in this block of keys), rounded to bytes.
//   output   weights x codes of v - mean(v) (a scale for each dimension and block), divided by the sum of the
//            weights as they were rounded, plus mean(v).
//
// Integer sums are exact, and so is what follows from them on every machine. Lanes are query rows in both
// products, so scores become weights, and weights an operand, without a transposition:
//
//   operands of rows   [quad][row][4 bytes]     q: quad of dimensions     weights: quad of keys
//   tables             [group of kOuts][quad][kOuts][4 bytes]     k: outputs are keys     v: dimensions
#include "mutual_codes.h"

#include "code_rows.h"
#include "kernels.h"
#include "simd.h"

#if defined(__AVX512VNNI__) || defined(__ARM_FEATURE_DOTPROD)
#define GS_HAS_MUTUAL_CODES 1
#else
#define GS_HAS_MUTUAL_CODES 0
#endif

namespace gs::GS_ISA {

bool mutual_codes_available() { return GS_HAS_MUTUAL_CODES != 0; }

#if GS_HAS_MUTUAL_CODES

namespace {

// What is added to the bytes of weights, which are unsigned by nature: as kCodeShift to codes.
constexpr int32_t kWeightShift = kCodeShift - 128;
constexpr int64_t kBlock = 128;  // keys: their scores are 16 KiB, half of a first-level cache
constexpr float kMinusInfinity = -__builtin_inff();
// Rows whose scores would err by more, as a standard deviation of what weights are e to the power of, are
// multiplied with rests: codes alone do for scores that vary by 2 or so among keys.
constexpr float kMostScoreError = 1.0f / 64;
constexpr float kLog2E = 1.44269504f, kLog2Of255 = 7.9943534f;
constexpr int64_t kMaxDim = (kMaxMutualHeadDim + kOuts - 1) / kOuts * kOuts;

typedef uint32_t UintVec __attribute__((vector_size(kLanes * 4)));

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// A head's part of the packed memory.
struct Head {
  int8_t* keys;          // [keys / kOuts][quads][kOuts][4]
  int8_t* key_rests;     // the same, in steps of 1 / kRestSteps of the key's scale
  float* key_scale;      // [keys]
  int32_t* key_start;    // [keys]: what takes kCodeShift away again
  int32_t* rest_start;   // [keys]: the same of both products with rests
  float* key_spread;     // [2]: means over the keys of scale^2 and of |key|^2
  int8_t* values;        // [blocks][width / kOuts][kBlock / 4][kOuts][4]
  float* value_scale;    // [blocks][width]
  int32_t* value_start;  // [blocks][width]
  float* value_mean;     // [width]
};

struct Shape {
  int64_t blocks, keys, quads, width;
  explicit Shape(const MutualAttentionArgs& args)
      : blocks((args.tokens + kBlock - 1) / kBlock),
        keys(blocks * kBlock),
        quads((args.head_dim + kQuad - 1) / kQuad),
        width(round_up(args.head_dim, kOuts)) {}
  int64_t head_bytes() const {
    return round_up(keys * (2 * quads * kQuad + width + 12) + ((blocks * 2 + 1) * width + 2) * 4, 64);
  }
  Head head(uint8_t* packed, int64_t index) const {
    Head head{};
    uint8_t* at = packed + index * head_bytes();
    const auto take = [&at](auto*& part, int64_t count) {
      part = reinterpret_cast<decltype(+part)>(at);
      at += count * static_cast<int64_t>(sizeof *part);
    };
    take(head.keys, keys * quads * kQuad);
    take(head.key_rests, keys * quads * kQuad);
    take(head.values, keys * width);
    take(head.key_scale, keys);
    take(head.key_start, keys);
    take(head.rest_start, keys);
    take(head.key_spread, 2);
    take(head.value_scale, blocks * width);
    take(head.value_start, blocks * width);
    take(head.value_mean, width);
    return head;
  }
};

// Rows of values, of whole quads, to codes and what those leave over.
struct RowCodes {
  int8_t codes[kMaxDim], rests[kMaxDim];
  float scale, square;  // the scale of the codes; the sum of squared values

  // What is not finite becomes some code.
  RowCodes(const float* values, int64_t count) {
    float largest = 0.0f;
    square = 0.0f;
    for (int64_t i = 0; i < count; ++i) {
      const float size = __builtin_fabsf(values[i]);
      largest = size > largest ? size : largest;
      square += values[i] * values[i];
    }
    scale = largest / 127.0f;
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    for (int64_t i = 0; i < count; ++i) {
      const float x = values[i] * inverse, rounded = x + kRound;
      codes[i] = byte_of(rounded);
      rests[i] = byte_of((x - (rounded - kRound)) * kRestSteps + kRound);
    }
  }
};

// Quads of a row of codes into a group of a table; returns their sum.
int32_t place(const int8_t* codes, int64_t quads, int64_t row, int8_t* table) {
  int8_t* to = table + row / kOuts * kOuts * quads * kQuad + row % kOuts * kQuad;
  int32_t sum = 0;
  for (int64_t i = 0; i < quads * kQuad; ++i) sum += codes[i];
  for (int64_t quad = 0; quad < quads; ++quad)
    __builtin_memcpy(to + quad * kOuts * kQuad, codes + quad * kQuad, kQuad);
  return sum;
}

// Means of a head's columns.
void column_means(const float* x, const MutualAttentionArgs& args, float* means) {
  const int64_t stride = args.heads * args.head_dim;
  for (int64_t d = 0; d < args.head_dim; ++d) means[d] = 0.0f;
  for (int64_t row = 0; row < args.tokens; ++row) {
    for (int64_t d = 0; d < args.head_dim; ++d) means[d] += x[row * stride + d];
  }
  for (int64_t d = 0; d < args.head_dim; ++d) means[d] /= static_cast<float>(args.tokens);
}

void pack_keys(const MutualAttentionArgs& args, const Shape& shape, int64_t index, const Head& head) {
  const int64_t stride = args.heads * args.head_dim, count = shape.quads * kQuad;
  const float* from = args.k + index * args.head_dim;
  float mean[kMaxDim], centred[kMaxDim] = {};
  column_means(from, args, mean);
  head.key_spread[0] = head.key_spread[1] = 0.0f;
  for (int64_t key = 0; key < shape.keys; ++key) {
    const bool real = key < args.tokens;
    for (int64_t d = 0; d < args.head_dim; ++d) centred[d] = real ? from[key * stride + d] - mean[d] : 0.0f;
    const RowCodes row(centred, count);
    head.key_scale[key] = row.scale;
    const int32_t sum = place(row.codes, shape.quads, key, head.keys);
    const int32_t rest = place(row.rests, shape.quads, key, head.key_rests);
    head.key_start[key] = -kCodeShift * sum;
    head.rest_start[key] = -kCodeShift * (sum + rest);
    head.key_spread[0] += row.scale * row.scale / static_cast<float>(args.tokens);
    head.key_spread[1] += row.square / static_cast<float>(args.tokens);
  }
}

void pack_values(const MutualAttentionArgs& args, const Shape& shape, int64_t index, const Head& head) {
  const int64_t stride = args.heads * args.head_dim;
  const float* from = args.v + index * args.head_dim;
  for (int64_t d = 0; d < shape.width; ++d) head.value_mean[d] = 0.0f;
  column_means(from, args, head.value_mean);
  for (int64_t block = 0; block < shape.blocks; ++block) {
    float largest[kMaxDim] = {}, inverse[kMaxDim], centred[kQuad][kMaxDim] = {};
    int32_t sums[kMaxDim] = {};
    const int64_t first = block * kBlock, left = args.tokens - first, real = left < kBlock ? left : kBlock;
    for (int64_t key = first; key < first + real; ++key) {
      for (int64_t d = 0; d < args.head_dim; ++d) {
        const float size = __builtin_fabsf(from[key * stride + d] - head.value_mean[d]);
        largest[d] = size > largest[d] ? size : largest[d];
      }
    }
    for (int64_t d = 0; d < shape.width; ++d) {
      inverse[d] = largest[d] > 0.0f ? 127.0f / largest[d] : 0.0f;
      head.value_scale[block * shape.width + d] = largest[d] / 127.0f;
    }
    int8_t* to = head.values + block * kBlock * shape.width;
    for (int64_t quad = 0; quad < kBlock / kQuad; ++quad) {
      for (int i = 0; i < kQuad; ++i) {
        const int64_t key = first + quad * kQuad + i;
        const bool there = key < args.tokens;
        for (int64_t d = 0; d < args.head_dim; ++d) {
          centred[i][d] = there ? from[key * stride + d] - head.value_mean[d] : 0.0f;
        }
      }
      int32_t words[kMaxDim];
      for (int64_t d = 0; d < shape.width; ++d) {
        uint32_t word = 0;
        int32_t sum = 0;
        for (int i = 0; i < kQuad; ++i) {
          const float rounded = centred[i][d] * inverse[d] + kRound;
          uint32_t bits;
          __builtin_memcpy(&bits, &rounded, sizeof bits);
          word |= (bits & 0xff) << (8 * i);
          sum += static_cast<int8_t>(bits);
        }
        words[d] = static_cast<int32_t>(word);
        sums[d] += sum;
      }
      for (int64_t d = 0; d < shape.width; d += kOuts) {
        __builtin_memcpy(to + d * kBlock + quad * kOuts * kQuad, words + d, kOuts * kQuad);
      }
    }
    for (int64_t d = 0; d < shape.width; ++d)
      head.value_start[block * shape.width + d] = -kWeightShift * sums[d];
  }
}

// A task's buffers, carved from its scratch.
struct Work {
  uint8_t* query;  // [quads][kStripRows][4]
  uint8_t* query_rest;
  float* scores;     // [kBlock][kStripRows], before each row's factor
  uint8_t* weights;  // [kBlock / 4][kStripRows][4]
  float* output;     // [width][kStripRows]
  float* factor;     // [kStripRows]: of scores, to powers of two
  float* peak;       // [kStripRows]: the greatest score times factor
  float* sum;        // [kStripRows]
  float* keep;       // [kStripRows]: what the peak leaves of earlier blocks
  float* share;      // [kStripRows]: what it leaves of this block
};

Work carve(float* scratch, const Shape& shape) {
  Work work{};
  float* at = scratch;
  const auto take = [&at](float*& part, int64_t floats) {
    part = at;
    at += floats;
  };
  float *query, *query_rest, *weights;
  take(query, shape.quads * kStripRows);
  take(query_rest, shape.quads * kStripRows);
  take(weights, kBlock / kQuad * kStripRows);
  take(work.scores, kBlock * kStripRows);
  take(work.output, shape.width * kStripRows);
  take(work.factor, kStripRows);
  take(work.peak, kStripRows);
  take(work.sum, kStripRows);
  take(work.keep, kStripRows);
  take(work.share, kStripRows);
  work.query = reinterpret_cast<uint8_t*>(query);
  work.query_rest = reinterpret_cast<uint8_t*>(query_rest);
  work.weights = reinterpret_cast<uint8_t*>(weights);
  return work;
}

static_assert((2 * kMaxDim / kQuad + kBlock / kQuad + kBlock + kMaxDim + 5) * kStripRows * sizeof(float) <=
              kScratchBytes);

// Rounds a task's query rows; whether one of them needs rests.
bool pack_query(const MutualAttentionArgs& args, const Shape& shape, int64_t index, int64_t first,
                const Head& head, const Work& work) {
  const int64_t count = shape.quads * kQuad;
  float values[kMaxDim] = {};
  bool sharp = false;
  for (int64_t row = 0; row < kStripRows; ++row) {
    const float* from = args.q + (first + row) * args.heads * args.head_dim + index * args.head_dim;
    const bool real = first + row < args.tokens;
    for (int64_t d = 0; d < args.head_dim; ++d) values[d] = real ? from[d] : 0.0f;
    const RowCodes query(values, count);
    // Above zero, so that a score of minus infinity stays one.
    const float factor = query.scale * args.scale * kLog2E;
    work.factor[row] = factor > 0x1p-100f ? factor : 0x1p-100f;
    for (int64_t quad = 0; quad < shape.quads; ++quad) {
      const int64_t to = (quad * kStripRows + row) * kQuad;
      for (int i = 0; i < kQuad; ++i) {
        work.query[to + i] = static_cast<uint8_t>(query.codes[quad * kQuad + i] + kCodeShift);
        work.query_rest[to + i] = static_cast<uint8_t>(query.rests[quad * kQuad + i] + kCodeShift);
      }
    }
    // Rounding errors are spread evenly over a step: variance 1/12 of its square.
    const float variance =
        args.scale * args.scale / 12 *
        (query.square * head.key_spread[0] + query.scale * query.scale * head.key_spread[1]);
    if (variance > kMostScoreError * kMostScoreError) sharp = true;
  }
  return sharp;
}

// What rests add to a block's scores, in units of the codes' products.
void score_rests(const Work& work, const Shape& shape, const Head& head, int64_t first) {
  for (int64_t key = 0; key < kBlock; key += kOuts) {
    IntVec sums[kOuts][kRowVecs];
    start_sums(sums, head.rest_start + first + key);
    const int64_t table = (first + key) * shape.quads * kQuad;
    add_products(sums, work.query_rest, head.keys + table, shape.quads);
    add_products(sums, work.query, head.key_rests + table, shape.quads);
#pragma GCC unroll 16
    for (int o = 0; o < kOuts; ++o) {
#pragma GCC unroll 8
      for (int v = 0; v < kRowVecs; ++v)
        store(work.scores + (key + o) * kStripRows + v * kLanes, to_float(sums[o][v]) * (1 / kRestSteps));
    }
  }
}

// Scores of one block, and each row's greatest. Only the first `visible` keys exist. With rests, what those
// add stands in the scores already.
template <bool kRests, bool kTail>
void score(const Work& work, const Shape& shape, const Head& head, int64_t first, int64_t visible,
           Vec (&greatest)[kRowVecs]) {
  for (int v = 0; v < kRowVecs; ++v) greatest[v] = broadcast(kMinusInfinity);
  for (int64_t key = 0; key < kBlock; key += kOuts) {
    IntVec sums[kOuts][kRowVecs];
    start_sums(sums, head.key_start + first + key);
    add_products(sums, work.query, head.keys + (first + key) * shape.quads * kQuad, shape.quads);
#pragma GCC unroll 16
    for (int o = 0; o < kOuts; ++o) {
      const float scale = head.key_scale[first + key + o];
#pragma GCC unroll 8
      for (int v = 0; v < kRowVecs; ++v) {
        float* to = work.scores + (key + o) * kStripRows + v * kLanes;
        Vec s = to_float(sums[o][v]);
        if constexpr (kRests) s = s + load(to);
        s = s * scale;
        if (kTail && key + o >= visible) s = broadcast(kMinusInfinity);
        greatest[v] = max(s, greatest[v]);
        store(to, s);
      }
    }
  }
}

// The nearest integer to 2^t, t <= 8, in the low bits that adding kRound leaves. 2^t comes from a parabola:
// relative error 1.7e-3, less than half a code.
GS_INLINE UintVec power_code(Vec t) {
  constexpr float kSquare = 0.23842251f, kLinear = 0.70343643f, kConstant = 1.0004427f;
  constexpr float kBias = kRound + 127;  // with it the low bits are those of the exponent 2^n
  const Vec clamped = max(t, broadcast(-20.0f)), shifted = clamped + kBias;
  const Vec r = clamped - (shifted - kBias);
  const Vec p = fma(fma(broadcast(kSquare), r, broadcast(kLinear)), r, broadcast(kConstant));
  const Vec power = reinterpret_cast<Vec>(reinterpret_cast<IntVec>(shifted) << 23);
  return reinterpret_cast<UintVec>(fma(p, power, broadcast(kRound)));
}

// Sums of a block's weights, row by row, from its quads.
GS_INLINE IntVec add_bytes(IntVec sum, IntVec words) {
#if defined(__AVX512VNNI__)
  return reinterpret_cast<IntVec>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum),
                                                      reinterpret_cast<__m512i>(words), _mm512_set1_epi8(1)));
#else
  return reinterpret_cast<IntVec>(vdotq_u32(vreinterpretq_u32_s32(reinterpret_cast<int32x4_t>(sum)),
                                            vreinterpretq_u8_s32(reinterpret_cast<int32x4_t>(words)),
                                            vdupq_n_u8(1)));
#endif
}

// Scores of one block become weights; earlier blocks' share is told in keep, this one's in share.
void soften(const Work& work, const Vec (&greatest)[kRowVecs]) {
#pragma GCC unroll 8
  for (int v = 0; v < kRowVecs; ++v) {
    const int64_t at = v * kLanes;
    const Vec factor = load(work.factor + at), block_peak = greatest[v] * factor;
    const Vec top = kLog2Of255 - block_peak;
    IntVec total{};
    for (int64_t quad = 0; quad < kBlock / kQuad; ++quad) {
      UintVec words{};
#pragma GCC unroll 4
      for (int i = kQuad - 1; i >= 0; --i) {
        const Vec s = load(work.scores + (quad * kQuad + i) * kStripRows + at);
        words = (words << 8) + power_code(fma(s, factor, top));
      }
      words -= kRoundBits + (kRoundBits << 8) + (kRoundBits << 16) + (kRoundBits << 24);
      total = add_bytes(total, reinterpret_cast<IntVec>(words));
      if constexpr (kWeightShift != 0) words ^= 0x80808080u;
      __builtin_memcpy(work.weights + (quad * kStripRows + at) * kQuad, &words, sizeof words);
    }
    const Vec before = load(work.peak + at), peak = max(block_peak, before);
    const Vec keep = exp((before - peak) * (1 / kLog2E)), share = exp((block_peak - peak) * (1 / kLog2E));
    store(work.peak + at, peak);
    store(work.keep + at, keep);
    store(work.share + at, share);
    store(work.sum + at, load(work.sum + at) * keep + to_float(total) * share);
  }
}

void add_values(const Work& work, const Shape& shape, const Head& head, int64_t block) {
  Vec keep[kRowVecs], share[kRowVecs];
  for (int v = 0; v < kRowVecs; ++v) {
    keep[v] = load(work.keep + v * kLanes);
    share[v] = load(work.share + v * kLanes);
  }
  const float* scale = head.value_scale + block * shape.width;
  const int32_t* start = head.value_start + block * shape.width;
  const int8_t* values = head.values + block * kBlock * shape.width;
  for (int64_t d = 0; d < shape.width; d += kOuts) {
    IntVec sums[kOuts][kRowVecs];
    start_sums(sums, start + d);
    add_products(sums, work.weights, values + d * kBlock, kBlock / kQuad);
#pragma GCC unroll 16
    for (int o = 0; o < kOuts; ++o) {
#pragma GCC unroll 8
      for (int v = 0; v < kRowVecs; ++v) {
        float* out = work.output + (d + o) * kStripRows + v * kLanes;
        const Vec added = to_float(sums[o][v]) * scale[d + o];
        store(out, fma(added, share[v], load(out) * keep[v]));
      }
    }
  }
}

}  // namespace

int64_t mutual_codes_bytes(const MutualAttentionArgs& args) { return Shape(args).head_bytes() * args.heads; }

int64_t mutual_codes_pack_tasks(const MutualAttentionArgs& args) { return 2 * args.heads; }

void mutual_codes_pack(const MutualAttentionArgs& args, int64_t task) {
  const Shape shape(args);
  const Head head = shape.head(args.packed, task / 2);
  if (task % 2 == 0) {
    pack_keys(args, shape, task / 2, head);
  } else {
    pack_values(args, shape, task / 2, head);
  }
}

int64_t mutual_codes_tasks(const MutualAttentionArgs& args) {
  return args.heads * ((args.tokens + kStripRows - 1) / kStripRows);
}

void mutual_codes(const MutualAttentionArgs& args, int64_t task, float* scratch) {
  const Shape shape(args);
  const int64_t strips = (args.tokens + kStripRows - 1) / kStripRows;
  const int64_t index = task / strips, first = task % strips * kStripRows;
  const Head head = shape.head(args.packed, index);
  const Work work = carve(scratch, shape);
  const bool rests = pack_query(args, shape, index, first, head, work);
  __builtin_memset(work.output, 0, static_cast<size_t>(shape.width * kStripRows) * sizeof(float));
  for (int64_t row = 0; row < kStripRows; ++row) {
    work.peak[row] = kMinusInfinity;
    work.sum[row] = 0.0f;
  }
  for (int64_t block = 0; block < shape.blocks; ++block) {
    const int64_t visible = args.tokens - block * kBlock;
    Vec greatest[kRowVecs];
    if (rests) {
      score_rests(work, shape, head, block * kBlock);
      score<true, true>(work, shape, head, block * kBlock, visible, greatest);
    } else if (visible < kBlock) {
      score<false, true>(work, shape, head, block * kBlock, visible, greatest);
    } else {
      score<false, false>(work, shape, head, block * kBlock, visible, greatest);
    }
    soften(work, greatest);
    add_values(work, shape, head, block);
  }
  const int64_t left = args.tokens - first, count = left < kStripRows ? left : kStripRows;
  for (int64_t row = 0; row < count; ++row) {
    float* out = args.out + (first + row) * args.heads * args.head_dim + index * args.head_dim;
    const float share = 1.0f / work.sum[row];
    for (int64_t d = 0; d < args.head_dim; ++d)
      out[d] = work.output[d * kStripRows + row] * share + head.value_mean[d];
  }
}

#else

int64_t mutual_codes_bytes(const MutualAttentionArgs&) { return 0; }
int64_t mutual_codes_pack_tasks(const MutualAttentionArgs&) { return 0; }
void mutual_codes_pack(const MutualAttentionArgs&, int64_t) {}
int64_t mutual_codes_tasks(const MutualAttentionArgs&) { return 0; }
void mutual_codes(const MutualAttentionArgs&, int64_t, float*) {}

#endif

}  // namespace gs::GS_ISA
