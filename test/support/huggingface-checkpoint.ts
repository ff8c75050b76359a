/** Checkpoints as Hugging Face stores Gemma 3, made from a GGUF file's own weights so that the two can be compared. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type GgufFile, readGguf } from '../../sidecar/engine/model/gguf.ts';
import { dequantizeRow } from '../../sidecar/engine/model/quants.ts';
import type { ModelShape } from './tiny-model.ts';
import { BYTE, CONTROL, type TestPiece, USER_DEFINED } from './tokenizer-metadata.ts';

export interface RawTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Writes a safetensors file; `header` may change or replace what is said about the tensors. */
export function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, RawTensor>,
  header: (entries: Record<string, unknown>) => unknown = (entries) => entries,
): void {
  let offset = 0;
  const entries: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  for (const [name, { dtype, shape, bytes }] of tensors) {
    entries[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const json = Buffer.from(JSON.stringify(header(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([length, json, ...[...tensors.values()].map(({ bytes }) => bytes)]));
}

const NAMES: readonly (readonly [gguf: RegExp, huggingFace: string])[] = [
  [/^token_embd$/, 'embed_tokens'],
  [/^output_norm$/, 'norm'],
  [/^blk\.(\d+)\.attn_norm$/, 'layers.$1.input_layernorm'],
  [/^blk\.(\d+)\.attn_output$/, 'layers.$1.self_attn.o_proj'],
  [/^blk\.(\d+)\.attn_([qkv])$/, 'layers.$1.self_attn.$2_proj'],
  [/^blk\.(\d+)\.attn_([qk])_norm$/, 'layers.$1.self_attn.$2_norm'],
  [/^blk\.(\d+)\.post_attention_norm$/, 'layers.$1.post_attention_layernorm'],
  [/^blk\.(\d+)\.ffn_norm$/, 'layers.$1.pre_feedforward_layernorm'],
  [/^blk\.(\d+)\.post_ffw_norm$/, 'layers.$1.post_feedforward_layernorm'],
  [/^blk\.(\d+)\.ffn_(gate|up|down)$/, 'layers.$1.mlp.$2_proj'],
];

/**
 * The weights of an F32, F16 or BF16 GGUF file under Hugging Face's names with `prefix`. Norms lose the 1 that GGUF adds:
 * exact in F32 for values near 1.
 */
export function checkpointTensors(gguf: GgufFile, prefix: string): Map<string, RawTensor> {
  const file = readFileSync(gguf.path);
  const tensors = new Map<string, RawTensor>();
  for (const { name, type, shape, offset, byteLength } of gguf.tensors.values()) {
    const stem = name.replace(/\.weight$/, '');
    const found = NAMES.find(([pattern]) => pattern.test(stem));
    if (found === undefined) throw new Error(`No Hugging Face name for ${name}.`);
    const bytes = new Uint8Array(file.subarray(offset, offset + byteLength));
    tensors.set(`${prefix}${stem.replace(found[0], found[1])}.weight`, {
      dtype: type,
      shape: shape.toReversed(),
      bytes: shape.length === 1 ? lessOne(bytes) : bytes,
    });
  }
  return tensors;
}

function lessOne(bytes: Uint8Array): Uint8Array {
  const values = new Float32Array(bytes.length / 4);
  dequantizeRow('F32', bytes, values);
  return new Uint8Array(values.map((value) => value - 1).buffer);
}

/** Writes the folder: config, tokenizer, and weights in as many `shards` as asked for. */
export function writeCheckpoint(
  folder: string,
  model: string,
  options: {
    readonly prefix: string;
    readonly config: Readonly<Record<string, unknown>>;
    readonly pieces: readonly TestPiece[];
    readonly shards?: number;
    readonly more?: ReadonlyMap<string, RawTensor>;
  },
): void {
  const { prefix, config, pieces, shards = 1, more = new Map<string, RawTensor>() } = options;
  mkdirSync(folder, { recursive: true });
  const write = (name: string, value: unknown): void =>
    writeFileSync(path.join(folder, name), JSON.stringify(value));
  write('config.json', config);
  write('tokenizer.json', tokenizerJson(pieces));
  const tensors = [...checkpointTensors(readGguf(model), prefix), ...more];
  if (shards === 1) {
    writeSafetensors(path.join(folder, 'model.safetensors'), new Map(tensors));
    return;
  }
  const places: Record<string, string> = {};
  for (let shard = 0; shard < shards; shard++) {
    const name = `model-0000${shard + 1}-of-0000${shards}.safetensors`;
    const own = tensors.filter((_, i) => i % shards === shard);
    writeSafetensors(path.join(folder, name), new Map(own));
    for (const [tensor] of own) places[tensor] = name;
  }
  write('model.safetensors.index.json', { metadata: { total_size: 0 }, weight_map: places });
}

/** What transformers writes for a text model of this shape. */
export function textConfig(shape: ModelShape): Record<string, unknown> {
  return {
    architectures: ['Gemma3ForCausalLM'],
    model_type: 'gemma3_text',
    hidden_size: shape.hidden,
    intermediate_size: shape.feedForward,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.headDim,
    query_pre_attn_scalar: shape.headDim,
    sliding_window: shape.window,
    max_position_embeddings: shape.context,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    rope_local_base_freq: 10_000,
    rope_scaling: shape.ropeFactor === 1 ? null : { factor: shape.ropeFactor, rope_type: 'linear' },
    layer_types: Array.from({ length: shape.layers }, (_, i) =>
      (i + 1) % 6 === 0 ? 'full_attention' : 'sliding_attention',
    ),
  };
}

/** Every split of every piece, best score first: how Gemma's own merges were made from its SentencePiece model. */
function tokenizerJson(pieces: readonly TestPiece[]): object {
  const texts = pieces.map(({ text }) => text.toString());
  const known = new Set(texts);
  const words = pieces.flatMap(({ type, score = -1000 }, id) =>
    type === undefined ? [{ text: texts[id]!, score }] : [],
  );
  const merges = words
    .toSorted((a, b) => b.score - a.score)
    .flatMap(({ text }) =>
      Array.from({ length: text.length - 1 }, (_, i) => [text.slice(0, i + 1), text.slice(i + 1)]).filter(
        ([left, right]) => known.has(left!) && known.has(right!),
      ),
    );
  return {
    version: '1.0',
    added_tokens: pieces.flatMap(({ type }, id) =>
      type === CONTROL || type === USER_DEFINED
        ? [{ id, content: texts[id], special: type === CONTROL, normalized: false }]
        : [],
    ),
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: pieces.some(({ type }) => type === BYTE),
      vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
      merges,
    },
  };
}
