/** Images within a prompt of token ids. */
import { createHash } from 'node:crypto';

/** What the image tower made of an image. */
export interface ImageEmbedding {
  /** SHA-256, hexadecimal, of pixels, recipe and tower: equal keys, equal values. */
  readonly key: string;
  readonly tokens: number;
  /** F32 `[tokens][width of the text model]`. */
  readonly values: Float32Array;
}

/** The image stands at prompt positions [position, position + embedding.tokens). */
export interface PromptImage {
  readonly position: number;
  readonly embedding: ImageEmbedding;
}

/** Ids from here on are no pieces of any vocabulary. */
const FIRST_IMAGE_ID = 2 ** 31;

/**
 * What stands for an image's rows in a list of ids: numbers drawn from its key, so that whatever compares or hashes ids (kept
 * KV states, the store on disk) takes the image's content into account without knowing of images.
 */
export function imageIds({ key, tokens }: ImageEmbedding): Uint32Array {
  const ids = new Uint32Array(tokens);
  for (let row = 0; row < tokens; row += 8) {
    const digest = createHash('sha256').update(`${key} ${row}`).digest();
    for (let i = 0; i < 8 && row + i < tokens; i++)
      ids[row + i] = (digest.readUInt32LE(4 * i) | FIRST_IMAGE_ID) >>> 0;
  }
  return ids;
}

/** The rows of `images` within positions [from, end), where `end` cuts none of them; relative to `from`. */
export function imagesWithin(
  images: readonly PromptImage[],
  from: number,
  end: number,
): readonly { readonly row: number; readonly values: Float32Array }[] {
  return images
    .filter(({ position, embedding }) => position < end && position + embedding.tokens > from)
    .map(({ position, embedding: { values, tokens } }) => {
      // A prompt may go on in the middle of an image that was read before, whole.
      const skipped = Math.max(0, from - position);
      return { row: position + skipped - from, values: values.subarray((skipped * values.length) / tokens) };
    });
}

/** `end` moved so that no image is cut: before the image if something is left then, else behind it. */
export function uncutEnd(images: readonly PromptImage[], from: number, end: number): number {
  const cut = images.find(({ position, embedding }) => position < end && position + embedding.tokens > end);
  if (cut === undefined) return end;
  return cut.position > from ? cut.position : cut.position + cut.embedding.tokens;
}
