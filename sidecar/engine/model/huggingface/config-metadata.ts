/**
 * `config.json` of Gemma3ForCausalLM, or the `text_config` of Gemma3ForConditionalGeneration, as GGUF metadata. What the
 * file leaves out has the default of Gemma3TextConfig in Hugging Face's transformers, which saves only differences.
 */
import { quoted } from '../gguf-error.ts';
import type { GgufValue } from '../gguf-metadata.ts';
import { asObject, CheckpointError, isObject, type JsonObject } from './json-file.ts';

const DEFAULTS = {
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  rope_local_base_freq: 1e4,
  query_pre_attn_scalar: 256,
} as const;

/** Every sixth layer is global, unless the file says otherwise. */
const PERIOD = 6;
const LAYER_TYPES = ['sliding_attention', 'full_attention'];
/** The 27B model scales queries by width / heads instead of the head dimension; GGUF readers know it by its layers. */
const LAYERS_OF_27B = 62;

export interface TextConfig {
  readonly metadata: Readonly<Record<string, GgufValue>>;
  readonly layers: number;
  readonly tiedOutput: boolean;
}

/** @throws CheckpointError for another architecture, or for what a GGUF file of Gemma 3 cannot say. */
export function configMetadata(config: JsonObject, file: string): TextConfig {
  return new ConfigMetadata(config, file).read();
}

class ConfigMetadata {
  readonly #file: string;
  readonly #outer: JsonObject;
  readonly #text: JsonObject;

  constructor(config: JsonObject, file: string) {
    this.#file = file;
    const { text_config: text } = config;
    this.#outer = config;
    this.#text = isObject(text) ? text : config;
  }

  read(): TextConfig {
    this.#checkModelType();
    const layers = this.#count('num_hidden_layers');
    const width = this.#count('hidden_size');
    const heads = this.#count('num_attention_heads', DEFAULTS.num_attention_heads);
    const headDim = this.#count('head_dim', DEFAULTS.head_dim);
    this.#checkAttentionScale(layers === LAYERS_OF_27B ? width / heads : headDim);
    const bases = this.#ropeBases();
    const { tie_word_embeddings: tied } = { ...this.#text, ...this.#outer };
    return {
      layers,
      tiedOutput: tied !== false,
      metadata: {
        'general.architecture': { kind: 'string', value: 'gemma3' },
        'gemma3.context_length': u32(
          this.#count('max_position_embeddings', DEFAULTS.max_position_embeddings),
        ),
        'gemma3.embedding_length': u32(width),
        'gemma3.block_count': u32(layers),
        'gemma3.feed_forward_length': u32(this.#count('intermediate_size')),
        'gemma3.attention.head_count': u32(heads),
        'gemma3.attention.head_count_kv': u32(
          this.#count('num_key_value_heads', DEFAULTS.num_key_value_heads),
        ),
        'gemma3.attention.key_length': u32(headDim),
        'gemma3.attention.value_length': u32(headDim),
        'gemma3.attention.layer_norm_rms_epsilon': f32(this.#number('rms_norm_eps', DEFAULTS.rms_norm_eps)),
        'gemma3.attention.sliding_window': u32(this.#count('sliding_window')),
        ...this.#pattern(layers),
        'gemma3.rope.freq_base': f32(bases.global),
        'gemma3.rope.freq_base_swa': f32(bases.local),
        ...this.#scaling(),
      },
    };
  }

  #refuse(name: string, problem: string): never {
    throw new CheckpointError('unsupported', this.#file, `has ${name} ${problem}.`);
  }

  #checkModelType(): void {
    const { model_type: type } = this.#text;
    if (type !== 'gemma3_text' && type !== 'gemma3') {
      throw new CheckpointError(
        'unsupported',
        this.#file,
        `describes a model of type ${quoted(String(type))}; only Gemma 3 ("gemma3_text", "gemma3") is converted.`,
      );
    }
  }

  #number(name: string, fallback?: number): number {
    const value = this.#text[name] ?? fallback;
    if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value)) {
      this.#refuse(name, `${quoted(String(value))}, where a positive number is needed`);
    }
    return value;
  }

  #count(name: string, fallback?: number): number {
    const value = this.#number(name, fallback);
    if (!Number.isInteger(value) || value >= 2 ** 32) this.#refuse(name, `${value}, not a whole number`);
    return value;
  }

  #checkAttentionScale(expected: number): void {
    const name = 'query_pre_attn_scalar';
    const scalar = this.#number(name, DEFAULTS.query_pre_attn_scalar);
    if (scalar !== expected) this.#refuse(name, `${scalar}; a GGUF file of this shape means ${expected}`);
  }

  /** Written only where layers are not global one in six. */
  #pattern(layers: number): Readonly<Record<string, GgufValue>> {
    const key = 'gemma3.attention.sliding_window_pattern';
    const { layer_types: types } = this.#text;
    if (types === undefined) {
      const period = this.#count('sliding_window_pattern', PERIOD);
      return period === PERIOD ? {} : { [key]: u32(period) };
    }
    if (!Array.isArray(types) || types.length !== layers || !types.every((t) => LAYER_TYPES.includes(t))) {
      this.#refuse('layer_types', `that are not ${layers} times ${LAYER_TYPES.join(' or ')}`);
    }
    const local = types.map((type) => type === 'sliding_attention');
    if (local.every((isLocal, i) => isLocal === ((i + 1) % PERIOD !== 0))) return {};
    return { [key]: { kind: 'booleans', value: Uint8Array.from(local, Number) } };
  }

  /** `rope_parameters` holds one object a class of layer since transformers 5. */
  #ropeOf(layerType: string): JsonObject {
    const { rope_parameters: parameters } = this.#text;
    return asObject(asObject(parameters)[layerType]);
  }

  #ropeBases(): { readonly local: number; readonly global: number } {
    const base = (layerType: string, name: 'rope_theta' | 'rope_local_base_freq'): number => {
      const { rope_theta: value } = this.#ropeOf(layerType);
      return typeof value === 'number' ? value : this.#number(name, DEFAULTS[name]);
    };
    return {
      local: base('sliding_attention', 'rope_local_base_freq'),
      global: base('full_attention', 'rope_theta'),
    };
  }

  #scaling(): Readonly<Record<string, GgufValue>> {
    const { rope_scaling: scaling } = this.#text;
    const declared = isObject(scaling) ? scaling : this.#ropeOf('full_attention');
    const { factor, type: oldType, rope_type: type = oldType ?? 'default' } = declared;
    if (type === 'default') return {};
    if (type !== 'linear' || typeof factor !== 'number' || !(factor >= 1)) {
      this.#refuse('a RoPE scaling', `of type ${quoted(String(type))}; Gemma 3 scales linearly, by a factor`);
    }
    return {
      'gemma3.rope.scaling.type': { kind: 'string', value: 'linear' },
      'gemma3.rope.scaling.factor': f32(factor),
    };
  }
}

function u32(value: number): GgufValue {
  return { kind: 'integer', type: 'u32', value };
}
function f32(value: number): GgufValue {
  return { kind: 'float', type: 'f32', value };
}
