/**
 * Synthetic Gemma 3 models with seeded random weights, of any shape, as GGUF files. They load, time and overflow
 * like the real ones; what they say means nothing.
 */
import { rowBytes, TENSOR_TYPES, type TensorType } from '../../sidecar/engine/backend/tensor.ts';
import type { GgufValue } from '../../sidecar/engine/model/gguf-metadata.ts';
import { type TensorToWrite, writeGguf } from '../../sidecar/engine/model/gguf-writer.ts';
import { quantizeRow } from '../../sidecar/engine/model/quants.ts';
import { seededRandom } from './random.ts';
import { gemmaLikePieces, sentencePieceValues, type TestPiece } from './tokenizer-metadata.ts';

export interface ModelShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly feedForward: number;
  /** Sliding window of the local layers, in positions. */
  readonly window: number;
  readonly context: number;
  readonly vocabulary: number;
  /** Linear RoPE factor of the global layers; 1 writes no scaling keys. */
  readonly ropeFactor: number;
}

export const MODEL_SHAPES = {
  nano: {
    hidden: 256,
    layers: 6,
    heads: 2,
    kvHeads: 1,
    headDim: 128,
    feedForward: 768,
    window: 64,
    context: 8192,
    vocabulary: 2048,
    ropeFactor: 1,
  },
  '270m': {
    hidden: 640,
    layers: 18,
    heads: 4,
    kvHeads: 1,
    headDim: 256,
    feedForward: 2048,
    window: 512,
    context: 32_768,
    vocabulary: 262_144,
    ropeFactor: 1,
  },
  '1b': {
    hidden: 1152,
    layers: 26,
    heads: 4,
    kvHeads: 1,
    headDim: 256,
    feedForward: 6912,
    window: 512,
    context: 32_768,
    vocabulary: 262_144,
    ropeFactor: 1,
  },
  '4b': {
    hidden: 2560,
    layers: 34,
    heads: 8,
    kvHeads: 4,
    headDim: 256,
    feedForward: 10_240,
    window: 1024,
    context: 131_072,
    vocabulary: 262_144,
    ropeFactor: 8,
  },
} as const satisfies Record<string, ModelShape>;

export interface TinyModelOptions {
  /** Default: nano. */
  readonly shape?: ModelShape;
  /** Type of the linear layers. Default: Q4_0. */
  readonly body?: TensorType;
  /** Type of token_embd.weight. Default: F16, as in Google's QAT files. */
  readonly embedding?: TensorType;
  /** Pieces of the vocabulary, at most `shape.vocabulary`; the rest is filled. Default: Gemma-like with seeded words. */
  readonly pieces?: readonly TestPiece[];
  /** Added to the metadata, or replacing it. */
  readonly metadata?: Readonly<Record<string, GgufValue>>;
  /** Keys to leave out. */
  readonly without?: readonly string[];
  /**
   * Mean weight of the norms behind attention and feed-forward: how much a layer adds to the residual stream. At 1 (the
   * default) every layer adds as much as the embedding holds, and rounding errors grow faster than in a trained model.
   */
  readonly branchScale?: number;
  readonly seed?: number;
}

/** Values are made, quantised and written in pieces of about this many. */
const PIECE_VALUES = 1 << 18;
const POOL_VALUES = 1 << 17;

/** Writes the model to `path`. Memory stays at a few megabytes (plus the vocabulary) whatever the shape. */
export function writeTinyModel(path: string, options: TinyModelOptions = {}): void {
  const { shape = MODEL_SHAPES.nano, seed = 1, without = [] } = options;
  const metadata = Object.fromEntries(
    Object.entries({
      ...architectureValues(shape),
      ...sentencePieceValues(
        filled(options.pieces ?? seededPieces(shape.vocabulary, seed), shape.vocabulary),
      ),
      'tokenizer.ggml.add_bos_token': { kind: 'boolean', value: true } as const,
      ...options.metadata,
    }).filter(([key]) => !without.includes(key)),
  );
  writeGguf(path, metadata, modelTensors(shape, options, seed));
}

function u32(value: number): GgufValue {
  return { kind: 'integer', type: 'u32', value };
}
function f32(value: number): GgufValue {
  return { kind: 'float', type: 'f32', value };
}

function architectureValues(shape: ModelShape): Record<string, GgufValue> {
  return {
    'general.architecture': { kind: 'string', value: 'gemma3' },
    'general.name': { kind: 'string', value: 'synthetic' },
    'gemma3.context_length': u32(shape.context),
    'gemma3.embedding_length': u32(shape.hidden),
    'gemma3.block_count': u32(shape.layers),
    'gemma3.feed_forward_length': u32(shape.feedForward),
    'gemma3.attention.head_count': u32(shape.heads),
    'gemma3.attention.head_count_kv': u32(shape.kvHeads),
    'gemma3.attention.key_length': u32(shape.headDim),
    'gemma3.attention.value_length': u32(shape.headDim),
    'gemma3.attention.layer_norm_rms_epsilon': f32(1e-6),
    'gemma3.attention.sliding_window': u32(shape.window),
    'gemma3.rope.freq_base': f32(1e6),
    ...(shape.ropeFactor === 1
      ? {}
      : {
          'gemma3.rope.scaling.type': { kind: 'string', value: 'linear' } as const,
          'gemma3.rope.scaling.factor': f32(shape.ropeFactor),
        }),
  };
}

