/**
 * The shape of a Gemma 3 text model, read from GGUF metadata and compared with every tensor of the file.
 *
 * Values that a file leaves out are filled in by Gemma 3's architecture (arXiv 2503.19786), each with a note; other
 * programs' silent defaults (a global RoPE base of 10,000, no scaling) would load and answer nonsense.
 */
import { TENSOR_TYPES, type TensorType } from '../backend/tensor.ts';
import type { GgufFile, GgufTensor } from './gguf.ts';
import { GgufError, quoted } from './gguf-error.ts';
import type { GgufMetadata } from './gguf-metadata.ts';

export type LayerKind = 'local' | 'global';

export interface Gemma3Config {
  /** Width of the residual stream. */
  readonly width: number;
  readonly feedForward: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabulary: number;
  /** Positions that a local layer attends to, self included. */
  readonly window: number;
  /** One entry a layer. */
  readonly layers: readonly LayerKind[];
  readonly trainedContext: number;
  readonly rope: Readonly<Record<LayerKind, RopeConfig>>;
  /** Multiplies q.k before the softmax. */
  readonly attentionScale: number;
  readonly epsilon: number;
  /** Whether the output head is the embedding. */
  readonly tiedOutput: boolean;
}

export interface RopeConfig {
  readonly base: number;
  /** Divides positions. */
  readonly factor: number;
}

export interface ReadConfig {
  readonly config: Gemma3Config;
  /** Sentences about what was filled in or ignored. */
  readonly notes: readonly string[];
}

/** What the released sizes have in common with no key of their own, by number of layers. */
interface KnownSize {
  readonly name: string;
  readonly window: number;
  readonly factor: number;
  readonly trainedContext: number;
}
const KNOWN_SIZES: ReadonlyMap<number, KnownSize> = new Map([
  [18, { name: '270M', window: 512, factor: 1, trainedContext: 32_768 }],
  [26, { name: '1B', window: 512, factor: 1, trainedContext: 32_768 }],
  [34, { name: '4B', window: 1024, factor: 8, trainedContext: 131_072 }],
  [48, { name: '12B', window: 1024, factor: 8, trainedContext: 131_072 }],
  [62, { name: '27B', window: 1024, factor: 8, trainedContext: 131_072 }],
]);

const GLOBAL_BASE = 1e6;
const LOCAL_BASE = 1e4;
const EPSILON = 1e-6;
/** Every sixth layer is global. */
const PERIOD = 6;
/** The 27B model scales by width / heads instead of the head dimension. */
const LAYERS_OF_27B = 62;

const LIMITS = {
  layers: 256,
  width: 1 << 15,
  feedForward: 1 << 17,
  heads: 256,
  headDim: 512,
  vocabulary: 1 << 20,
  context: 1 << 22,
} as const;

/** Vectors are read as F32; what a file stores them as. */
const VECTOR_TYPES: readonly TensorType[] = ['F32', 'F16', 'BF16'];
const MATRIX_TYPES = Object.keys(TENSOR_TYPES) as TensorType[];

/** Tensors of an image tower inside a text file, as Ollama's single files have them. */
const VISION_TENSOR = /^(v|mm)\./;

/**
 * Reads and validates the configuration of a Gemma 3 file.
 *
 * @throws GgufError that names the key or tensor, for anything that is not a Gemma 3 text model.
 */
export function readGemma3Config(gguf: Pick<GgufFile, 'metadata' | 'tensors'>): ReadConfig {
  const notes: string[] = [];
  const reader = new ConfigReader(gguf.metadata, notes);
  const config = reader.read(gguf.tensors);
  checkTensors(gguf.tensors, config, notes);
  return { config, notes };
}

export interface TensorSpec {
  readonly name: string;
  /** As in the file: columns first. */
  readonly shape: readonly number[];
  readonly types: readonly TensorType[];
}

/** Every tensor that the text model needs, in the order of the forward pass. */
export function tensorSpecs(config: Gemma3Config): TensorSpec[] {
  const { width, feedForward, heads, kvHeads, headDim, vocabulary } = config;
  const matrix = (name: string, columns: number, rows: number): TensorSpec => ({
    name: `${name}.weight`,
    shape: [columns, rows],
    types: MATRIX_TYPES,
  });
  const vector = (name: string, length: number): TensorSpec => ({
    name: `${name}.weight`,
    shape: [length],
    types: VECTOR_TYPES,
  });
  const layer = (block: string): TensorSpec[] => [
    vector(`${block}.attn_norm`, width),
    matrix(`${block}.attn_q`, width, heads * headDim),
    matrix(`${block}.attn_k`, width, kvHeads * headDim),
    matrix(`${block}.attn_v`, width, kvHeads * headDim),
    vector(`${block}.attn_q_norm`, headDim),
    vector(`${block}.attn_k_norm`, headDim),
    matrix(`${block}.attn_output`, heads * headDim, width),
    vector(`${block}.post_attention_norm`, width),
    vector(`${block}.ffn_norm`, width),
    matrix(`${block}.ffn_gate`, width, feedForward),
    matrix(`${block}.ffn_up`, width, feedForward),
    matrix(`${block}.ffn_down`, feedForward, width),
    vector(`${block}.post_ffw_norm`, width),
  ];
  return [
    matrix('token_embd', width, vocabulary),
    ...config.layers.flatMap((_, i) => layer(`blk.${i}`)),
    vector('output_norm', width),
    ...(config.tiedOutput ? [] : [matrix('output', width, vocabulary)]),
  ];
}

