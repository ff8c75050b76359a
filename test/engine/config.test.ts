/** Configurations of every released size from their metadata, what is filled in, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TensorType } from '../../sidecar/engine/backend/tensor.ts';
import { type Gemma3Config, readGemma3Config, tensorSpecs } from '../../sidecar/engine/model/config.ts';
import type { GgufFile, GgufTensor } from '../../sidecar/engine/model/gguf.ts';
import { GgufError } from '../../sidecar/engine/model/gguf-error.ts';
import type { GgufValue } from '../../sidecar/engine/model/gguf-metadata.ts';
import { metadataOf } from '../support/tokenizer-metadata.ts';

interface Size {
  readonly name: string;
  readonly width: number;
  readonly layers: number;
  readonly globals: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly feedForward: number;
  readonly window: number;
  readonly context: number;
  readonly factor: number;
  readonly scale: number;
}

// arXiv 2503.19786 and the released configurations.
const SIZES: readonly Size[] = [
  {
    name: '270M',
    width: 640,
    layers: 18,
    globals: 3,
    heads: 4,
    kvHeads: 1,
    headDim: 256,
    feedForward: 2048,
    window: 512,
    context: 32_768,
    factor: 1,
    scale: 1 / 16,
  },
  {
    name: '1B',
    width: 1152,
    layers: 26,
    globals: 4,
    heads: 4,
    kvHeads: 1,
    headDim: 256,
    feedForward: 6912,
    window: 512,
    context: 32_768,
    factor: 1,
    scale: 1 / 16,
  },
  {
    name: '4B',
    width: 2560,
    layers: 34,
    globals: 5,
    heads: 8,
    kvHeads: 4,
    headDim: 256,
    feedForward: 10_240,
    window: 1024,
    context: 131_072,
    factor: 8,
    scale: 1 / 16,
  },
  {
    name: '12B',
    width: 3840,
    layers: 48,
    globals: 8,
    heads: 16,
    kvHeads: 8,
    headDim: 256,
    feedForward: 15_360,
    window: 1024,
    context: 131_072,
    factor: 8,
    scale: 1 / 16,
  },
  {
    name: '27B',
    width: 5376,
    layers: 62,
    globals: 10,
    heads: 32,
    kvHeads: 16,
    headDim: 128,
    feedForward: 21_504,
    window: 1024,
    context: 131_072,
    factor: 8,
    scale: 1 / Math.sqrt(168),
  },
];
const SIZE_4B = SIZES[2]!;

const VOCABULARY = 262_144;

for (const size of SIZES) {
  test(`${size.name} from full metadata`, () => {
    const { config, notes } = readGemma3Config(file(size));
    assert.equal(config.width, size.width);
    assert.equal(config.layers.length, size.layers);
    assert.equal(config.layers.filter((kind) => kind === 'global').length, size.globals);
    assert.deepEqual(
      config.layers.flatMap((kind, i) => (kind === 'global' ? [i] : [])),
      Array.from({ length: size.globals }, (_, i) => 6 * i + 5),
    );
    assert.deepEqual(
      [
        config.heads,
        config.kvHeads,
        config.headDim,
        config.feedForward,
        config.window,
        config.trainedContext,
      ],
      [size.heads, size.kvHeads, size.headDim, size.feedForward, size.window, size.context],
    );
    assert.deepEqual(config.rope, {
      local: { base: 1e4, factor: 1 },
      global: { base: 1e6, factor: size.factor },
    });
    assert.equal(config.attentionScale, size.scale);
    assert.equal(config.tiedOutput, true);
    assert.deepEqual(notes, []);
  });

  test(`${size.name} with every optional key missing has the architecture's values, and says so`, () => {
    const missing = [
      'context_length',
      'attention.sliding_window',
      'rope.freq_base',
      'rope.scaling.type',
      'rope.scaling.factor',
      'attention.layer_norm_rms_epsilon',
      'attention.key_length',
      'attention.value_length',
    ];
    const { config, notes } = readGemma3Config(file(size, { without: missing }));
    const full = readGemma3Config(file(size)).config;
    assert.deepEqual(config, full);
    assert.ok(notes.some((note) => note.includes('gemma3.rope.freq_base')));
    assert.ok(notes.some((note) => note.includes('gemma3.attention.sliding_window')));
    assert.equal(
      notes.some((note) => note.includes('gemma3.rope.scaling.factor')),
      size.factor === 8,
    );
  });
}

test('a separate output head is used', () => {
  const withOutput = file(SIZE_4B, { extra: [['output.weight', [2560, VOCABULARY], 'Q6_K']] });
  assert.equal(readGemma3Config(withOutput).config.tiedOutput, false);
});

test("Ollama's single file: vision tensors, its RoPE keys and the stray soft-cap are tolerated", () => {
  const { config, notes } = readGemma3Config(
    file(SIZE_4B, {
      without: ['rope.freq_base'],
      metadata: {
        'gemma3.rope.global.freq_base': f32(1e6),
        'gemma3.rope.local.freq_base': f32(1e4),
        'gemma3.final_logit_softcapping': f32(30),
      },
      extra: [
        ['v.blk.0.attn_q.weight', [1152, 1152], 'F16'],
        ['mm.mm_input_projection.weight', [2560, 1152], 'F16'],
      ],
    }),
  );
  assert.deepEqual(config, readGemma3Config(file(SIZE_4B)).config);
  assert.ok(notes.some((note) => note.includes('final_logit_softcapping = 30')));
  assert.ok(notes.some((note) => note.includes('image tower (2 tensors)')));
});

test('a pattern of booleans or a period says which layers are global', () => {
  const booleans = Uint8Array.from({ length: 34 }, (_, i) => (i % 4 === 3 ? 0 : 1));
  const key = 'gemma3.attention.sliding_window_pattern';
  const fromBooleans = readGemma3Config(
    file(SIZE_4B, { metadata: { [key]: { kind: 'booleans', value: booleans } } }),
  );
  const fromPeriod = readGemma3Config(file(SIZE_4B, { metadata: { [key]: u32(4) } }));
  assert.deepEqual(fromBooleans.config.layers, fromPeriod.config.layers);
  assert.equal(fromPeriod.config.layers[3], 'global');
});

const REFUSED: readonly (readonly [name: string, field: string, options: FileOptions])[] = [
  [
    'another architecture',
    'general.architecture',
    { metadata: { 'general.architecture': { kind: 'string', value: 'llama' } } },
  ],
  ['no layers', 'gemma3.block_count', { metadata: { 'gemma3.block_count': u32(0) } }],
  ['five layers, none of them global', 'gemma3.block_count', { metadata: { 'gemma3.block_count': u32(5) } }],
  ['an absurd width', 'gemma3.embedding_length', { metadata: { 'gemma3.embedding_length': u32(1 << 20) } }],
  [
    'KV heads that do not divide the heads',
    'gemma3.attention.head_count_kv',
    { metadata: { 'gemma3.attention.head_count_kv': u32(3) } },
  ],
  ['a missing key', 'gemma3.feed_forward_length', { without: ['feed_forward_length'] }],
  [
    'value heads of another size',
    'gemma3.attention.value_length',
    { metadata: { 'gemma3.attention.value_length': u32(128) } },
  ],
  [
    'YaRN',
    'gemma3.rope.scaling.type',
    { metadata: { 'gemma3.rope.scaling.type': { kind: 'string', value: 'yarn' } } },
  ],
  [
    'a RoPE factor below one',
    'gemma3.rope.scaling.factor',
    { metadata: { 'gemma3.rope.scaling.factor': f32(0.5) } },
  ],
  [
    'a tensor of another shape',
    'blk.7.ffn_up.weight',
    { extra: [['blk.7.ffn_up.weight', [2560, 10_241], 'Q4_0']] },
  ],
  [
    'a transposed tensor',
    'blk.0.ffn_down.weight',
    { extra: [['blk.0.ffn_down.weight', [2560, 10_240], 'Q4_0']] },
  ],
  ['a quantised norm', 'output_norm.weight', { extra: [['output_norm.weight', [2560], 'Q4_0']] }],
  [
    'a tensor of no Gemma 3',
    'blk.0.ffn_gate_exps.weight',
    { extra: [['blk.0.ffn_gate_exps.weight', [2560, 64], 'Q4_0']] },
  ],
];

for (const [name, field, options] of REFUSED) {
  test(`refuses ${name}, naming ${field}`, () => {
    assert.throws(
      () => readGemma3Config(file(SIZE_4B, options)),
      (error) => error instanceof GgufError && error.field === field && error.message.includes(field),
    );
  });
}

test('refuses a missing tensor by name', () => {
  const gguf = file(SIZE_4B);
  const tensors = new Map(gguf.tensors);
  tensors.delete('blk.33.attn_k_norm.weight');
  assert.throws(
    () => readGemma3Config({ ...gguf, tensors }),
    (error) =>
      error instanceof GgufError &&
      error.problem === 'missing' &&
      error.field === 'blk.33.attn_k_norm.weight',
  );
});

interface FileOptions {
  readonly metadata?: Readonly<Record<string, GgufValue>>;
  readonly without?: readonly string[];
  /** Tensors added or replaced: name, shape, type. */
  readonly extra?: readonly (readonly [string, readonly number[], TensorType])[];
}

