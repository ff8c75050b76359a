/** The image tower as the engine holds it: loaded at the first image, dropped when idle. */
import { createHash } from 'node:crypto';
import type { Backend, Pass } from '../backend/backend.ts';
import type { ImageEmbedding } from './prompt-image.ts';
import { letterboxed, resize } from './resize.ts';
import { imageId, type RgbImage } from './rgb-image.ts';
import { Tower } from './tower.ts';
import { imageTokens, type TowerFile } from './tower-file.ts';

/** Raised when the same pixels would give other values. */
const RECIPE = 1;
/** The weights of a 4B model's tower take 0.9 GB. */
const IDLE_MS = 60_000;

export class ImageEncoder {
  readonly file: TowerFile;
  readonly #backend: Backend;
  readonly #runPass: (record: (pass: Pass) => void, signal: AbortSignal) => Promise<void>;
  #tower: Promise<Tower> | null = null;
  #idle: NodeJS.Timeout | null = null;
  /** One image after another: they share the tower and its memory. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    file: TowerFile,
    backend: Backend,
    runPass: (record: (pass: Pass) => void, signal: AbortSignal) => Promise<void>,
  ) {
    this.file = file;
    this.#backend = backend;
    this.#runPass = runPass;
  }

  /** Rejects with the signal's reason. */
  encode(
    image: RgbImage,
    letterbox: boolean,
    onLayer: (done: number, layers: number) => void,
    signal: AbortSignal,
  ): Promise<ImageEmbedding> {
    const result = this.#last.then(() => this.#encode(image, letterbox, onLayer, signal));
    this.#last = result.catch(() => {});
    return result;
  }

  async dispose(): Promise<void> {
    if (this.#idle !== null) clearTimeout(this.#idle);
    await this.#last;
    await this.#drop();
  }

  async #encode(
    image: RgbImage,
    letterbox: boolean,
    onLayer: (done: number, layers: number) => void,
    signal: AbortSignal,
  ): Promise<ImageEmbedding> {
    signal.throwIfAborted();
    if (this.#idle !== null) clearTimeout(this.#idle);
    const { config } = this.file;
    const size = config.imageSize;
    const sized = letterbox ? letterboxed(image, size) : resize(image, size, size);
    try {
      this.#tower ??= Tower.load(this.file, this.#backend);
      const tower = await this.#tower;
      const run = (record: (pass: Pass) => void) => this.#runPass(record, signal);
      const values = await tower.encode(sized, run, (done) => onLayer(done, config.layers));
      return { key: this.key(image, letterbox), tokens: imageTokens(config), values };
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      this.#idle = setTimeout(() => void this.#drop(), IDLE_MS).unref();
    }
  }

  /** Names pixels, recipe and tower together. */
  key(image: RgbImage, letterbox: boolean): string {
    const recipe = `${imageId(image)} ${letterbox ? 'letterbox' : 'stretch'} ${RECIPE} ${this.file.digest}`;
    return createHash('sha256').update(recipe).digest('hex');
  }

  async #drop(): Promise<void> {
    const tower = this.#tower;
    this.#tower = null;
    (await tower?.catch(() => null))?.dispose();
  }
}
