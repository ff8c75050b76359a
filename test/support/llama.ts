/** llama.cpp through node-llama-cpp: what it expects after a list of tokens, to compare our engine with. */
import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';

export interface LlamaOptions {
  readonly contextSize: number;
  readonly threads?: number;
  /** Tokens of one batch. Default: 512. */
  readonly batchSize?: number;
  readonly flashAttention?: boolean;
  /** What its KV cache holds; default F16. */
  readonly kv?: 'F16' | 'Q8_0';
}

export interface LlamaModel {
  /** Next-token log-probabilities after `ids`, F64 `[vocabulary]`, always from an empty cache. */
  logProbabilities(ids: readonly number[]): Promise<Float64Array>;
  /**
   * Milliseconds to read `prompt` without an answer, and then for `tokens` steps of greedy generation. `continued` leaves
   * what was read and said before in the cache and goes on behind it.
   */
  time(
    prompt: readonly number[],
    tokens: number,
    continued?: boolean,
  ): Promise<{ prefillMs: number; decodeMs: number }>;
  dispose(): Promise<void>;
}

/** The prebuilt CPU binary that comes with the package: nothing is downloaded or compiled. */
export async function loadLlama(modelPath: string, options: LlamaOptions): Promise<LlamaModel> {
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
    ...(options.threads !== undefined && { maxThreads: options.threads }),
  });
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: options.contextSize,
    batchSize: options.batchSize ?? 512,
    flashAttention: options.flashAttention ?? true,
    ...(options.kv !== undefined && {
      experimentalKvCacheKeyType: options.kv,
      experimentalKvCacheValueType: options.kv,
    }),
    ...(options.threads !== undefined && { threads: { ideal: options.threads, min: options.threads } }),
  });
  const sequence = context.getSequence({ checkpoints: { max: 0, interval: false } });
  return {
    async logProbabilities(ids) {
      await sequence.clearHistory();
      const [last, ...before] = ids.toReversed() as Token[];
      if (before.length > 0) await sequence.evaluateWithoutGeneratingNewTokens(before.toReversed());
      const [output] = await sequence.controlledEvaluate([[last!, { generateNext: { logits: true } }]]);
      const logits = output?.next.logits;
      if (logits === undefined) throw new Error('llama.cpp gave no logits.');
      return logSoftmax(logits);
    },
    async time(prompt, tokens, continued = false) {
      if (!continued) await sequence.clearHistory();
      const started = performance.now();
      await sequence.evaluateWithoutGeneratingNewTokens(prompt as Token[]);
      const read = performance.now();
      if (tokens === 0) return { prefillMs: read - started, decodeMs: 0 };
      let left = tokens;
      for await (const _ of sequence.evaluate([prompt[0]! as Token], { temperature: 0 })) {
        left--;
        if (left === 0) break;
      }
      return { prefillMs: read - started, decodeMs: performance.now() - read };
    },
    async dispose() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}

function logSoftmax(logits: ReadonlyMap<Token, number>): Float64Array {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of logits.values()) most = Math.max(most, value);
  let sum = 0;
  for (const value of logits.values()) sum += Math.exp(value - most);
  const result = new Float64Array(logits.size);
  for (const [token, value] of logits) result[token] = value - most - Math.log(sum);
  return result;
}
