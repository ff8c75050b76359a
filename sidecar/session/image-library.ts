/**
 * Images of conversations: encoded when they are attached, remembered by what they show, so that a question only names them.
 * What one model's image tower made of an image means nothing to another model.
 */
import { type EncodeImageOptions, type Engine, type ImageTower, NoImageTower } from '../engine/engine.ts';
import type { EncodedEmbedding } from '../engine/image-encoder.ts';
import { detailCrops, hasSmallText } from '../engine/vision/pan-and-scan.ts';
import type { ImageEmbedding } from '../engine/vision/prompt-image.ts';
import { cropped, imageId, type RgbImage } from '../engine/vision/rgb-image.ts';
import { imagePositions, type ShownImage } from '../prompt/chat-prompt.ts';
import type { ModelHost } from './model-host.ts';

/** An image that a question names. */
export interface ImageReference {
  /** {@link EncodedImage.id}. */
  readonly id: string;
  /** For a person. */
  readonly name: string;
  /** Show the detail crops as well. */
  readonly details: boolean;
}

export interface EncodedImage {
  /** Names the pixels. */
  readonly id: string;
  readonly width: number;
  readonly height: number;
  /** Positions in a prompt, markers and crops included. */
  readonly tokens: number;
  /** Nothing was computed. */
  readonly cached: boolean;
  readonly ms: number;
  /** What detail crops add; absent where they would not help. */
  readonly details?: DetailsOffer;
}

export interface DetailsOffer {
  readonly crops: number;
  readonly tokens: number;
  /** From the speed of the last encoding; absent before the first. */
  readonly seconds?: number;
  /** Text of ordinary size would be too small to read without them. */
  readonly advised: boolean;
}

export interface ImageProgress {
  readonly phase: 'waiting' | 'loading' | 'encoding';
  readonly layer: number;
  readonly layers: number;
  /** From 1. */
  readonly image: number;
  readonly images: number;
  readonly secondsLeft?: number;
}

/** An image that a question names is not, or no longer, here. */
export class ImageUnknownError extends Error {
  override readonly name = 'ImageUnknownError';

  constructor(name: string) {
    super(`The picture “${name}” is no longer at hand. Attach it again.`);
  }
}

/** More images than any context holds; those used longest ago are forgotten first. */
const MOST_BYTES = 256 * 2 ** 20;

interface Entry {
  readonly whole: ImageEmbedding;
  /** Null: not encoded yet. */
  readonly crops: readonly ImageEmbedding[] | null;
}

export class ImageLibrary {
  private readonly host: ModelHost;
  private engine: Engine | null = null;
  /** Least recently used first. */
  private readonly entries = new Map<string, Entry>();
  private msOfLast: number | null = null;

  constructor(host: ModelHost) {
    this.host = host;
  }

  /**
   * Encodes an image, and with `details` its crops, unless that was done before. Rejects with NoImageTower, OutOfMemory, or
   * the signal's reason.
   */
  encode(
    image: RgbImage,
    details: boolean,
    onProgress: (progress: ImageProgress) => void,
    signal: AbortSignal,
  ): Promise<EncodedImage> {
    return this.host.use(signal, (engine, either) =>
      this.encodeWith(engine, image, details, onProgress, either),
    );
  }

  /** What a question about `references` shows. @throws ImageUnknownError, NoImageTower */
  shown(engine: Engine, references: readonly ImageReference[]): readonly ShownImage[] {
    if (engine.imageTower === null) throw new NoImageTower(engine.imageProblem ?? undefined);
    if (engine !== this.engine) this.forget(engine);
    return references.map(({ id, name, details }) => {
      const entry = this.find(id);
      if (entry === undefined || (details && entry.crops === null)) throw new ImageUnknownError(name);
      return { name, whole: entry.whole, crops: details ? (entry.crops ?? []) : [] };
    });
  }

