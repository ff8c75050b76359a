/** The image tower as the engine holds it: loaded at the first image, dropped when idle. */
import { createHash } from 'node:crypto';
import { availableMemory } from './available-memory.ts';
import { type Backend, OutOfMemory } from './backend/backend.ts';
import type { Errand } from './scheduler.ts';
import { unlessAborted } from './unless-aborted.ts';
import type { ImageEmbedding } from './vision/prompt-image.ts';
import { letterboxed, resize } from './vision/resize.ts';
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

export interface EncodeRequest {
  readonly letterbox: boolean;
  readonly onProgress: (progress: EncodeProgress) => void;
  readonly signal: AbortSignal;
}

export class ImageEncoder {
  readonly file: TowerFile;
  readonly #backend: Backend;
  readonly #runPass: (errand: Errand, signal: AbortSignal) => Promise<void>;
  #tower: Tower | null = null;
  #idle: NodeJS.Timeout | null = null;
  /** One image after another: they share the tower and its memory. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    file: TowerFile,
    backend: Backend,
    runPass: (errand: Errand, signal: AbortSignal) => Promise<void>,
  ) {
    this.file = file;
    this.#backend = backend;
    this.#runPass = runPass;
  }

  /** Rejects with OutOfMemory, or with the signal's reason as soon as it fires. */
  encode(image: RgbImage, request: EncodeRequest): Promise<ImageEmbedding> {
    request.onProgress({ phase: 'waiting', layer: 0, layers: this.file.config.layers });
    const result = this.#last.then(() => this.#encode(image, request));
    this.#last = result.catch(() => {});
    return unlessAborted(result, request.signal);
  }

  async dispose(): Promise<void> {
    await this.#last;
    this.#drop();
  }

  async #encode(image: RgbImage, { letterbox, onProgress, signal }: EncodeRequest): Promise<ImageEmbedding> {
    signal.throwIfAborted();
    if (this.#idle !== null) clearTimeout(this.#idle);
    const { config } = this.file;
    const { imageSize, layers } = config;
    try {
      const sized = letterbox ? letterboxed(image, imageSize) : resize(image, imageSize, imageSize);
      if (this.#tower === null) {
        onProgress({ phase: 'loading', layer: 0, layers });
        this.#requireMemory();
        this.#tower = await Tower.load(this.file, this.#backend, signal);
      }
      const run: RunPass = (record, finish) => this.#runPass({ record, ...(finish && { finish }) }, signal);
      const onLayer = (layer: number) => onProgress({ phase: 'encoding', layer, layers });
      const values = await this.#tower.encode(sized, run, onLayer);
      return { key: this.key(image, letterbox), tokens: imageTokens(config), values };
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      this.#idle = setTimeout(() => this.#drop(), IDLE_MS).unref();
    }
  }

  /** Names pixels, recipe and tower together. */
  key(image: RgbImage, letterbox: boolean): string {
    const recipe = `${imageId(image)} ${letterbox ? 'letterbox' : 'stretch'} ${RECIPE} ${this.file.digest}`;
    return createHash('sha256').update(recipe).digest('hex');
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
