/**
 * Pan and scan (arXiv 2503.19786, section 2.1): parts of a long image shown beside the whole, so that what is small in it
 * becomes readable. Cut as in gemma_pytorch, siglip_vision/pan_and_scan.py, along the longer side only; parts that the tower
 * would have to enlarge show nothing new and are left out.
 */
import type { Rectangle } from './rgb-image.ts';

const LEAST_RATIO = 1.5;
const MOST_CROPS = 4;
const LEAST_SIDE = 256;
/** A character of ordinary text on a screen: 14 pixels high, 0.6 of that wide. */
const CHARACTER = { width: 8.4, height: 14 };
/** Below this many pixels, in either direction, the tower hardly reads a character. */
const READABLE_PIXELS = 6;

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Parts that together cover the image; none where they would not help. `imageSize` is the side of what the tower sees. */
export function detailCrops({ width, height }: Size, imageSize: number): readonly Rectangle[] {
  const [long, short] = [Math.max(width, height), Math.min(width, height)];
  if (long < LEAST_RATIO * short) return [];
  const wanted = Math.min(Math.floor(long / short + 0.5), Math.floor(long / LEAST_SIDE));
  const count = Math.min(Math.max(2, wanted), MOST_CROPS);
  const side = Math.ceil(long / count);
  if (Math.min(side, short) < LEAST_SIDE || long <= imageSize) return [];
  return Array.from({ length: count }, (_, i) => {
    const start = i * side;
    const length = Math.min(side, long - start);
    return width >= height
      ? { x: start, y: 0, width: length, height }
      : { x: 0, y: start, width, height: length };
  });
}

/** Whether ordinary text, as it stands on a screen, is too small to read once the image is stretched to the tower's square. */
export function hasSmallText({ width, height }: Size, imageSize: number): boolean {
  return (
    (CHARACTER.width * imageSize) / width < READABLE_PIXELS ||
    (CHARACTER.height * imageSize) / height < READABLE_PIXELS
  );
}
