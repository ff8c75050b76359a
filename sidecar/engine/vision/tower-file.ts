/**
 * The image tower's part of a GGUF file: its shape, and every tensor under one name, compared with that shape.
 *
 * Two kinds of files are read: a projector of its own (llama.cpp's `mmproj`: `clip.vision.*` keys, `v.*` and `mm.*`
 * tensors) and Ollama's single file, which holds text and tower (`gemma3.vision.*` keys, other tensor names). Everything
 * else is refused with a sentence that names the field.
 */
import type { TensorType, WeightSource } from '../backend/tensor.ts';
import type { GgufFile } from '../model/gguf.ts';
import { GgufError, quoted } from '../model/gguf-error.ts';
import type { GgufMetadata } from '../model/gguf-metadata.ts';

export interface TowerConfig {
  /** Pixels on a side of what the tower sees. */
  readonly imageSize: number;
  readonly patchSize: number;
  readonly width: number;
  readonly feedForward: number;
  readonly heads: number;
  readonly layers: number;
  readonly epsilon: number;
  /** Patches on a side of the square that becomes one token. */
  readonly pool: number;
  /** Width of the text model that the projection leads to. */
  readonly textWidth: number;
}

export interface TowerFile {
  readonly config: TowerConfig;
  readonly path: string;
  /** By the names of {@link towerTensors}. */
  weight(name: string): WeightSource;
}

/** Soft tokens that one image becomes. */
export function imageTokens({ imageSize, patchSize, pool }: TowerConfig): number {
  return (imageSize / patchSize / pool) ** 2;
}

/**
 * Bytes that the tower takes while it is loaded: matrices as codes and what those leave over, with a scale for 64 of each
 * (BF16 takes less), vectors and the table of positions in F32, and the activations of one image, with queries, keys and
 * values as codes.
 */
export function towerMemoryBytes(config: TowerConfig): number {
  const { imageSize, patchSize, width, feedForward, textWidth } = config;
  const weights = towerTensors(config).reduce((sum, { name, shape }) => {
    const values = shape.reduce((a, b) => a * b, 1);
    return sum + values * (shape.length === 1 || name === 'v.position_embd.weight' ? 4 : 2 + 8 / 64);
  }, 0);
  const rows = (imageSize / patchSize) ** 2;
  const chunk = Math.min(rows, FEED_FORWARD_ROWS);
  const activations =
    rows * (6 * width + 3 * patchSize * patchSize) +
    chunk * (feedForward + width) +
    imageTokens(config) * textWidth;
  return weights + 4 * activations;
}

/** Rows of the feed-forward at a time: 512 x 4,304 F32 are 8.8 MB, which stay in a last-level cache; all would be 70 MB. */
export const FEED_FORWARD_ROWS = 512;

const MATRIX_TYPES: readonly TensorType[] = ['F32', 'F16', 'BF16', 'Q8_0'];
const LIMITS = { imageSize: 4096, width: 8192, feedForward: 1 << 16, heads: 128, layers: 128, headDim: 256 };

/** Whether the file holds an image tower. */
export function hasTower({ metadata }: Pick<GgufFile, 'metadata'>): boolean {
  return metadata.has('clip.vision.block_count') || metadata.has('gemma3.vision.block_count');
}

/** @throws GgufError for a file without a Gemma 3 image tower, or with a damaged one. */
export function readTowerFile(gguf: GgufFile): TowerFile {
  if (!hasTower(gguf)) {
    throw new GgufError(
      'missing',
      'clip.vision.block_count',
      0,
      'The file holds no image tower (neither clip.vision.block_count nor gemma3.vision.block_count). Choose a Gemma 3 projector (mmproj) file.',
    );
  }
  const single = !gguf.metadata.has('clip.vision.block_count');
  const config = single ? readSingleFile(gguf) : readProjector(gguf);
  const fileName = nameIn(gguf, config, single);
  const weight = (name: string): WeightSource => gguf.weight(fileName(name));
  for (const spec of towerTensors(config)) check(gguf, fileName(spec.name), spec);
  return { config, path: gguf.path, weight };
}

export interface TowerTensor {
  readonly name: string;
  /** Columns first. */
  readonly shape: readonly number[];
}