function checkTensors(tensors: ReadonlyMap<string, GgufTensor>, config: Gemma3Config, notes: string[]): void {
  const specs = tensorSpecs(config);
  for (const { name, shape, types } of specs) {
    const tensor = tensors.get(name);
    if (tensor === undefined) {
      throw new GgufError(
        'missing',
        name,
        0,
        `The file has no tensor ${name}, which a Gemma 3 model of this shape needs.`,
      );
    }
    if (tensor.shape.length !== shape.length || tensor.shape.some((d, i) => d !== shape[i])) {
      throw new GgufError(
        'invalid',
        name,
        tensor.offset,
        `${name} has the shape [${tensor.shape.join(', ')}]; the metadata asks for [${shape.join(', ')}].`,
      );
    }
    if (!types.includes(tensor.type)) {
      throw new GgufError(
        'unsupported',
        name,
        tensor.offset,
        `${name} has type ${tensor.type}; it must be one of ${types.join(', ')}.`,
      );
    }
  }
  const expected = new Set(specs.map(({ name }) => name));
  const others = [...tensors.keys()].filter((name) => !expected.has(name));
  const foreign = others.find((name) => !VISION_TENSOR.test(name));
  if (foreign !== undefined) {
    throw new GgufError(
      'unsupported',
      foreign,
      tensors.get(foreign)?.offset ?? 0,
      `The file has a tensor ${quoted(foreign)} that no Gemma 3 text model has.`,
    );
  }
  if (others.length > 0)
    notes.push(`The file also holds an image tower (${others.length} tensors), which is not read.`);
}

/** Reads keys with the prefix of the architecture, bounds them, and fills in what is missing. */
class ConfigReader {
  readonly #metadata: GgufMetadata;
  readonly #notes: string[];

  constructor(metadata: GgufMetadata, notes: string[]) {
    this.#metadata = metadata;
    this.#notes = notes;
  }

  read(tensors: ReadonlyMap<string, GgufTensor>): Gemma3Config {
    this.#checkArchitecture();
    const width = this.#count('embedding_length', LIMITS.width);
    const layerCount = this.#count('block_count', LIMITS.layers);
    const heads = this.#count('attention.head_count', LIMITS.heads);
    const kvHeads = this.#count('attention.head_count_kv', heads);
    if (heads % kvHeads !== 0) {
      this.#refuse(
        'attention.head_count_kv',
        `is ${kvHeads}, which does not divide the ${heads} query heads`,
      );
    }
    const known = KNOWN_SIZES.get(layerCount);
    const headDim = this.#headDim(tensors);
    this.#ignoreSoftcap();
    return {
      width,
      feedForward: this.#count('feed_forward_length', LIMITS.feedForward),
      heads,
      kvHeads,
      headDim,
      vocabulary: this.#vocabulary(tensors),
      window: this.#filled('attention.sliding_window', LIMITS.context, known?.window, known?.name),
      layers: this.#layers(layerCount),
      trainedContext: this.#filled('context_length', LIMITS.context, known?.trainedContext, known?.name),
      rope: {
        local: { base: this.#base(['rope.freq_base_swa', 'rope.local.freq_base'], LOCAL_BASE), factor: 1 },
        global: {
          base: this.#base(['rope.freq_base', 'rope.global.freq_base'], GLOBAL_BASE),
          factor: this.#ropeFactor(known),
        },
      },
      attentionScale: 1 / Math.sqrt(layerCount === LAYERS_OF_27B ? width / heads : headDim),
      epsilon: this.#epsilon(),
      tiedOutput: !tensors.has('output.weight'),
    };
  }