const SYLLABLES = [
  'the',
  're',
  'turn',
  'func',
  'tion',
  'con',
  'st',
  'ing',
  'er',
  'al',
  'get',
  'set',
  'in',
  'de',
  'x',
];

/** Gemma-like pieces, every ASCII character, then seeded words with and without a space before them. */
export function seededPieces(size: number, seed: number): TestPiece[] {
  const random = seededRandom(seed);
  const characters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const words = new Set(['▁', ...characters, ...characters.map((c) => `▁${c}`)]);
  const room = Math.min(size, 4096) - gemmaLikePieces([]).length;
  // Every prefix of a word is a piece too, so that merging can reach it.
  while (words.size < room) {
    let word = random() < 0.5 ? '▁' : '';
    for (let n = 1 + Math.floor(random() * 3); n > 0; n--) {
      word += SYLLABLES[Math.floor(random() * SYLLABLES.length)]!;
    }
    for (let end = 2; end <= word.length && words.size < room; end++) words.add(word.slice(0, end));
  }
  return gemmaLikePieces([...words].slice(0, Math.max(0, room)));
}

function filled(pieces: readonly TestPiece[], size: number): TestPiece[] {
  if (pieces.length > size) throw new RangeError(`${pieces.length} pieces do not fit into ${size} rows`);
  return [
    ...pieces,
    ...Array.from({ length: size - pieces.length }, (_, i) => ({ text: `<filler${i}>`, score: -1e6 - i })),
  ];
}

function modelTensors(
  shape: ModelShape,
  { body = 'Q4_0', embedding = 'F16', branchScale = 1 }: TinyModelOptions,
  seed: number,
): TensorToWrite[] {
  const tensors: TensorToWrite[] = [];
  const matrix = (name: string, type: TensorType, rows: number, columns: number): void => {
    const tensorSeed = seed * 7919 + tensors.length;
    tensors.push({
      name,
      type,
      shape: [columns, rows],
      data: () => matrixPieces(type, rows, columns, tensorSeed),
    });
  };
  const vector = (name: string, length: number, mean = 1): void => {
    const random = seededRandom(seed * 7919 + tensors.length);
    const values = Float32Array.from({ length }, () => mean * (1 + 0.1 * (random() - 0.5)));
    const bytes = new Uint8Array(values.buffer);
    tensors.push({ name, type: 'F32', shape: [length], data: () => [bytes] });
  };
  const { hidden, heads, kvHeads, headDim, feedForward } = shape;
  matrix('token_embd.weight', embedding, shape.vocabulary, hidden);
  vector('output_norm.weight', hidden);
  for (let layer = 0; layer < shape.layers; layer++) {
    const block = `blk.${layer}`;
    vector(`${block}.attn_norm.weight`, hidden);
    matrix(`${block}.attn_q.weight`, body, heads * headDim, hidden);
    matrix(`${block}.attn_k.weight`, body, kvHeads * headDim, hidden);
    matrix(`${block}.attn_v.weight`, body, kvHeads * headDim, hidden);
    vector(`${block}.attn_q_norm.weight`, headDim);
    vector(`${block}.attn_k_norm.weight`, headDim);
    matrix(`${block}.attn_output.weight`, body, hidden, heads * headDim);
    vector(`${block}.post_attention_norm.weight`, hidden, branchScale);
    vector(`${block}.ffn_norm.weight`, hidden);
    matrix(`${block}.ffn_gate.weight`, body, feedForward, hidden);
    matrix(`${block}.ffn_up.weight`, body, feedForward, hidden);
    matrix(`${block}.ffn_down.weight`, body, hidden, feedForward);
    vector(`${block}.post_ffw_norm.weight`, hidden, branchScale);
  }
  return tensors;
}

/**
 * Rows with mean 0 and standard deviation 1/sqrt(columns). Each row is drawn, block by block, from a pool of
 * quantised random blocks: that takes a copy instead of a quantisation per value, so a 4B shape takes seconds.
 */
export function* matrixPieces(
  type: TensorType,
  rows: number,
  columns: number,
  seed: number,
): Generator<Uint8Array> {
  const random = seededRandom(seed);
  // A uniform variable on [-a, a] has standard deviation a / sqrt(3).
  const amplitude = Math.sqrt(3 / columns);
  const values = Float32Array.from({ length: POOL_VALUES }, () => (2 * random() - 1) * amplitude);
  const pool = new Uint8Array(rowBytes(type, POOL_VALUES));
  quantizeRow(type, values, pool);

  const unit = rowBytes(type, Math.max(32, TENSOR_TYPES[type].blockSize));
  const units = pool.length / unit;
  const rowsAtOnce = Math.max(1, Math.floor(PIECE_VALUES / columns));
  for (let row = 0; row < rows; row += rowsAtOnce) {
    const bytes = new Uint8Array(Math.min(rowsAtOnce, rows - row) * rowBytes(type, columns));
    for (let at = 0; at < bytes.length; at += unit) {
      const from = Math.floor(random() * units) * unit;
      for (let i = 0; i < unit; i++) bytes[at + i] = pool[from + i]!;
    }
    yield bytes;
  }
}