/** Every tensor of a tower, in the order of the forward pass, in llama.cpp's names. */
export function towerTensors(config: TowerConfig): TowerTensor[] {
  const { width, feedForward, layers, patchSize, imageSize, textWidth } = config;
  const linear = (name: string, columns: number, rows: number): TowerTensor[] => [
    { name: `${name}.weight`, shape: [columns, rows] },
    { name: `${name}.bias`, shape: [rows] },
  ];
  const norm = (name: string): TowerTensor[] => [
    { name: `${name}.weight`, shape: [width] },
    { name: `${name}.bias`, shape: [width] },
  ];
  const blocks = Array.from({ length: layers }, (_, i) => `v.blk.${i}`).flatMap((block) => [
    ...norm(`${block}.ln1`),
    ...linear(`${block}.attn_q`, width, width),
    ...linear(`${block}.attn_k`, width, width),
    ...linear(`${block}.attn_v`, width, width),
    ...linear(`${block}.attn_out`, width, width),
    ...norm(`${block}.ln2`),
    ...linear(`${block}.ffn_up`, width, feedForward),
    ...linear(`${block}.ffn_down`, feedForward, width),
  ]);
  return [
    { name: 'v.patch_embd.weight', shape: [patchSize, patchSize, 3, width] },
    { name: 'v.patch_embd.bias', shape: [width] },
    { name: 'v.position_embd.weight', shape: [width, (imageSize / patchSize) ** 2] },
    ...blocks,
    ...norm('v.post_ln'),
    { name: 'mm.soft_emb_norm.weight', shape: [width] },
    { name: 'mm.input_projection.weight', shape: [textWidth, width] },
  ];
}

function readProjector({ metadata, tensors }: GgufFile): TowerConfig {
  expectText(metadata, 'general.architecture', 'clip');
  expectText(metadata, 'clip.projector_type', 'gemma3');
  const key = (name: string) => `clip.vision.${name}`;
  if (metadata.optionalBoolean('clip.use_gelu') === false) {
    throw unsupported(metadata, 'clip.use_gelu', 'is false; Gemma 3 uses GELU');
  }
  for (const name of ['image_mean', 'image_std'] as const) {
    if (!metadata.has(key(name))) continue;
    const values = Array.from(metadata.floats(key(name)));
    if (values.length !== 3 || values.some((v) => v !== 0.5))
      throw unsupported(metadata, key(name), `is ${values.join(', ')}; Gemma 3's is 0.5, 0.5, 0.5`);
  }
  const projection = tensors.get('mm.input_projection.weight');
  return checked(metadata, key, {
    imageSize: metadata.unsigned(key('image_size')),
    patchSize: metadata.unsigned(key('patch_size')),
    width: metadata.unsigned(key('embedding_length')),
    feedForward: metadata.unsigned(key('feed_forward_length')),
    heads: metadata.unsigned(key('attention.head_count')),
    layers: metadata.unsigned(key('block_count')),
    epsilon: metadata.float(key('attention.layer_norm_epsilon')),
    pool: metadata.optionalUnsigned(key('projector.scale_factor')) ?? 4,
    textWidth: projection?.shape[0] ?? metadata.unsigned(key('projection_dim')),
  });
}

function readSingleFile({ metadata, tensors }: GgufFile): TowerConfig {
  const key = (name: string) => `gemma3.vision.${name}`;
  const imageSize = metadata.unsigned(key('image_size'));
  const patchSize = metadata.unsigned(key('patch_size'));
  const tokens = metadata.optionalUnsigned('gemma3.mm.tokens_per_image') ?? 256;
  return checked(metadata, key, {
    imageSize,
    patchSize,
    width: metadata.unsigned(key('embedding_length')),
    feedForward: metadata.unsigned(key('feed_forward_length')),
    heads: metadata.unsigned(key('attention.head_count')),
    layers: metadata.unsigned(key('block_count')),
    epsilon: metadata.optionalFloat(key('attention.layer_norm_epsilon')) ?? 1e-6,
    pool: Math.round(imageSize / patchSize / Math.sqrt(tokens)),
    textWidth: tensors.get('mm.mm_input_projection.weight')?.shape[0] ?? 0,
  });
}

