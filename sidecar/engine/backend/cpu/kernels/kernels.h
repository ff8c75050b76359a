// The kernels' common language: argument structs, and the table of functions that one instruction set offers.
//
// Every kernel file is compiled once for each instruction set inside `namespace gs::GS_ISA` (GS_ISA is one of
// avx512, avxvnni, avx2, neon, neon_i8mm, scalar) and knows nothing of threads, Node or callers: an operation
// is cut into `tasks` pieces, and `run(args, task, scratch)` computes one piece. Pieces are independent, so
// the thread pool may hand them out in any order; results do not depend on how many threads there are.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gs {

constexpr int kPagePositions = 64;  // KV positions in a page; backend.ts PAGE_POSITIONS

struct RmsNormArgs {
  const float* x;       // [rows][width]
  const float* weight;  // [width]
  float* out;           // [rows][width], may be x
  int64_t rows, width;
  float eps;
};

struct RopeArgs {
  float* x;  // [tokens][heads][head_dim], in place
  int64_t tokens, heads, head_dim;
  int64_t position;       // of token 0
  const float* inv_freq;  // [head_dim / 2], base^(-2i/head_dim) / factor, F32 rounded from double
};

// F16 pages: page p of the arena starts at base + p * page_stride; a layer's part of it at + layer_offset.
// (Strides in elements.) Inside a layer's part, for each kv head: K then V, in the layout kv_layout.h draws.
struct KvArgs {
  uint16_t* base;
  size_t page_stride, layer_offset;
  const int32_t* page_table;  // position p lives in page page_table[(p / 64) % page_table_length]
  int64_t page_table_length;
  int64_t kv_heads, head_dim;
};

enum class KvFormat : int32_t { kF16, kInt8, kInt4 };

// Compressed pages between F16 ones (kv_codes.h): a token at position p reads page t of the sequence in this
// format if first_page <= t <= p / 64 - hot_pages, else as F16. A function of positions alone.
struct ColdKvArgs {
  const uint8_t* base;  // null: every page is F16
  size_t page_bytes, layer_offset;
  const int32_t* page_table;  // page t of the sequence; never wraps
  KvFormat format;
  int64_t hot_pages, first_page;
};

// Bounds of keys by which tokens choose the pages they read (attention_sparse.h); page t of the sequence is
// page_table[t]. A token reads the last `recent_pages` pages, the first one, and `top_pages` of the others.
struct SparseKvArgs {
  const uint8_t* bounds;  // null: every page is read
  size_t page_bytes, layer_offset;
  const int32_t* page_table;
  int64_t recent_pages, top_pages;
  uint64_t* chosen;  // [tokens][kv_heads][words], a bit for each page; null before the choice
  int64_t words;
  float* unread;  // [tokens][heads][2]
  // [tokens][heads], or null: raised to the share of a row's weights that unread pages may have held.
  float* missed;
};

// Pages of any format to the bounds of their keys: `runs` KV heads of all layers, one behind the other.
struct KvBoundArgs {
  const uint8_t* from;
  uint8_t* to;
  KvFormat format;
  int64_t runs, head_dim;
};

// F16 pages to codes: `runs` KV heads of all layers, one behind the other.
struct KvCompressArgs {
  const uint16_t* from;
  uint8_t* to;
  KvFormat format;
  int64_t runs, head_dim;
};

struct KvWriteArgs {
  KvArgs kv;
  const float* k;  // [tokens][kv_heads * head_dim]
  const float* v;
  int64_t position, tokens;
};

struct AttentionArgs {
  KvArgs kv;
  ColdKvArgs cold;
  SparseKvArgs sparse;
  const float* q;  // [tokens][heads * head_dim]
  float* out;
  int64_t position, tokens, heads;
  int64_t window;  // 0 is global
  // [tokens], ascending: token i attends to positions before visible_until[i], which lies behind its own and
  // within the pass. Null: up to itself. Rows of an image see all of the image.
  const int32_t* visible_until;
  float scale;
  float* partials;  // attention_partials_floats() of shared scratch, for the split-KV path
};

struct LayerNormArgs {
  const float* x;  // [rows][width]
  const float* weight;
  const float* bias;
  float* out;  // may be x
  int64_t rows, width;
  float eps;
};

struct AddBiasArgs {
  float* x;  // [rows][width], in place
  const float* bias;
  int64_t rows, width;
  bool gelu;  // then gelu_tanh of the sum
};

