/** The image tower as the engine holds it: loaded at the first image that is not on disk, dropped when idle. */
import { createHash } from 'node:crypto';
import { availableMemory } from './available-memory.ts';
import { type Backend, OutOfMemory } from './backend/backend.ts';
import type { Errand } from './scheduler.ts';
import { unlessAborted } from './unless-aborted.ts';
import type { EmbeddingStore } from './vision/embedding-store.ts';
import type { ImageEmbedding } from './vision/prompt-image.ts';
import { letterboxed, resizeInTurns } from './vision/resize.ts';
import { imageId, type RgbImage } from './vision/rgb-image.ts';
import { type RunPass, Tower } from './vision/tower.ts';
import { imageTokens, type TowerFile, towerMemoryBytes } from './vision/tower-file.ts';

/** Raised when the same pixels would give other values. */
const RECIPE = 1;
/** The weights of a 4B model's tower take 0.9 GB. */
const IDLE_MS = 60_000;

export interface EncodeProgress {
  /** waiting: behind other images or more urgent work; loading: the tower's weights. */
  readonly phase: 'waiting' | 'loading' | 'encoding';
  /** Layers that are done, of how many. */
  readonly layer: number;
  readonly layers: number;
}

export interface EncodedEmbedding extends ImageEmbedding {
  /** It was on disk: nothing was computed. */
  readonly cached: boolean;
}

export interface EncoderOptions {
  readonly file: TowerFile;
  readonly backend: Backend;
  readonly runPass: (errand: Errand, signal: AbortSignal) => Promise<void>;
  /** Where embeddings are kept; null keeps none. */
  readonly store: EmbeddingStore | null;
  /** SHA-256 of the tower's file. */
  readonly digest: (signal: AbortSignal) => Promise<string>;
  /** Milliseconds without an image after which the weights are dropped. Default: a minute. */
  readonly idleMs?: number;
}

export interface EncodeRequest {
  readonly letterbox: boolean;
  readonly onProgress: (progress: EncodeProgress) => void;
  readonly signal: AbortSignal;
}

export class ImageEncoder {
  readonly file: TowerFile;
  readonly #backend: Backend;
  readonly #runPass: EncoderOptions['runPass'];
  readonly #store: EmbeddingStore | null;
  readonly #digest: EncoderOptions['digest'];
  readonly #idleMs: number;
  #knownDigest: string | null = null;
  #tower: Tower | null = null;
  #idle: NodeJS.Timeout | null = null;
  /** One image after another: they share the tower and its memory. */
  #last: Promise<unknown> = Promise.resolve();

  constructor({ file, backend, runPass, store, digest, idleMs = IDLE_MS }: EncoderOptions) {
    this.#idleMs = idleMs;
    this.file = file;
    this.#backend = backend;
    this.#runPass = runPass;
    this.#store = store;
    this.#digest = digest;
  }

  /** Rejects with OutOfMemory, or with the signal's reason as soon as it fires. */
  encode(image: RgbImage, request: EncodeRequest): Promise<EncodedEmbedding> {
    request.onProgress({ phase: 'waiting', layer: 0, layers: this.file.config.layers });
    const result = this.#last.then(() => this.#encode(image, request));
    this.#last = result.catch(() => {});
    return unlessAborted(result, request.signal);
  }

  async dispose(): Promise<void> {
    await this.#last;
    this.#drop();
  }

  async #encode(image: RgbImage, request: EncodeRequest): Promise<EncodedEmbedding> {
    const { signal } = request;
    signal.throwIfAborted();
    const key = await this.#key(image, request);
    const stored = (await this.#store?.get(key)) ?? null;
    if (stored !== null && stored.tokens === imageTokens(this.file.config))
      return { ...stored, cached: true };
    const values = await this.#compute(image, request);
    const embedding = { key, tokens: imageTokens(this.file.config), values };
    await this.#store?.put(embedding);
    return { ...embedding, cached: false };
  }

  async #compute(image: RgbImage, { letterbox, onProgress, signal }: EncodeRequest): Promise<Float32Array> {
    signal.throwIfAborted();
    if (this.#idle !== null) clearTimeout(this.#idle);
    const { config } = this.file;
    const { imageSize, layers } = config;
    try {
      const sized = letterbox
        ? letterboxed(image, imageSize)
        : await resizeInTurns(image, imageSize, imageSize, signal);
      if (this.#tower === null) {
        onProgress({ phase: 'loading', layer: 0, layers });
        this.#requireMemory();
        this.#tower = await Tower.load(this.file, this.#backend, signal);
      }
      const run: RunPass = (record, finish) => this.#runPass({ record, ...(finish && { finish }) }, signal);
      const onLayer = (layer: number) => onProgress({ phase: 'encoding', layer, layers });
      return await this.#tower.encode(sized, run, onLayer);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      this.#idle = setTimeout(() => this.#drop(), this.#idleMs).unref();
    }
  }

  /** Names pixels, recipe, tower and arithmetic together: equal keys, equal values. */
  async #key(image: RgbImage, { letterbox, signal }: EncodeRequest): Promise<string> {
    this.#knownDigest ??= await this.#digest(signal);
    const recipe = [
      imageId(image),
      letterbox ? 'letterbox' : 'stretch',
      RECIPE,
      this.#knownDigest,
      this.#backend.numerics,
    ];
    return createHash('sha256').update(recipe.join(' ')).digest('hex');
  }

  #requireMemory(): void {
    const needed = towerMemoryBytes(this.file.config);
    const available = availableMemory();
    if (needed <= available) return;
    const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
    throw new OutOfMemory(
      `Not enough memory to read images: the image tower needs ${gib(needed)}, but only ${gib(available)} is free. Close other programs, or choose a shorter context.`,
    );
  }

  #drop(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#tower?.dispose();
    this.#tower = null;
  }
}
