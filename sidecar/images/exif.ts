/** How a picture was taken, from the EXIF data of its file: browsers turn it accordingly, and so must we. */

const ORIENTATION_TAG = 0x0112;
const MOST_ENTRIES = 512;

/** 1 (as stored) to 8; 1 where the file does not say. Never throws. */
export function exifOrientation(type: 'png' | 'jpeg' | 'webp', bytes: Uint8Array): number {
  try {
    const block = { png: inPng, jpeg: inJpeg, webp: inWebp }[type](bytes);
    return block === null ? 1 : readOrientation(block);
  } catch (error) {
    if (error instanceof RangeError) return 1; // It ends early.
    throw error;
  }
}

/** Tag 0x0112 of the first directory of a TIFF block. */
function readOrientation(block: Uint8Array): number {
  const view = viewOf(block);
  const little = view.getUint16(0) === 0x4949;
  if (view.getUint16(2, little) !== 42) return 1;
  const directory = view.getUint32(4, little);
  const entries = Math.min(view.getUint16(directory, little), MOST_ENTRIES);
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i;
    if (view.getUint16(at, little) !== ORIENTATION_TAG) continue;
    const value = view.getUint16(at + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

function inJpeg(bytes: Uint8Array): Uint8Array | null {
  const view = viewOf(bytes);
  let at = 2;
  while (view.getUint8(at) === 0xff && view.getUint8(at + 1) !== 0xda) {
    const length = view.getUint16(at + 2);
    const isExif = view.getUint8(at + 1) === 0xe1 && ascii(bytes, at + 4, 6) === 'Exif\0\0';
    if (isExif) return bytes.subarray(at + 10, at + 2 + length);
    at += 2 + length;
  }
  return null;
}

function inPng(bytes: Uint8Array): Uint8Array | null {
  const view = viewOf(bytes);
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    if (ascii(bytes, at + 4, 4) === 'eXIf') return bytes.subarray(at + 8, at + 8 + length);
    at += 12 + length;
  }
  return null;
}

function inWebp(bytes: Uint8Array): Uint8Array | null {
  const view = viewOf(bytes);
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    if (ascii(bytes, at, 4) === 'EXIF') {
      const block = bytes.subarray(at + 8, at + 8 + length);
      return ascii(block, 0, 6) === 'Exif\0\0' ? block.subarray(6) : block;
    }
    at += 8 + length + (length & 1);
  }
  return null;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}
