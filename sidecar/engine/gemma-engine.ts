/** The engine: a loaded model, a backend, a KV cache and a scheduler behind one interface. */
import { randomInt } from 'node:crypto';
import type { Backend, OperationTime } from './backend/backend.ts';
import {
  ContextOverflow,
  type EncodeImageOptions,
  type Engine,
  type EngineMemory,
  type GenerateEvent,
  type GenerateOptions,
  type ImageTower,
  type ModelDescription,
  NoImageTower,
} from './engine.ts';
import { EventQueue } from './event-queue.ts';
import { type EncodedEmbedding, type EncoderOptions, ImageEncoder } from './image-encoder.ts';
import type { KvCache } from './kv/kv-cache.ts';
import type { KvStore } from './kv/store/kv-store.ts';
import type { Gemma3 } from './model/gemma3.ts';
import type { OpenedTower } from './open-tower.ts';
import { GEMMA_SAMPLING, PENALTY_SPAN, Sampler } from './sampler/sampler.ts';
import { Scheduler } from './scheduler.ts';
import type { WorkReport } from './sequence.ts';
import type { Speculation } from './speculation/speculation.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';
import { imageIds, type PromptImage } from './vision/prompt-image.ts';
import type { RgbImage } from './vision/rgb-image.ts';
import { imageTokens, towerMemoryBytes } from './vision/tower-file.ts';

/** What a model file becomes when it is loaded: all that an engine is made of. */
export interface EngineParts {
  readonly tower: OpenedTower;
  readonly description: ModelDescription;
  readonly tokenizer: Tokenizer;
  readonly contextLength: number;
  readonly notes: readonly string[];
  readonly backend: Backend;
  readonly model: Gemma3;
  readonly kv: KvCache;
  readonly speculation: Speculation | null;
  readonly store: KvStore | null;
  /** Where what became of images is kept on disk, and what names the tower. */
  readonly imageCache: Pick<EncoderOptions, 'store' | 'digest'>;
  readonly accelerated: Promise<void>;
}

export class GemmaEngine implements Engine {
  readonly model: ModelDescription;
  readonly tokenizer: Tokenizer;
  readonly contextLength: number;
  readonly backendDescription: string;
  readonly notes: readonly string[];
  readonly imageProblem: string | null;
  /** Resolves when all that makes it faster is in place, somewhat after loading; results do not depend on it. */
  readonly accelerated: Promise<void>;
  readonly #backend: Backend;
  readonly #model: Gemma3;
  readonly #kv: KvCache;
  readonly #store: KvStore | null;
  readonly #scheduler: Scheduler;
  readonly #encoder: ImageEncoder | null;
  readonly #speculation: Speculation | null;
  #disposing: Promise<void> | null = null;

  constructor({
    tower,
    description,
    tokenizer,
    contextLength,
    notes,
    backend,
    model,
    kv,
    speculation,
    store,
    imageCache,
    accelerated,
  }: EngineParts) {
    this.model = description;
    this.tokenizer = tokenizer;
    this.contextLength = contextLength;
    this.backendDescription = backend.description;
    this.notes = notes;
    this.accelerated = accelerated;
    this.#backend = backend;
    this.#model = model;
    this.#kv = kv;
    this.#store = store;
    this.#scheduler = new Scheduler(backend, model, kv);
    this.imageProblem = tower.problem;
    this.#encoder =
      tower.file &&
      new ImageEncoder({
        file: tower.file,
        backend,
        runPass: (errand, signal) => this.#scheduler.runPass(errand, signal),
        ...imageCache,
      });
    this.#speculation = speculation;
  }

