/** A Gemma 3 model's weights on a backend. */
import type { Backend, Matrix, Vector } from '../backend/backend.ts';
import { shadowBytes } from '../backend/tensor.ts';
import { type Gemma3Config, tensorSpecs } from './config.ts';
import type { GgufFile } from './gguf.ts';

export interface LayerWeights {
  readonly attentionNorm: Vector;
  readonly query: Matrix;
  readonly key: Matrix;
  readonly value: Matrix;
  readonly queryNorm: Vector;
  readonly keyNorm: Vector;
  readonly attentionOutput: Matrix;
  readonly postAttentionNorm: Vector;
  readonly feedForwardNorm: Vector;
  readonly gate: Matrix;
  readonly up: Matrix;
  readonly down: Matrix;
  readonly postFeedForwardNorm: Vector;
}

export interface Gemma3Weights {
  readonly embedding: Matrix;
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: Vector;
  /** The embedding itself where the two are tied. */
  readonly head: Matrix;
}

export interface LoadWeightsOptions {
  /** Bytes loaded over all bytes, in [0, 1]. */
  readonly onProgress?: (fraction: number) => void;
  readonly signal?: AbortSignal;
}

/** Loads every tensor of the text model. Rejects with the signal's reason between two tensors, or with the backend's error. */
export async function loadGemma3Weights(
  backend: Backend,
  gguf: GgufFile,
  config: Gemma3Config,
  { onProgress, signal }: LoadWeightsOptions = {},
): Promise<Gemma3Weights> {
  const total = weightBytes(gguf, config);
  const matrices = new Map<string, Matrix>();
  const vectors = new Map<string, Vector>();
  let done = 0;
  // All at once: the backend packs one after the other without waiting for this thread in between.
  await Promise.all(
    tensorSpecs(config).map(async ({ name, shape }) => {
      signal?.throwIfAborted();
      const source = gguf.weight(name);
      if (shape.length === 1) vectors.set(name, await backend.loadVector(source));
      else matrices.set(name, await backend.loadMatrix(source));
      signal?.throwIfAborted();
      done += source.data.byteLength;
      onProgress?.(done / total);
    }),
  );
  const matrix = (name: string) => found(matrices, `${name}.weight`);
  const vector = (name: string) => found(vectors, `${name}.weight`);
  const embedding = matrix('token_embd');
  return {
    embedding,
    layers: config.layers.map((_, i) => ({
      attentionNorm: vector(`blk.${i}.attn_norm`),
      query: matrix(`blk.${i}.attn_q`),
      key: matrix(`blk.${i}.attn_k`),
      value: matrix(`blk.${i}.attn_v`),
      queryNorm: vector(`blk.${i}.attn_q_norm`),
      keyNorm: vector(`blk.${i}.attn_k_norm`),
      attentionOutput: matrix(`blk.${i}.attn_output`),
      postAttentionNorm: vector(`blk.${i}.post_attention_norm`),
      feedForwardNorm: vector(`blk.${i}.ffn_norm`),
      gate: matrix(`blk.${i}.ffn_gate`),
      up: matrix(`blk.${i}.ffn_up`),
      down: matrix(`blk.${i}.ffn_down`),
      postFeedForwardNorm: vector(`blk.${i}.post_ffw_norm`),
    })),
    outputNorm: vector('output_norm'),
    head: config.tiedOutput ? embedding : matrix('output'),
  };
}

/** Bytes of the text model's tensors in the file. */
export function weightBytes(gguf: GgufFile, config: Gemma3Config): number {
  return tensorSpecs(config).reduce((sum, { name }) => sum + gguf.weight(name).data.byteLength, 0);
}

/** Bytes of the output matrix's shadow; 0 where it would not pay. */
export function headShadowBytes(gguf: GgufFile, config: Gemma3Config): number {
  const { type, rows, columns } = gguf.weight(config.tiedOutput ? 'token_embd.weight' : 'output.weight');
  return shadowBytes(type, rows, columns);
}

/** Number of values in the text model's tensors. */
export function parameterCount(config: Gemma3Config): number {
  return tensorSpecs(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

function found<T>(map: ReadonlyMap<string, T>, name: string): T {
  const value = map.get(name);
  if (value === undefined) throw new Error(`Tensor ${name} was not loaded.`);
  return value;
}