  private async encodeWith(
    engine: Engine,
    image: RgbImage,
    details: boolean,
    onProgress: (progress: ImageProgress) => void,
    signal: AbortSignal,
  ): Promise<EncodedImage> {
    if (engine !== this.engine) this.forget(engine);
    const started = performance.now();
    const id = imageId(image);
    const { width, height } = image;
    const known = this.find(id);
    const rectangles = engine.imageTower ? detailCrops(image, engine.imageTower.imageSize) : [];
    const images = 1 + (details ? rectangles.length : 0);
    let computed = 0;
    const encode = async (part: RgbImage, number: number) => {
      const embedding = await this.compute(engine, part, { number, images }, onProgress, signal);
      if (!embedding.cached) computed++;
      return embedding;
    };
    const whole = known?.whole ?? (await encode(image, 1));
    let crops = known?.crops ?? null;
    if (details && crops === null) {
      const made: ImageEmbedding[] = [];
      for (const [i, rectangle] of rectangles.entries())
        made.push(await encode(cropped(image, rectangle), 2 + i));
      crops = made;
    }
    if (engine === this.engine) this.keep(id, { whole, crops });
    const shown: ShownImage = { name: '', whole, crops: details ? (crops ?? []) : [] };
    const offer = this.offer(engine, image, rectangles.length, whole);
    return {
      id,
      width,
      height,
      tokens: imagePositions(engine.tokenizer, shown),
      cached: computed === 0,
      ms: performance.now() - started,
      ...(offer && { details: offer }),
    };
  }

  private async compute(
    engine: Engine,
    image: RgbImage,
    { number, images }: { readonly number: number; readonly images: number },
    onProgress: (progress: ImageProgress) => void,
    signal: AbortSignal,
  ): Promise<EncodedEmbedding> {
    let started: number | null = null;
    const report: NonNullable<EncodeImageOptions['onProgress']> = (progress) => {
      const now = performance.now();
      if (progress.phase === 'encoding') started ??= now;
      const { layer, layers } = progress;
      const perImage = layer > 0 && started !== null ? ((now - started) * layers) / layer : this.msOfLast;
      const left = layers - layer + layers * (images - number);
      onProgress({
        ...progress,
        image: number,
        images,
        ...(perImage !== null && { secondsLeft: (perImage * left) / layers / 1000 }),
      });
    };
    const embedding = await engine.encodeImage(image, { onProgress: report, signal });
    if (started !== null) this.msOfLast = performance.now() - started;
    return embedding;
  }

  private offer(
    { imageTower, tokenizer }: { readonly imageTower: ImageTower | null } & Pick<Engine, 'tokenizer'>,
    image: RgbImage,
    count: number,
    whole: ImageEmbedding,
  ): DetailsOffer | null {
    if (imageTower === null || count === 0) return null;
    // Every image takes as many positions as the whole one.
    const crops = Array.from({ length: count }, () => whole);
    const positions = (of: readonly ImageEmbedding[]) =>
      imagePositions(tokenizer, { name: '', whole, crops: of });
    return {
      crops: count,
      tokens: positions(crops) - positions([]),
      ...(this.msOfLast !== null && { seconds: (count * this.msOfLast) / 1000 }),
      advised: hasSmallText(image, imageTower.imageSize),
    };
  }

  private find(id: string): Entry | undefined {
    const entry = this.entries.get(id);
    if (entry !== undefined) {
      this.entries.delete(id);
      this.entries.set(id, entry);
    }
    return entry;
  }

  private keep(id: string, entry: Entry): void {
    this.entries.delete(id);
    this.entries.set(id, entry);
    let bytes = 0;
    for (const [key, { whole, crops }] of [...this.entries].reverse()) {
      bytes += (1 + (crops?.length ?? 0)) * whole.values.byteLength;
      if (bytes > MOST_BYTES) this.entries.delete(key);
    }
  }

  private forget(engine: Engine): void {
    this.engine = engine;
    this.entries.clear();
    this.msOfLast = null;
  }
}