  get imageTower(): ImageTower | null {
    if (this.#encoder === null) return null;
    const { config } = this.#encoder.file;
    return {
      imageSize: config.imageSize,
      tokens: imageTokens(config),
      layers: config.layers,
      memoryBytes: towerMemoryBytes(config),
    };
  }

  async encodeImage(
    image: RgbImage,
    {
      letterbox = false,
      onProgress = () => {},
      signal = new AbortController().signal,
    }: EncodeImageOptions = {},
  ): Promise<EncodedEmbedding> {
    if (this.#encoder === null) throw new NoImageTower(this.imageProblem ?? undefined);
    return this.#encoder.encode(image, { letterbox, onProgress, signal });
  }

  profile(): readonly OperationTime[] {
    return this.#backend.profile();
  }

  memory(): EngineMemory {
    const { reserved, used, parts } = this.#kv.memory();
    const { weights } = this.#backend.memory();
    return { weights, kvReserved: reserved, kvUsed: used, kvParts: parts };
  }

  lookUp(prompt: ArrayLike<number>): Promise<{ readonly memory: number; readonly disk: number }> {
    // As `generate` does: the last token is read for its logits.
    return this.#kv.lookUp(Uint32Array.from(prompt), prompt.length - 1);
  }

  async *generate(
    prompt: ArrayLike<number>,
    options: GenerateOptions,
  ): AsyncGenerator<GenerateEvent, void, void> {
    const images = options.images ?? [];
    const ids = this.#checked(prompt, images);
    if (ids.length >= this.contextLength) throw new ContextOverflow(ids.length, this.contextLength);
    const most = Math.min(checkedCount(options.maxTokens), this.contextLength - ids.length);
    const stops = new Set(options.stopIds);
    const sampler = new Sampler({
      ...GEMMA_SAMPLING,
      seed: randomInt(2 ** 32),
      ...options.sampling,
    });
    const events = new EventQueue<GenerateEvent>();
    const abandoned = new AbortController();
    const generated: number[] = [];
    let stopped = false;
    events.push({ kind: 'waiting' });
    const priority = options.priority ?? 'chat';
    // Drafts are copied from the prompt or made by a text model: neither knows what stands for an image.
    const speculation = images.length > 0 ? null : this.#speculation;
    const drafter = speculation?.begin(ids, priority === 'chat') ?? null;
    const report = this.#scheduler.run({
      prompt: ids,
      images,
      priority,
      drafter,
      mostToAppend: () => most - generated.length,
      // A completion's prompt is overtaken by the next key stroke.
      onDisk: priority !== 'completion',
      keepAt: (options.keepAt ?? []).filter((n) => n > 0 && n <= ids.length),
      firstLogits: ids.length - 1,
      onRead: (done, cached) => events.push({ kind: 'prefill', done, total: ids.length, cached }),
      request: (draft) => sampler.request(mayBeRecent(ids, generated, draft), this.#model.config.vocabulary),
      onLogits: (_, logits) => {
        if (generated.length >= most) return null;
        const id = sampler.next(logits, recentTokens(ids, generated));
        stopped = stops.has(id);
        if (stopped) return null;
        generated.push(id);
        events.push({ kind: 'token', id });
        return generated.length < most ? id : null;
      },
      signal: options.signal ? AbortSignal.any([options.signal, abandoned.signal]) : abandoned.signal,
    });
    report.then(
      (work) => {
        drafter?.end();
        const reason = stopped ? 'stop' : most < options.maxTokens ? 'context' : 'length';
        events.push(endEvent(work, work.cancelled ? 'cancelled' : reason, ids.length, generated.length));
        events.close();
      },
      (error: unknown) => {
        drafter?.end();
        events.fail(error);
      },
    );
    try {
      yield* events;
    } finally {
      // Whoever stops listening does not want the rest.
      abandoned.abort();
    }
  }

  async logits(
    prompt: ArrayLike<number>,
    last = 1,
    signal?: AbortSignal,
    images: readonly PromptImage[] = [],
  ): Promise<Float32Array> {
    const ids = this.#checked(prompt, images);
    if (!Number.isInteger(last) || last < 1 || last > ids.length) {
      throw new RangeError(`Logits of the last ${last} of ${ids.length} tokens do not exist.`);
    }
    const vocabulary = this.#model.config.vocabulary;
    const all = new Float32Array(last * vocabulary);
    const first = ids.length - last;
    const keep = (index: number, row: Float32Array) => all.set(row, (index - first) * vocabulary);
    await this.#scan(ids, first, keep, signal, images);
    return all;
  }

  /**
   * Natural logarithms of the probabilities of `ids[from]`, `ids[from + 1]`, ..., each after all ids before it.
   * Throws ContextOverflow, or RangeError unless 1 <= from < ids.length.
   */
  async logProbabilities(ids: ArrayLike<number>, from: number, signal?: AbortSignal): Promise<Float64Array> {
    const checked = this.#checked(ids);
    if (!Number.isInteger(from) || from < 1 || from >= checked.length) {
      throw new RangeError(`The probability of token ${from} of ${checked.length} does not exist.`);
    }
    const result = new Float64Array(checked.length - from);
    // The last token has no successor here.
    const prompt = checked.subarray(0, -1);
    await this.#scan(
      prompt,
      from - 1,
      (index, row) => {
        result[index + 1 - from] = row[checked[index + 1]!]! - logSumExp(row);
      },
      signal,
    );
    return result;
  }

  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    await this.#scheduler.dispose();
    await this.#encoder?.dispose();
    this.#speculation?.dispose();
    await this.#store?.close();
    this.#kv.dispose();
    this.#model.dispose();
    this.#backend.dispose();
  }

  /** Calls `onRow` with the logits after each token from `first`. */
  async #scan(
    ids: Uint32Array,
    first: number,
    onRow: (index: number, row: Float32Array) => void,
    signal: AbortSignal = new AbortController().signal,
    images: readonly PromptImage[] = [],
  ): Promise<void> {
    if (ids.length > this.contextLength) throw new ContextOverflow(ids.length, this.contextLength);
    const { cancelled } = await this.#scheduler.run({
      prompt: ids,
      images,
      priority: 'background',
      onDisk: false,
      keepAt: [],
      firstLogits: first,
      drafter: null,
      mostToAppend: () => 0,
      onRead: () => {},
      request: () => null,
      onLogits: (index, row) => {
        if (row instanceof Float32Array) onRow(index, row);
        return null;
      },
      signal,
    });
    if (cancelled) signal.throwIfAborted();
  }

  #checked(given: ArrayLike<number>, images: readonly PromptImage[] = []): Uint32Array {
    const { vocabulary } = this.#model.config;
    const ids = Uint32Array.from(given);
    const isImage = this.#imagePositions(ids, images);
    if (ids.length === 0)
      throw new RangeError('The prompt is empty; it needs at least one token, such as <bos>.');
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (isImage[i] === 1) continue;
      if (id !== given[i] || !Number.isInteger(id) || id < 0 || id >= vocabulary) {
        throw new RangeError(
          `Token ${i} of the prompt is ${id}; the vocabulary has ids 0 to ${vocabulary - 1}.`,
        );
      }
    }
    return ids;
  }

  /** 1 at every position of an image. Throws RangeError for images that are not where the ids say. */
  #imagePositions(ids: Uint32Array, images: readonly PromptImage[]): Uint8Array {
    const isImage = new Uint8Array(ids.length);
    let free = 0;
    for (const { position, embedding } of images) {
      const end = position + embedding.tokens;
      const expected = imageIds(embedding);
      if (position < free || end >= ids.length || expected.some((id, i) => ids[position + i] !== id))
        throw new RangeError(`The prompt has no image at position ${position}, with text behind it.`);
      if (embedding.values.length !== embedding.tokens * this.#model.config.width)
        throw new RangeError('The image was encoded for another model.');
      isImage.fill(1, position, end);
      free = end;
    }
    return isImage;
  }
}