function u32(value: number): GgufValue {
  return { kind: 'integer', type: 'u32', value };
}
function f32(value: number): GgufValue {
  return { kind: 'float', type: 'f32', value };
}

/** The header of a file of this size, without its data. */
function file(size: Size, { metadata = {}, without = [], extra = [] }: FileOptions = {}): GgufFile {
  const values: Record<string, GgufValue> = {
    'general.architecture': { kind: 'string', value: 'gemma3' },
    'gemma3.context_length': u32(size.context),
    'gemma3.embedding_length': u32(size.width),
    'gemma3.block_count': u32(size.layers),
    'gemma3.feed_forward_length': u32(size.feedForward),
    'gemma3.attention.head_count': u32(size.heads),
    'gemma3.attention.head_count_kv': u32(size.kvHeads),
    'gemma3.attention.key_length': u32(size.headDim),
    'gemma3.attention.value_length': u32(size.headDim),
    'gemma3.attention.layer_norm_rms_epsilon': { kind: 'float', type: 'f32', value: 1e-6 },
    'gemma3.attention.sliding_window': u32(size.window),
    'gemma3.rope.freq_base': f32(1e6),
    ...(size.factor === 1
      ? {}
      : {
          'gemma3.rope.scaling.type': { kind: 'string', value: 'linear' } as const,
          'gemma3.rope.scaling.factor': f32(size.factor),
        }),
    ...metadata,
  };
  for (const key of without) delete values[`gemma3.${key}`];
  const tensors = new Map<string, GgufTensor>();
  const put = (name: string, shape: readonly number[], type: TensorType) =>
    tensors.set(name, { name, type, shape, offset: 4096, byteLength: 0 });
  for (const { name, shape } of tensorSpecs(shapeOf(size)))
    put(name, shape, shape.length === 1 ? 'F32' : 'Q4_0');
  for (const [name, shape, type] of extra) put(name, shape, type);
  return {
    path: `${size.name}.gguf`,
    fileSize: 1 << 20,
    version: 3,
    alignment: 32,
    dataOffset: 4096,
    metadata: metadataOf(values),
    tensors,
    weight: (name) => assert.fail(`The configuration needs no data, but ${name} was asked for`),
  };
}

function shapeOf(size: Size): Gemma3Config {
  return {
    ...size,
    vocabulary: VOCABULARY,
    layers: Array.from({ length: size.layers }, () => 'local' as const),
    trainedContext: size.context,
    rope: { local: { base: 1, factor: 1 }, global: { base: 1, factor: 1 } },
    attentionScale: size.scale,
    epsilon: 1e-6,
    tiedOutput: true,
  };
}
