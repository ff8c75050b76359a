/**
 * Bilinear resizing with antialiasing, byte for byte as Pillow's Image.resize(..., BILINEAR): a triangle filter that widens
 * with the scale, horizontal pass before vertical, 22-bit fixed-point weights, rounding to 8 bit between the passes. It is
 * what Gemma 3 was trained with; another filter shows the tower other pixels.
 */
import type { RgbImage } from './rgb-image.ts';

const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

interface Taps {
  /** First source pixel of each output pixel, and how many it reads. */
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `[output][most]` */
  readonly weights: Int32Array;
  readonly most: number;
}

function taps(from: number, to: number): Taps {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Int32Array(to * most);
  for (let out = 0; out < to; out++) {
    const centre = (out + 0.5) * scale;
    const low = Math.max(Math.trunc(centre - support + 0.5), 0);
    const high = Math.min(Math.trunc(centre + support + 0.5), from);
    const raw = Array.from({ length: high - low }, (_, i) => {
      const distance = Math.abs((i + low - centre + 0.5) * (1 / support));
      return distance < 1 ? 1 - distance : 0;
    });
    const sum = raw.reduce((a, b) => a + b, 0);
    first[out] = low;
    count[out] = high - low;
    raw.forEach((weight, i) => {
      weights[out * most + i] = Math.trunc(
        0.5 + (sum === 0 ? weight : weight * (1 / sum)) * (1 << PRECISION_BITS),
      );
    });
  }
  return { first, count, weights, most };
}

/** Stretched to `width` x `height`, whatever the image's own proportions. */
export function resize(image: RgbImage, width: number, height: number): RgbImage {
  return vertical(horizontal(image, width), height);
}

/** Source pixels between two pauses: about ten milliseconds. */
const PIXELS_AT_ONCE = 1 << 20;

/** The same bytes, with a pause for whatever else the event loop has to do every million pixels. Rejects with the signal's reason. */
export async function resizeInTurns(
  image: RgbImage,
  width: number,
  height: number,
  signal: AbortSignal,
): Promise<RgbImage> {
  const narrow = new Uint8Array(3 * width * image.height);
  const rows = Math.max(1, Math.floor(PIXELS_AT_ONCE / image.width));
  for (let y = 0; y < image.height; y += rows) {
    const count = Math.min(rows, image.height - y);
    const data = image.data.subarray(3 * y * image.width, 3 * (y + count) * image.width);
    narrow.set(horizontal({ width: image.width, height: count, data }, width).data, 3 * y * width);
    await new Promise(setImmediate);
    signal.throwIfAborted();
  }
  return vertical({ width, height: image.height, data: narrow }, height);
}

function horizontal({ width: from, height, data }: RgbImage, width: number): RgbImage {
  if (from === width) return { width, height, data };
  const { first, count, weights, most } = taps(from, width);
  const out = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let [r, g, b] = [HALF, HALF, HALF];
      let at = 3 * (y * from + first[x]!);
      for (let i = 0; i < count[x]!; i++, at += 3) {
        const weight = weights[x * most + i]!;
        r += data[at]! * weight;
        g += data[at + 1]! * weight;
        b += data[at + 2]! * weight;
      }
      const to = 3 * (y * width + x);
      out[to] = clamp(r);
      out[to + 1] = clamp(g);
      out[to + 2] = clamp(b);
    }
  }
  return { width, height, data: out };
}

function vertical({ width, height: from, data }: RgbImage, height: number): RgbImage {
  if (from === height) return { width, height, data };
  const { first, count, weights, most } = taps(from, height);
  const out = new Uint8Array(3 * width * height);
  const sums = new Float64Array(3 * width);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let i = 0; i < count[y]!; i++) {
      const weight = weights[y * most + i]!;
      const row = 3 * width * (first[y]! + i);
      for (let x = 0; x < 3 * width; x++) sums[x]! += data[row + x]! * weight;
    }
    for (let x = 0; x < 3 * width; x++) out[3 * width * y + x] = clamp(sums[x]!);
  }
  return { width, height, data: out };
}

function clamp(sum: number): number {
  const value = Math.floor(sum / (1 << PRECISION_BITS));
  return Math.min(255, Math.max(0, value));
}

/** As llama.cpp does for Gemma 3: proportions kept, centred on black. For comparison with it; Gemma was trained on stretched images. */
export function letterboxed(image: RgbImage, size: number): RgbImage {
  const scale = Math.min(Math.fround(size / image.width), Math.fround(size / image.height));
  const width = Math.min(Math.ceil(Math.fround(image.width * scale)), size);
  const height = Math.min(Math.ceil(Math.fround(image.height * scale)), size);
  const small = resize(image, width, height);
  const data = new Uint8Array(3 * size * size);
  const left = Math.floor((size - width) / 2);
  const top = Math.floor((size - height) / 2);
  for (let y = 0; y < height; y++) {
    data.set(small.data.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((top + y) * size + left));
  }
  return { width: size, height: size, data };
}