function checkedCount(maxTokens: number): number {
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    throw new RangeError(`maxTokens is ${maxTokens}; it must be a whole number of at least 1.`);
  }
  return maxTokens;
}

/** As many tokens as the repetition penalty looks back on. */
function recentTokens(prompt: Uint32Array, generated: readonly number[]): Uint32Array {
  const fromGenerated = generated.slice(-PENALTY_SPAN);
  const fromPrompt = prompt.subarray(Math.max(0, prompt.length - PENALTY_SPAN + fromGenerated.length));
  const recent = new Uint32Array(fromPrompt.length + fromGenerated.length);
  recent.set(fromPrompt);
  recent.set(fromGenerated, fromPrompt.length);
  return recent;
}

/** What {@link recentTokens} holds now or after some of the draft. */
function mayBeRecent(prompt: Uint32Array, generated: readonly number[], draft: Uint32Array): Uint32Array {
  const recent = recentTokens(prompt, generated);
  const all = new Uint32Array(recent.length + draft.length);
  all.set(recent);
  all.set(draft, recent.length);
  return all;
}

function endEvent(
  {
    cachedTokens,
    reuse,
    keptTokens,
    prefillMs,
    decodeMs,
    draftedTokens,
    acceptedTokens,
    missedAtMost,
  }: WorkReport,
  reason: 'stop' | 'length' | 'context' | 'cancelled',
  promptTokens: number,
  generatedTokens: number,
): GenerateEvent {
  return {
    kind: 'end',
    reason,
    promptTokens,
    cachedTokens,
    diskTokens: reuse.disk,
    miss: reuse.miss,
    keptTokens,
    generatedTokens,
    prefillMs,
    decodeMs,
    draftedTokens,
    acceptedTokens,
    missedAtMost,
  };
}

export function logSumExp(logits: Float32Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > most) most = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - most);
  return most + Math.log(sum);
}