struct AveragePoolArgs {
  const float* x;  // [side][side][width]
  float* out;      // [side / factor][side / factor][width]
  int64_t side, factor, width;
};

// Every row attends to every row. `packed` is mutual_attention_bytes() of shared scratch. Products are of F32
// values, of BF16 (if bf16_available()), or of int8 codes (if mutual_codes_available()).
constexpr int64_t kMaxMutualHeadDim = 256;
enum class MutualRounding { kNone, kBf16, kCodes };
struct MutualAttentionArgs {
  const float* q;  // [tokens][heads * head_dim], as are k, v and out
  const float* k;
  const float* v;
  float* out;  // may be q
  int64_t tokens, heads, head_dim;
  float scale;
  MutualRounding rounding;
  uint8_t* packed;
};

struct GeluMulArgs {
  const float* gate;
  const float* up;
  float* out;  // may be gate
  int64_t count;
};

struct AddArgs {
  float* out;
  const float* x;
  int64_t count;
};

// What a matrix holds and how its packed panels are laid out; matrix_format.h draws the layouts.
enum class MatrixFormat : int32_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kShadow  // six bits with a scale for 32 columns: the copy that screening reads; no file has it
};

struct PackedMatrix {
  const uint8_t* panels;  // [ceil(rows / 16)] panels of 16 rows, matrix_format.h panel_bytes() each
  MatrixFormat format;
  int64_t rows, columns;
};

// Activations rounded to int8 in blocks of 32 columns: x = scale * q, scale = absmax / 127 rounded up to
// kScaleBits significant bits. Tokens are grouped by kTokenBlock; group g starts at token 128 g and holds n =
// min(128, tokens - 128 g) of them:
//   q      [g][columns / 32][n][32]
//   scale, sum, first_sum, scaled_sum  [g][columns / 32][n]
// where sum is that of q, first_sum that of its first 16 columns, and scaled_sum = scale * sum.
constexpr int kScaleBits = 5;
constexpr int64_t kTokenBlock = 128;
struct QuantizedActivations {
  int8_t* q;
  float* scale;
  int32_t* sum;
  int32_t* first_sum;
  float* scaled_sum;
  // Not null: rounded to BF16 instead (bf16_codes.h), [g][columns / 32][n][32], and scaled_sum is their sum.
  uint16_t* bf16 = nullptr;
};

// Rounds tokens [first, last) of `tokens`, on which the layout depends. A last block that is not full is
// filled up with zeros.
struct QuantizeArgs {
  const float* x;  // [tokens][columns]
  QuantizedActivations out;
  int64_t tokens, columns;
  int64_t first, last;
};

struct MatmulTarget {
  PackedMatrix weight;
  float* out;  // [tokens][weight.rows]
};

struct MatmulArgs {
  const float* x;             // [tokens][columns]; read by float formats and by F32 precision
  QuantizedActivations acts;  // read by the int8 and BF16 paths
  bool int8;                  // use them for quantised formats
  int64_t tokens, columns;
  const MatmulTarget* targets;
  int64_t target_count;
};

// Rows of W x by panel: out[i] is panel panels[i] (panel i where the list is null), [tokens][16 rows], at
// most kTokenBlock tokens. The bits are those that matmul gives.
struct PanelsArgs {
  PackedMatrix weight;
  const float* x;
  QuantizedActivations acts;
  bool int8;
  int64_t tokens;
  const int32_t* panels;
  int64_t panel_count;
  float* out;  // [panel_count][tokens][16]
};

// A shadow of a matrix, and how far off it is; screen.cc says how the two are used. Panel p's 32 numbers in
// `errors` are at least the norms of its rows' differences from the shadow, then of its rows.
struct ShadowPackArgs {
  PackedMatrix from;
  uint8_t* panels;
  float* errors;  // [panels][2][16]
};

// Between which two numbers each panel's greatest product lies, from the shadow.
struct ScreenArgs {
  PackedMatrix shadow;
  const float* errors;
  // Each token stands in `parts` rows whose sum it is, up to what `factors` accounts for.
  QuantizedActivations x;
  int64_t tokens, parts;
  const float* factors;  // [tokens][2]: of the norm of the difference, and of the row's own
  float* least;          // [tokens][panels]: some row's product is at least this
  float* most;           // [tokens][panels]: no row's product is more
};

