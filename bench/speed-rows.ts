/** What `speed.ts` can measure. */
import type { TensorType } from '../sidecar/engine/backend/tensor.ts';

export type ShapeName = '1b' | '4b';

export interface Row {
  readonly title: string;
  /** What is measured: tokens a second of a prompt or of an answer, seconds to the first token, bytes resident. */
  readonly kind: 'prefill' | 'decode' | 'first-token' | 'memory' | 'instruction-sets' | 'avx2' | 'edit';
  readonly shape: ShapeName;
  readonly body?: TensorType;
  readonly embedding: TensorType;
  readonly prompt?: number;
  readonly generate?: number;
  /** Tokens in the cache before the prompt. */
  readonly depth?: number;
  /** What the KV cache holds; int8 meets llama.cpp's Q8_0. */
  readonly kv?: 'int8';
  /** Only when named: it takes minutes. */
  readonly long?: boolean;
}

const Q4 = { embedding: 'Q4_0' } as const;
/** By the name that the command line takes. */
export const ROWS: Readonly<Record<string, Row>> = {
  'prefill-1b': { title: 'Prefill 512, 1B', kind: 'prefill', shape: '1b', ...Q4, prompt: 512 },
  'prefill-4b': { title: 'Prefill 512, 4B', kind: 'prefill', shape: '4b', ...Q4, prompt: 512 },
  'prefill-depth-1b': {
    title: 'Prefill 512 at depth 8,192, 1B',
    kind: 'prefill',
    shape: '1b',
    ...Q4,
    prompt: 512,
    depth: 8192,
    long: true,
  },
  'decode-f16-1b': {
    title: 'Decode, 1B, F16 embedding',
    kind: 'decode',
    shape: '1b',
    embedding: 'F16',
    prompt: 16,
    generate: 64,
  },
  'decode-1b': {
    title: 'Decode, 1B, all Q4_0',
    kind: 'decode',
    shape: '1b',
    ...Q4,
    prompt: 16,
    generate: 64,
  },
  'decode-4b': {
    title: 'Decode, 4B, all Q4_0',
    kind: 'decode',
    shape: '4b',
    ...Q4,
    prompt: 16,
    generate: 32,
  },
  'decode-depth-1b': {
    title: 'Decode at depth 32,000, 1B, F16 KV',
    kind: 'decode',
    shape: '1b',
    ...Q4,
    prompt: 16,
    generate: 32,
    depth: 32_000,
    long: true,
  },
  'decode-depth-int8-1b': {
    title: 'Decode at depth 32,000, 1B, int8 KV',
    kind: 'decode',
    shape: '1b',
    ...Q4,
    prompt: 16,
    generate: 32,
    depth: 32_000,
    kv: 'int8',
    long: true,
  },
  'edit-4b': {
    title: 'Decode of a code edit, 4B, with drafts',
    kind: 'edit',
    shape: '4b',
    ...Q4,
    long: true,
  },
  'first-token-1b': { title: 'First token from process start, 1B', kind: 'first-token', shape: '1b', ...Q4 },
  'first-token-4b': { title: 'First token from process start, 4B', kind: 'first-token', shape: '4b', ...Q4 },
  'memory-4b': { title: 'Resident memory, 4B, context 8,192', kind: 'memory', shape: '4b', ...Q4 },
  'instruction-sets': {
    title: 'Prefill 64, 1B, by instruction set',
    kind: 'instruction-sets',
    shape: '1b',
    ...Q4,
    prompt: 64,
  },
  'avx2-1b': {
    title: 'Prefill 512, 1B, both with AVX2',
    kind: 'avx2',
    shape: '1b',
    ...Q4,
    prompt: 512,
  },
  ...rowsOfTypes('1b', ['Q8_0', 'Q4_1', 'Q5_0', 'F16'], 32),
  // Rows of 256-value blocks do not fit 1B's width of 1,152.
  ...rowsOfTypes('4b', ['Q4_K', 'Q6_K'], 16),
};

/** A prompt and an answer of `generate` tokens with all matrices of one type. */
function rowsOfTypes(shape: ShapeName, types: readonly TensorType[], generate: number): Record<string, Row> {
  const rows: Record<string, Row> = {};
  for (const type of types) {
    const common = { shape, body: type, embedding: type, long: true } as const;
    const name = `${shape.toUpperCase()}, all ${type}`;
    rows[`prefill-${type}-${shape}`] = {
      ...common,
      title: `Prefill 512, ${name}`,
      kind: 'prefill',
      prompt: 512,
    };
    rows[`decode-${type}-${shape}`] = {
      ...common,
      title: `Decode, ${name}`,
      kind: 'decode',
      prompt: 16,
      generate,
    };
  }
  return rows;
}