  #key(name: string): string {
    return `gemma3.${name}`;
  }

  #refuse(name: string, problem: string): never {
    const key = this.#key(name);
    const at = this.#metadata.byteOffset(key);
    throw new GgufError('invalid', key, at, `${key} ${problem} (byte ${at}).`);
  }

  #checkArchitecture(): void {
    const key = 'general.architecture';
    const architecture = this.#metadata.string(key);
    if (architecture !== 'gemma3') {
      throw new GgufError(
        'unsupported',
        key,
        this.#metadata.byteOffset(key),
        `${key} is ${quoted(architecture)}; only Gemma 3 text models ("gemma3") are read. Choose a Gemma 3 file in GGUF format.`,
      );
    }
  }

  #bounded(name: string, value: number, most: number): number {
    if (value < 1 || value > most) this.#refuse(name, `is ${value}; it must be from 1 to ${most}`);
    return value;
  }

  #count(name: string, most: number): number {
    return this.#bounded(name, this.#metadata.unsigned(this.#key(name)), most);
  }

  #filled(name: string, most: number, fallback: number | undefined, size: string | undefined): number {
    const key = this.#key(name);
    if (fallback === undefined || this.#metadata.has(key)) return this.#count(name, most);
    this.#notes.push(`The file lacks ${key}; took ${fallback} as Gemma 3 ${size} has it.`);
    return fallback;
  }

  /** From the metadata, or the length of the first QK-norm. */
  #headDim(tensors: ReadonlyMap<string, GgufTensor>): number {
    const norm = tensors.get('blk.0.attn_q_norm.weight')?.shape[0];
    const key = this.#key('attention.key_length');
    const headDim = this.#metadata.optionalUnsigned(key) ?? norm ?? this.#metadata.unsigned(key);
    this.#bounded('attention.key_length', headDim, LIMITS.headDim);
    if (headDim % 16 !== 0) this.#refuse('attention.key_length', `is ${headDim}, not a multiple of 16`);
    for (const same of ['attention.value_length', 'rope.dimension_count']) {
      const value = this.#metadata.optionalUnsigned(this.#key(same)) ?? headDim;
      if (value !== headDim) this.#refuse(same, `is ${value}, but heads have ${headDim} dimensions`);
    }
    return headDim;
  }

  #vocabulary(tensors: ReadonlyMap<string, GgufTensor>): number {
    const embedding = tensors.get('token_embd.weight');
    if (embedding === undefined) {
      throw new GgufError(
        'missing',
        'token_embd.weight',
        0,
        'The file has no tensor token_embd.weight, which is needed.',
      );
    }
    const rows = embedding.shape[1] ?? 1;
    if (rows > LIMITS.vocabulary) {
      throw new GgufError(
        'invalid',
        embedding.name,
        embedding.offset,
        `token_embd.weight has ${rows} rows; at most ${LIMITS.vocabulary} are allowed.`,
      );
    }
    return rows;
  }

  /** A period, or one boolean a layer (true: sliding window). */
  #layers(count: number): LayerKind[] {
    const name = 'attention.sliding_window_pattern';
    const key = this.#key(name);
    if (this.#metadata.get(key)?.kind === 'booleans') {
      const local = this.#metadata.booleans(key);
      if (local.length !== count) this.#refuse(name, `has ${local.length} entries for ${count} layers`);
      return this.#withBoth(local.map((isLocal) => (isLocal ? 'local' : 'global')));
    }
    const period = this.#metadata.has(key) ? this.#count(name, LIMITS.layers) : PERIOD;
    return this.#withBoth(
      Array.from({ length: count }, (_, i) => ((i + 1) % period === 0 ? 'global' : 'local')),
    );
  }

  #withBoth(layers: LayerKind[]): LayerKind[] {
    for (const kind of ['local', 'global'] as const) {
      if (!layers.includes(kind))
        this.#refuse('block_count', `is ${layers.length}, which leaves no ${kind} layer`);
    }
    return layers;
  }

  #base(names: readonly string[], fallback: number): number {
    const name = names.find((n) => this.#metadata.has(this.#key(n)));
    if (name === undefined) {
      if (fallback === GLOBAL_BASE) {
        this.#notes.push(`The file lacks ${this.#key(names[0]!)}; took ${fallback} as every Gemma 3 has it.`);
      }
      return fallback;
    }
    const base = this.#metadata.float(this.#key(name));
    if (base < 1 || base > 1e9) this.#refuse(name, `is ${base}; it must be from 1 to 1e9`);
    return base;
  }

  #ropeFactor(known: KnownSize | undefined): number {
    const type = this.#metadata.optionalString(this.#key('rope.scaling.type'));
    if (type !== undefined && type !== 'linear' && type !== 'none') {
      this.#refuse('rope.scaling.type', `is ${quoted(type)}; Gemma 3 scales linearly`);
    }
    if (type === 'none') return 1;
    const name = 'rope.scaling.factor';
    const factor = this.#metadata.optionalFloat(this.#key(name));
    if (factor === undefined) {
      const filled = known?.factor ?? 1;
      if (filled !== 1) {
        this.#notes.push(
          `The file lacks ${this.#key(name)}; took ${filled} as Gemma 3 ${known?.name} has it.`,
        );
      }
      return filled;
    }
    if (factor < 1 || factor > 1024) this.#refuse(name, `is ${factor}; it must be from 1 to 1024`);
    return factor;
  }

  #epsilon(): number {
    const name = 'attention.layer_norm_rms_epsilon';
    const epsilon = this.#metadata.optionalFloat(this.#key(name)) ?? EPSILON;
    if (!(epsilon > 0 && epsilon < 0.1))
      this.#refuse(name, `is ${epsilon}; it must be a small positive number`);
    return epsilon;
  }

  /** Gemma 2 had one; some Gemma 3 files carry its value by mistake. */
  #ignoreSoftcap(): void {
    const key = this.#key('final_logit_softcapping');
    const cap = this.#metadata.optionalFloat(key) ?? 0;
    if (cap !== 0) this.#notes.push(`Ignored ${key} = ${cap}: Gemma 3 has no soft-capping.`);
  }
}