// Rounds each token into two rows, the second what the first left over, and says what is then still missing.
struct ScreenRoundArgs {
  const float* x;            // [tokens][columns]
  QuantizedActivations out;  // of 2 * tokens rows
  int64_t tokens, columns;
  float* factors;
};

// gelu_tanh(G x) * (U x), rounded to int8 for the product that reads it: what geluMul and quantize would make
// of the two products, without their ever being written. Both matrices are quantised and `rows` a multiple
// of 32.
struct GatedMatmulArgs {
  QuantizedActivations acts;
  int64_t tokens, columns;
  PackedMatrix gate, up;
  QuantizedActivations out;  // of `gate.rows` columns
};

// Means of each strip of rows.
constexpr int64_t kMeanStrip = 16;
struct StripMeansArgs {
  const float* x;  // [rows][width]
  float* out;      // [rows / 16, rounded up][width]
  int64_t rows, width;
};

// A product of int8 codes with a scale for 64 columns; coded_matmul.cc draws the layouts. Memory is for rows
// and tokens filled up to these multiples, and columns to whole blocks.
constexpr int64_t kCodedColumns = 64, kCodedRows = 32, kCodedTokens = 8;

// A packed matrix of any format to codes, and to codes of what those leave over: for each filled-up row and
// block of columns 64 bytes and an F32 scale.
struct CodedPackArgs {
  PackedMatrix from;
  uint8_t* codes;
  uint8_t* rest;
};

struct CodedActivations {
  int8_t* codes;   // [tokens][columns]
  float* scale;    // [tokens][columns / 64]
  int32_t* start;  // [tokens][columns / 64]
};

struct CodedRoundArgs {
  const float* x;  // [tokens][columns]
  CodedActivations out;
  int64_t tokens, columns;
};

struct CodedMatmulArgs {
  const uint8_t* strips;
  CodedActivations acts;
  const float* more;  // [tokens / kMeanStrip][rows], added to each row of its strip; or null
  float* out;         // [tokens][rows]
  int64_t rows, columns, tokens;
};

// A packed matrix of any format to BF16 pairs; bf16_matmul.cc draws the layout.
struct Bf16PackArgs {
  PackedMatrix from;
  uint8_t* out;  // [ceil(rows / 16)][ceil(columns / 2)][16][2], zeroed
};

struct Bf16RoundArgs {
  const float* x;  // [tokens][columns]
  uint16_t* out;   // [tokens][columns, even]
  int64_t tokens, columns;
};

struct Bf16MatmulArgs {
  const uint8_t* panels;
  const uint16_t* x;
  float* out;  // [tokens][rows]
  int64_t rows, columns, tokens;
};

struct EmbedArgs {
  PackedMatrix table;
  const int32_t* ids;  // [tokens], each < table.rows
  float* out;          // [tokens][table.columns]
  int64_t tokens;
  float scale;
};

// Floats of shared scratch that attention wants in AttentionArgs::partials; 0 when it needs none.
using AttentionPartialsFloats = int64_t (*)(const AttentionArgs&);

// Scratch that every worker hands to a kernel, 64-byte aligned.
constexpr size_t kScratchBytes = size_t{1} << 20;

// One operation: how many independent pieces it falls into, and the function that computes one.
template <class Args>
struct Kernel {
  int64_t (*tasks)(const Args&);
  void (*run)(const Args&, int64_t task, float* scratch);
};