function checked(metadata: GgufMetadata, key: (name: string) => string, config: TowerConfig): TowerConfig {
  const within = (name: string, value: number, most: number) => {
    if (value < 1 || value > most)
      throw unsupported(metadata, key(name), `is ${value}; this program reads 1 to ${most}`);
  };
  within('image_size', config.imageSize, LIMITS.imageSize);
  within('patch_size', config.patchSize, config.imageSize);
  within('embedding_length', config.width, LIMITS.width);
  within('feed_forward_length', config.feedForward, LIMITS.feedForward);
  within('attention.head_count', config.heads, LIMITS.heads);
  within('block_count', config.layers, LIMITS.layers);
  if (config.imageSize % config.patchSize !== 0)
    throw unsupported(metadata, key('patch_size'), `does not divide the image size of ${config.imageSize}`);
  const side = config.imageSize / config.patchSize;
  if (config.pool < 1 || side % config.pool !== 0)
    throw unsupported(
      metadata,
      key('projector.scale_factor'),
      `of ${config.pool} does not divide ${side} patches`,
    );
  if (config.width % config.heads !== 0 || config.width / config.heads > LIMITS.headDim)
    throw unsupported(
      metadata,
      key('attention.head_count'),
      `of ${config.heads} does not divide ${config.width}`,
    );
  if (!(config.epsilon > 0 && config.epsilon < 1))
    throw unsupported(metadata, key('attention.layer_norm_epsilon'), `is ${config.epsilon}`);
  return config;
}

function expectText(metadata: GgufMetadata, key: string, expected: string): void {
  const value = metadata.string(key);
  if (value !== expected) throw unsupported(metadata, key, `is ${quoted(value)}, not ${quoted(expected)}`);
}

function unsupported(metadata: GgufMetadata, key: string, what: string): GgufError {
  return new GgufError(
    'unsupported',
    key,
    metadata.byteOffset(key),
    `${key} ${what}. Choose a Gemma 3 projector file.`,
  );
}

const SINGLE_FILE_NAMES: readonly (readonly [ours: string, theirs: string])[] = [
  ['v.patch_embd', 'v.patch_embedding'],
  ['v.position_embd', 'v.position_embedding'],
  ['v.post_ln', 'v.post_layernorm'],
  ['.ln1.', '.layer_norm1.'],
  ['.ln2.', '.layer_norm2.'],
  ['.attn_out.', '.attn_output.'],
  ['.ffn_up.', '.mlp.fc1.'],
  ['.ffn_down.', '.mlp.fc2.'],
  ['mm.input_projection', 'mm.mm_input_projection'],
  ['mm.soft_emb_norm', 'mm.mm_soft_emb_norm'],
];

/**
 * From our name to the file's. Oldest projectors call the first feed-forward matrix `ffn_down` and the second `ffn_up`:
 * then `ffn_down` reads rows as wide as the tower, and weights and biases change names.
 */
function nameIn({ tensors }: GgufFile, config: TowerConfig, single: boolean): (name: string) => string {
  if (single) {
    return (name) => {
      const pair = SINGLE_FILE_NAMES.find(([ours]) => name.includes(ours));
      return pair ? name.replace(pair[0], pair[1]) : name;
    };
  }
  const down = tensors.get('v.blk.0.ffn_down.weight')?.shape[0];
  if (down !== config.width || config.width === config.feedForward) return (name) => name;
  return (name) => name.replace(/\.ffn_(up|down)\./, (_, which) => `.ffn_${which === 'up' ? 'down' : 'up'}.`);
}

function check({ tensors }: GgufFile, name: string, { shape }: TowerTensor): void {
  const tensor = tensors.get(name);
  if (tensor === undefined)
    throw new GgufError('missing', name, 0, `The file has no tensor ${name}, which the image tower needs.`);
  const trimmed = (dimensions: readonly number[]) =>
    dimensions.filter((n, i) => n !== 1 || i === 0).join(' x ');
  if (trimmed(tensor.shape) !== trimmed(shape)) {
    throw new GgufError(
      'invalid',
      name,
      tensor.offset,
      `${name} has the shape ${tensor.shape.join(' x ')}; the image tower needs ${shape.join(' x ')}.`,
    );
  }
  if (!MATRIX_TYPES.includes(tensor.type)) {
    throw new GgufError(
      'unsupported',
      name,
      tensor.offset,
      `${name} is ${tensor.type}; image towers are read as ${MATRIX_TYPES.join(', ')}.`,
    );
  }
}
