/** Decoded pixels, and the one way in which they become what the tower sees. */
import { createHash } from 'node:crypto';

/** 8-bit RGB, row by row from the top. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

export const MAX_PIXELS = 50_000_000;

/** What is wrong with an image, in a sentence for a person. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/** Checked before a pixel is decoded. Throws {@link ImageError}. */
export function checkImageSize(width: number, height: number): void {
  if (!Number.isSafeInteger(width) || !Number.isSafeInteger(height) || width < 1 || height < 1)
    throw new ImageError('The image has no pixels.');
  if (width * height > MAX_PIXELS) {
    throw new ImageError(
      `The image has ${width} x ${height} pixels; at most ${MAX_PIXELS / 1e6} million are read. Make it smaller, or cut out the part that matters.`,
    );
  }
}

/** Alpha is laid over white, as a page would show it; dropping it would show what transparent pixels hide. */
export function rgbFromRgba(width: number, height: number, rgba: Uint8Array): RgbImage {
  checkImageSize(width, height);
  if (rgba.length !== 4 * width * height)
    throw new ImageError(
      `The image sent ${rgba.length} bytes; ${width} x ${height} pixels have ${4 * width * height}.`,
    );
  const data = new Uint8Array(3 * width * height);
  for (let i = 0, o = 0; i < rgba.length; i += 4, o += 3) {
    const alpha = rgba[i + 3]!;
    if (alpha === 255) {
      data[o] = rgba[i]!;
      data[o + 1] = rgba[i + 1]!;
      data[o + 2] = rgba[i + 2]!;
      continue;
    }
    for (let c = 0; c < 3; c++) data[o + c] = Math.round((rgba[i + c]! * alpha + 255 * (255 - alpha)) / 255);
  }
  return { width, height, data };
}

/** Turns the image as an EXIF orientation (1 to 8) says it was taken. */
export function oriented(image: RgbImage, orientation: number): RgbImage {
  if (orientation < 2 || orientation > 8) return image;
  const { width, height, data } = image;
  const swaps = orientation >= 5;
  const [w, h] = swaps ? [height, width] : [width, height];
  const out = new Uint8Array(data.length);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [a, b] = swaps ? [y, x] : [x, y];
      // Which of the source's axes run backwards.
      const flipX = orientation === 2 || orientation === 3 || orientation === 7 || orientation === 8;
      const flipY = orientation === 3 || orientation === 4 || orientation === 6 || orientation === 7;
      const from = 3 * ((flipY ? height - 1 - b : b) * width + (flipX ? width - 1 - a : a));
      out.set(data.subarray(from, from + 3), 3 * (y * w + x));
    }
  }
  return { width: w, height: h, data: out };
}

/** A part of an image, in pixels. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export function cropped({ width, data }: RgbImage, { x, y, width: w, height: h }: Rectangle): RgbImage {
  const out = new Uint8Array(3 * w * h);
  for (let row = 0; row < h; row++) {
    const from = 3 * ((y + row) * width + x);
    out.set(data.subarray(from, from + 3 * w), 3 * row * w);
  }
  return { width: w, height: h, data: out };
}

/** Names the pixels: SHA-256 over size and colours. */
export function imageId({ width, height, data }: RgbImage): string {
  return createHash('sha256').update(`${width}x${height}\n`).update(data).digest('hex');
}
