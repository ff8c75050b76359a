/**
 * An engine without a model, for tests of what surrounds one: its tokens are UTF-8 bytes, its answers come from a script, and it
 * reads prompts in chunks like the real one. Tests of answers themselves use the real engine.
 */
import type { Engine, EngineOptions, GenerateEvent, GenerateOptions } from '../../sidecar/engine/engine.ts';
import type { SpecialIds, StreamDecoder, Tokenizer } from '../../sidecar/engine/tokenizer/tokenizer.ts';

const BYTES = 256;
const CONTROL = [
  ...['<bos>', '<eos>', '<unk>', '<pad>', '<start_of_turn>', '<end_of_turn>'],
  ...['<start_of_image>', '<end_of_image>'],
];
const special: SpecialIds = {
  bos: BYTES,
  eos: BYTES + 1,
  unknown: BYTES + 2,
  pad: BYTES + 3,
  startOfTurn: BYTES + 4,
  endOfTurn: BYTES + 5,
  startOfImage: BYTES + 6,
  endOfImage: BYTES + 7,
  fim: null,
};

export class ByteTokenizer implements Tokenizer {
  readonly size = BYTES + CONTROL.length;
  readonly special = special;

  encode(text: string): Uint32Array {
    return Uint32Array.from(Buffer.from(text, 'utf8'));
  }

  decode(ids: ArrayLike<number>): string {
    const decoder = this.decoder();
    return Array.from(ids, (id) => decoder.push(id)).join('') + decoder.end();
  }

  decoder(): StreamDecoder {
    const utf8 = new TextDecoder();
    return {
      push: (id) =>
        id < BYTES
          ? utf8.decode(Uint8Array.of(id), { stream: true })
          : utf8.decode() + (CONTROL[id - BYTES] ?? ''),
      end: () => utf8.decode(),
    };
  }

  piece(id: number): string {
    return id < BYTES ? String.fromCharCode(id) : (CONTROL[id - BYTES] ?? '');
  }
}

export interface Script {
  readonly contextLength?: number;
  readonly chunk?: number;
  /** The answer to a prompt, as text. */
  readonly answer?: (prompt: string) => string;
  /** Awaited before each prompt chunk and each token: tests hold the engine here. */
  readonly gate?: () => Promise<void>;
  /** Images are looked at for ever; without it the model cannot see. */
  readonly sees?: boolean;
}

export function scriptedEngine(script: Script = {}, options: Partial<EngineOptions> = {}): Engine {
  const tokenizer = new ByteTokenizer();
  const contextLength = options.contextLength ?? script.contextLength ?? 4096;
  const chunk = script.chunk ?? 256;
  let last: readonly number[] = [];
  async function* generate(
    prompt: ArrayLike<number>,
    { maxTokens, signal }: GenerateOptions,
  ): AsyncGenerator<GenerateEvent, void, void> {
    const ids = Array.from(prompt);
    if (ids.length >= contextLength) throw new Error('scripted engine: context overflow');
    let cached = 0;
    while (cached < Math.min(ids.length - 1, last.length) && ids[cached] === last[cached]) cached++;
    let reason: 'stop' | 'length' | 'context' | 'cancelled' = 'stop';
    let generated = 0;
    let done = cached;
    while (done < ids.length) {
      await script.gate?.();
      if (signal?.aborted) break;
      done = Math.min(ids.length, done + chunk);
      yield { kind: 'prefill', done, total: ids.length, cached };
    }
    last = ids.slice(0, done);
    const answer = tokenizer.encode(script.answer?.(tokenizer.decode(ids)) ?? 'ok');
    for (const id of done < ids.length ? [] : answer) {
      await script.gate?.();
      if (signal?.aborted) break;
      if (generated >= maxTokens) {
        reason = 'length';
        break;
      }
      generated++;
      yield { kind: 'token', id };
    }
    if (signal?.aborted) reason = 'cancelled';
    yield {
      kind: 'end',
      reason,
      promptTokens: ids.length,
      diskTokens: 0,
      miss: null,
      keptTokens: 0,
      cachedTokens: cached,
      draftedTokens: 0,
      acceptedTokens: 0,
      missedAtMost: 0,
      generatedTokens: generated,
      prefillMs: 1,
      decodeMs: 1,
    };
  }
  return {
    model: {
      name: 'scripted',
      path: options.modelPath ?? 'scripted.gguf',
      fileBytes: 0,
      parameters: 0,
      quantisation: 'none',
      trainedContext: contextLength,
    },
    tokenizer,
    contextLength,
    backendDescription: 'script',
    notes: [],
    profile: () => [],
    memory: () => ({ weights: 0, kvReserved: 0, kvUsed: 0, kvParts: [] }),
    lookUp: async (prompt) => {
      let memory = 0;
      while (memory < Math.min(prompt.length, last.length) && prompt[memory] === last[memory]) memory++;
      return { memory, disk: 0 };
    },
    generate,
    logits: () => Promise.reject(new Error('scripted engine: no logits')),
    imageTower: script.sees ? { imageSize: 28, tokens: 4, layers: 27, memoryBytes: 0 } : null,
    imageProblem: script.sees ? null : 'A script cannot see.',
    encodeImage: (_image, { onProgress, signal } = {}) =>
      new Promise((_, reject) => {
        onProgress?.({ phase: 'encoding', layer: 9, layers: 27 });
        signal?.addEventListener('abort', () => reject(signal.reason));
      }),
    dispose: () => Promise.resolve(),
  };
}
