/**
 * The first frame of a GIF file (GIF89a specification): readers on the registry go on for ever on some damaged files.
 * Every read is bounded, and no more pixels are made than the frame has.
 */
import type { Bitmap } from './bmp.ts';

const [EXTENSION, IMAGE] = [0x21, 0x2c];
const GRAPHIC_CONTROL = 0xf9;
const LONGEST_CODE = 12;
/** First row and step of each pass of an interlaced frame. */
const PASSES = [
  [0, 8],
  [4, 8],
  [2, 4],
  [1, 2],
] as const;

/** Throws RangeError for a file that ends early or says what cannot be. */
export function decodeGif(bytes: Uint8Array): Bitmap {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height] = [view.getUint16(6, true), view.getUint16(8, true)];
  const flags = view.getUint8(10);
  let at = 13;
  const palette = (packed: number): Uint8Array | null => {
    if ((packed & 0x80) === 0) return null;
    const start = at;
    at += 3 << ((packed & 7) + 1);
    return bytes.subarray(start, at);
  };
  const shared = palette(flags);
  let transparent = -1;
  for (;;) {
    const kind = view.getUint8(at++);
    if (kind === EXTENSION) {
      const label = view.getUint8(at++);
      if (label === GRAPHIC_CONTROL)
        transparent = (view.getUint8(at + 1) & 1) === 1 ? view.getUint8(at + 4) : -1;
      while (view.getUint8(at) !== 0) at += 1 + view.getUint8(at);
      at++;
      continue;
    }
    if (kind !== IMAGE) throw new RangeError('There is no frame.');
    const [left, top] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    const [columns, rows] = [view.getUint16(at + 4, true), view.getUint16(at + 6, true)];
    const packed = view.getUint8(at + 8);
    at += 9;
    if (left + columns > width || top + rows > height)
      throw new RangeError('The frame reaches beyond the screen.');
    const colours = palette(packed) ?? shared;
    if (colours === null) throw new RangeError('There is no palette.');
    const indices = decodeFrame(view, at, columns * rows);
    const rgba = new Uint8Array(4 * width * height);
    const order = (packed & 0x40) === 0 ? null : interlaced(rows);
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i]!;
      if (index === transparent) continue;
      const row = Math.floor(i / columns);
      const to = 4 * ((top + (order?.[row] ?? row)) * width + left + (i % columns));
      for (let c = 0; c < 3; c++) rgba[to + c] = colours[3 * index + c] ?? 0;
      rgba[to + 3] = 255;
    }
    return { width, height, rgba };
  }
}

/** Where each row of an interlaced frame belongs. */
function interlaced(rows: number): number[] {
  return PASSES.flatMap(([first, step]) =>
    Array.from({ length: Math.max(0, Math.ceil((rows - first) / step)) }, (_, i) => first + i * step),
  );
}

/** LZW codes in sub-blocks, least significant bit first, to `count` palette indices. */
function decodeFrame(view: DataView, start: number, count: number): Uint8Array {
  const least = view.getUint8(start);
  if (least < 1 || least > 8) throw new RangeError('The code size is none.');
  const [clear, end] = [1 << least, (1 << least) + 1];
  // Entry n is entry prefix[n] with suffix[n] behind it.
  const prefix = new Uint16Array(1 << LONGEST_CODE);
  const suffix = new Uint8Array(1 << LONGEST_CODE);
  const lengths = new Uint16Array(1 << LONGEST_CODE);
  for (let i = 0; i < clear; i++) {
    suffix[i] = i;
    lengths[i] = 1;
  }
  const out = new Uint8Array(count);
  let [at, blockLeft, bits, held] = [start + 1, 0, 0, 0];
  let [size, next, previous, made] = [least + 1, end + 1, -1, 0];
  while (made < count) {
    while (held < size) {
      if (blockLeft === 0) blockLeft = view.getUint8(at++);
      if (blockLeft === 0) throw new RangeError('The frame ends early.');
      bits |= view.getUint8(at++) << held;
      held += 8;
      blockLeft--;
    }
    const code = bits & ((1 << size) - 1);
    bits >>>= size;
    held -= size;
    if (code === end) throw new RangeError('The frame ends early.');
    if (code === clear) {
      [size, next, previous] = [least + 1, end + 1, -1];
      continue;
    }
    // The one code that may be used before it is known: the previous one with its own first index behind it.
    const isNew = previous >= 0 && code === next;
    if (!isNew && (code >= next || code === clear)) throw new RangeError('A code is unknown.');
    const source = isNew ? previous : code;
    const length = lengths[source]! + (isNew ? 1 : 0);
    let first = source;
    for (let i = lengths[source]! - 1, entry = source; i >= 0; i--) {
      if (made + i < count) out[made + i] = suffix[entry]!;
      first = entry;
      entry = prefix[entry]!;
    }
    const firstIndex = suffix[first]!;
    if (isNew && made + length - 1 < count) out[made + length - 1] = firstIndex;
    made += length;
    if (previous >= 0 && next < 1 << LONGEST_CODE) {
      prefix[next] = previous;
      suffix[next] = firstIndex;
      lengths[next] = lengths[previous]! + 1;
      next++;
      if (next === 1 << size && size < LONGEST_CODE) size++;
    }
    previous = code;
  }
  return out;
}