// Every operation of one instruction set.
struct KernelTable {
  const char* name;  // GS_ISA as text
  Kernel<RmsNormArgs> rms_norm;
  Kernel<RopeArgs> rope;
  Kernel<KvWriteArgs> kv_write;
  Kernel<KvCompressArgs> kv_compress;
  Kernel<KvBoundArgs> kv_bound;
  Kernel<AttentionArgs> attention_select;  // before attention, where tokens choose their pages
  AttentionPartialsFloats attention_partials_floats;
  Kernel<AttentionArgs> attention;
  Kernel<AttentionArgs> attention_merge;  // second phase; runs only if attention_partials_floats() > 0
  Kernel<GeluMulArgs> gelu_mul;
  Kernel<AddArgs> add;
  Kernel<QuantizeArgs> quantize;
  Kernel<MatmulArgs> matmul;
  Kernel<GatedMatmulArgs> gated_matmul;
  Kernel<PanelsArgs> panels;
  Kernel<ShadowPackArgs> shadow_pack;
  Kernel<ScreenRoundArgs> screen_round;
  // The same for tokens that were rounded once, into `x`, and whose products are of what was rounded.
  void (*screen_factors)(const ScreenArgs& args, float* factors);
  Kernel<ScreenArgs> screen;
  Kernel<EmbedArgs> embed;
  Kernel<LayerNormArgs> layer_norm;
  Kernel<AddBiasArgs> add_bias;
  Kernel<AveragePoolArgs> average_pool;
  int64_t (*mutual_attention_bytes)(const MutualAttentionArgs&);
  Kernel<MutualAttentionArgs> mutual_attention_pack;  // before mutual_attention
  Kernel<MutualAttentionArgs> mutual_attention;
  bool (*mutual_codes_available)();  // whether this instruction set multiplies bytes faster than F32
  Kernel<StripMeansArgs> strip_means;
  Kernel<CodedPackArgs> coded_pack;
  Kernel<CodedRoundArgs> coded_round;
  Kernel<CodedMatmulArgs> coded_matmul;
  bool (*bf16_available)();  // whether this processor has the BF16 kernels' dot products
  Kernel<Bf16PackArgs> bf16_pack;
  Kernel<Bf16RoundArgs> bf16_round;
  Kernel<Bf16MatmulArgs> bf16_matmul;
};

#ifdef GS_ISA
namespace GS_ISA {
#define GS_DECLARE_KERNEL(name, Args) \
  int64_t name##_tasks(const Args&);  \
  void name(const Args&, int64_t task, float* scratch)

GS_DECLARE_KERNEL(rms_norm, RmsNormArgs);
GS_DECLARE_KERNEL(rope, RopeArgs);
GS_DECLARE_KERNEL(kv_write, KvWriteArgs);
GS_DECLARE_KERNEL(kv_compress, KvCompressArgs);
GS_DECLARE_KERNEL(kv_bound, KvBoundArgs);
GS_DECLARE_KERNEL(attention_select, AttentionArgs);
int64_t attention_partials_floats(const AttentionArgs&);
GS_DECLARE_KERNEL(attention, AttentionArgs);
GS_DECLARE_KERNEL(attention_merge, AttentionArgs);
GS_DECLARE_KERNEL(gelu_mul, GeluMulArgs);
GS_DECLARE_KERNEL(add, AddArgs);
GS_DECLARE_KERNEL(quantize, QuantizeArgs);
GS_DECLARE_KERNEL(matmul, MatmulArgs);
GS_DECLARE_KERNEL(gated_matmul, GatedMatmulArgs);
GS_DECLARE_KERNEL(panels, PanelsArgs);
GS_DECLARE_KERNEL(shadow_pack, ShadowPackArgs);
GS_DECLARE_KERNEL(screen_round, ScreenRoundArgs);
void screen_factors(const ScreenArgs& args, float* factors);
GS_DECLARE_KERNEL(screen, ScreenArgs);
GS_DECLARE_KERNEL(embed, EmbedArgs);
GS_DECLARE_KERNEL(layer_norm, LayerNormArgs);
GS_DECLARE_KERNEL(add_bias, AddBiasArgs);
GS_DECLARE_KERNEL(average_pool, AveragePoolArgs);
int64_t mutual_attention_bytes(const MutualAttentionArgs&);
GS_DECLARE_KERNEL(mutual_attention_pack, MutualAttentionArgs);
GS_DECLARE_KERNEL(mutual_attention, MutualAttentionArgs);
bool mutual_codes_available();
GS_DECLARE_KERNEL(strip_means, StripMeansArgs);
GS_DECLARE_KERNEL(coded_pack, CodedPackArgs);
GS_DECLARE_KERNEL(coded_round, CodedRoundArgs);
GS_DECLARE_KERNEL(coded_matmul, CodedMatmulArgs);
bool bf16_available();
GS_DECLARE_KERNEL(bf16_pack, Bf16PackArgs);
GS_DECLARE_KERNEL(bf16_round, Bf16RoundArgs);
GS_DECLARE_KERNEL(bf16_matmul, Bf16MatmulArgs);
#undef GS_DECLARE_KERNEL
}  // namespace GS_ISA
#endif

}  // namespace gs
