/** BMP files (Windows DIB), uncompressed: the decoders on the registry confuse palettes, masks or rows from the top. */

export interface Bitmap {
  readonly width: number;
  readonly height: number;
  /** RGBA, straight alpha, row by row from the top. */
  readonly rgba: Uint8Array;
}

const CORE_HEADER = 12;
const INFO_HEADER = 40;
/** From here on the masks stand in the header itself. */
const MASKS_IN_HEADER = 52;
const [RGB, BITFIELDS, ALPHA_BITFIELDS] = [0, 3, 6];
const DEFAULT_MASKS: Readonly<Record<number, readonly number[]>> = {
  16: [0x7c00, 0x03e0, 0x001f, 0],
  32: [0x00ff0000, 0x0000ff00, 0x000000ff, 0],
};

/** Throws RangeError for a file that ends early, Error for a kind that is not read. Sizes were checked before. */
export function decodeBmp(bytes: Uint8Array): Bitmap {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const offset = view.getUint32(10, true);
  const headerBytes = view.getUint32(14, true);
  const isCore = headerBytes === CORE_HEADER;
  const width = isCore ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = isCore ? view.getUint16(20, true) : view.getInt32(22, true);
  const bits = view.getUint16(isCore ? 24 : 28, true);
  const compression = isCore ? RGB : view.getUint32(30, true);
  if (![RGB, BITFIELDS, ALPHA_BITFIELDS].includes(compression)) throw new Error('compressed BMP');
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw new Error(`BMP of ${bits} bits a pixel`);
  const height = Math.abs(signedHeight);
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (offset + stride * height > bytes.length) throw new RangeError('The file ends early.');
  const rgba = new Uint8Array(4 * width * height);
  const pixel =
    bits <= 8
      ? paletteReader(view, bits, 14 + headerBytes, isCore)
      : bits === 24
        ? readTriple
        : maskReader(view, bits, compression === RGB, headerBytes);
  for (let y = 0; y < height; y++) {
    const row = offset + stride * (signedHeight < 0 ? y : height - 1 - y);
    for (let x = 0; x < width; x++) pixel(view, row, x, rgba, 4 * (y * width + x));
  }
  return { width, height, rgba };
}

/** Writes pixel `x` of the row that begins at `row` to `rgba[to]`. */
type ReadPixel = (view: DataView, row: number, x: number, rgba: Uint8Array, to: number) => void;

function readTriple(view: DataView, row: number, x: number, rgba: Uint8Array, to: number): void {
  const at = row + 3 * x;
  rgba[to] = view.getUint8(at + 2);
  rgba[to + 1] = view.getUint8(at + 1);
  rgba[to + 2] = view.getUint8(at);
  rgba[to + 3] = 255;
}

function paletteReader(view: DataView, bits: number, palette: number, isCore: boolean): ReadPixel {
  const entryBytes = isCore ? 3 : 4;
  const declared = isCore ? 0 : view.getUint32(46, true);
  const entries = declared === 0 ? 1 << bits : Math.min(declared, 1 << bits);
  return (source, row, x, rgba, to) => {
    const first = x * bits;
    const shift = 8 - bits - (first % 8);
    const index = (source.getUint8(row + (first >> 3)) >> shift) & ((1 << bits) - 1);
    // An index beyond the palette is black, as in browsers.
    const at = index < entries ? palette + index * entryBytes : -1;
    for (let c = 0; c < 3; c++) rgba[to + c] = at < 0 ? 0 : source.getUint8(at + 2 - c);
    rgba[to + 3] = 255;
  };
}

function maskReader(view: DataView, bits: number, usual: boolean, headerBytes: number): ReadPixel {
  const inFile = headerBytes >= MASKS_IN_HEADER ? 4 : 3;
  const masks = usual
    ? DEFAULT_MASKS[bits]!
    : Array.from({ length: 4 }, (_, i) => (i < inFile ? view.getUint32(14 + INFO_HEADER + 4 * i, true) : 0));
  const channels = masks.map((mask) => {
    const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
    return { mask, shift, most: mask >>> shift };
  });
  return (source, row, x, rgba, to) => {
    const value = bits === 16 ? source.getUint16(row + 2 * x, true) : source.getUint32(row + 4 * x, true);
    for (const [c, { mask, shift, most }] of channels.entries())
      rgba[to + c] = most === 0 ? (c === 3 ? 255 : 0) : Math.round((((value & mask) >>> shift) * 255) / most);
  };
}
