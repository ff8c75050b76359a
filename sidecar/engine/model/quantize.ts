/**
 * F32 to tensor blocks, one function per type, in the F32 arithmetic of ggml's reference quantisers, so that
 * Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 come out with the same bytes. The K types use plain maximum scales per
 * sub-block instead of ggml's search: valid files with slightly larger error.
 *
 * Each function reads all of `values`, finite and a whole number of blocks, and fills `out`.
 */
import { floatToBfloat, floatToHalf, HALF_TO_FLOAT } from './half.ts';

export type Quantizer = (values: Float32Array, out: Uint8Array) => void;

const { fround } = Math;

/** Stores `value` as F16 and returns what was stored. */
function putHalf(out: Uint8Array, at: number, value: number): number {
  const pattern = floatToHalf(value);
  if ((pattern & 0x7c00) === 0x7c00) throw new RangeError(`${value} does not fit into F16.`);
  out[at] = pattern & 255;
  out[at + 1] = pattern >>> 8;
  return HALF_TO_FLOAT[pattern]!;
}

function inverse(scale: number): number {
  return scale === 0 ? 0 : fround(1 / scale);
}

/** The value of largest magnitude, with its sign; the first of several. */
function extreme(values: Float32Array, from: number, count: number): number {
  let magnitude = 0;
  let result = 0;
  for (let i = from; i < from + count; i++) {
    const value = values[i]!;
    const size = value < 0 ? -value : value;
    if (size > magnitude) {
      magnitude = size;
      result = value;
    }
  }
  return result;
}

export function toF32(values: Float32Array, out: Uint8Array): void {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i]!, true);
}

export function toF16(values: Float32Array, out: Uint8Array): void {
  for (let i = 0; i < values.length; i++) putHalf(out, 2 * i, values[i]!);
}

export function toBF16(values: Float32Array, out: Uint8Array): void {
  for (let i = 0; i < values.length; i++) {
    const pattern = floatToBfloat(values[i]!);
    out[2 * i] = pattern & 255;
    out[2 * i + 1] = pattern >>> 8;
  }
}

/** The extreme value maps to -8 exactly, so the scale is signed. */
export function toQ4_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 18, i += 32) {
    const scale = fround(extreme(values, i, 32) / -8);
    const reciprocal = inverse(scale);
    putHalf(out, at, scale);
    for (let j = 0; j < 16; j++) {
      const low = Math.min(15, Math.trunc(fround(fround(values[i + j]! * reciprocal) + 8.5)));
      const high = Math.min(15, Math.trunc(fround(fround(values[i + j + 16]! * reciprocal) + 8.5)));
      out[at + 2 + j] = low | (high << 4);
    }
  }
}

export function toQ5_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 22, i += 32) {
    const scale = fround(extreme(values, i, 32) / -16);
    const reciprocal = inverse(scale);
    putHalf(out, at, scale);
    out.fill(0, at + 2, at + 6);
    for (let j = 0; j < 16; j++) {
      const low = Math.min(31, Math.trunc(fround(fround(values[i + j]! * reciprocal) + 16.5)));
      const high = Math.min(31, Math.trunc(fround(fround(values[i + j + 16]! * reciprocal) + 16.5)));
      putFiveBits(out, at + 2, at + 6, j, low, high);
    }
  }
}

/** Values j and j + 16 of a block: nibbles at `quants`, fifth bits at `fifths`. */
function putFiveBits(
  out: Uint8Array,
  fifths: number,
  quants: number,
  j: number,
  low: number,
  high: number,
): void {
  out[quants + j] = (low & 15) | ((high & 15) << 4);
  out[fifths + (j >>> 3)]! |= (low >>> 4) << (j & 7);
  out[fifths + 2 + (j >>> 3)]! |= (high >>> 4) << (j & 7);
}

function range(values: Float32Array, from: number, count: number): { minimum: number; maximum: number } {
  let minimum = values[from]!;
  let maximum = minimum;
  for (let i = from + 1; i < from + count; i++) {
    const value = values[i]!;
    if (value < minimum) minimum = value;
    if (value > maximum) maximum = value;
  }
  return { minimum, maximum };
}

export function toQ4_1(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 20, i += 32) {
    const { minimum, maximum } = range(values, i, 32);
    const scale = fround(fround(maximum - minimum) / 15);
    const reciprocal = inverse(scale);
    putHalf(out, at, scale);
    putHalf(out, at + 2, minimum);
    for (let j = 0; j < 16; j++) {
      const low = fround(fround(values[i + j]! - minimum) * reciprocal);
      const high = fround(fround(values[i + j + 16]! - minimum) * reciprocal);
      out[at + 4 + j] =
        Math.min(15, Math.trunc(fround(low + 0.5))) | (Math.min(15, Math.trunc(fround(high + 0.5))) << 4);
    }
  }
}

export function toQ5_1(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 24, i += 32) {
    const { minimum, maximum } = range(values, i, 32);
    const scale = fround(fround(maximum - minimum) / 31);
    const reciprocal = inverse(scale);
    putHalf(out, at, scale);
    putHalf(out, at + 2, minimum);
    out.fill(0, at + 4, at + 8);
    for (let j = 0; j < 16; j++) {
      const low = fround(fround(values[i + j]! - minimum) * reciprocal);
      const high = fround(fround(values[i + j + 16]! - minimum) * reciprocal);
      putFiveBits(
        out,
        at + 4,
        at + 8,
        j,
        Math.min(31, Math.trunc(fround(low + 0.5))),
        Math.min(31, Math.trunc(fround(high + 0.5))),
      );
    }
  }
}

/** Halves round away from zero, as C's roundf does. */
function roundAway(value: number): number {
  const size = value < 0 ? -value : value;
  const rounded = Math.floor(size + 0.5);
  return value < 0 ? -rounded : rounded;
}

export function toQ8_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 34, i += 32) {
    const scale = fround(Math.abs(extreme(values, i, 32)) / 127);
    const reciprocal = inverse(scale);
    putHalf(out, at, scale);
    for (let j = 0; j < 32; j++) out[at + 2 + j] = roundAway(fround(values[i + j]! * reciprocal)) & 255;
  }
}

/** Scales and minima of the eight sub-blocks of a Q4_K or Q5_K block, reused between blocks. */
const scales = new Float32Array(8);
const minima = new Float32Array(8);

/**
 * Writes the 16-byte head (two F16 scales, 12 packed bytes) of a Q4_K or Q5_K block whose quants have `levels`
 * steps, and leaves in `scales` and `minima` what a reader will see.
 */
function putHead(values: Float32Array, from: number, levels: number, out: Uint8Array, at: number): void {
  let largestScale = 0;
  let largestMinimum = 0;
  for (let j = 0; j < 8; j++) {
    const { minimum, maximum } = range(values, from + 32 * j, 32);
    minima[j] = Math.max(0, -minimum);
    scales[j] = (Math.max(0, maximum) + minima[j]!) / levels;
    largestScale = Math.max(largestScale, scales[j]!);
    largestMinimum = Math.max(largestMinimum, minima[j]!);
  }
  const d = putHalf(out, at, largestScale / 63);
  const dmin = putHalf(out, at + 2, largestMinimum / 63);
  out.fill(0, at + 4, at + 16);
  for (let j = 0; j < 8; j++) {
    const scale = d === 0 ? 0 : Math.min(63, Math.round(scales[j]! / d));
    const minimum = dmin === 0 ? 0 : Math.min(63, Math.round(minima[j]! / dmin));
    if (j < 4) {
      out[at + 4 + j]! |= scale;
      out[at + 8 + j]! |= minimum;
    } else {
      out[at + 8 + j] = (scale & 15) | ((minimum & 15) << 4);
      out[at + j]! |= (scale >>> 4) << 6;
      out[at + 4 + j]! |= (minimum >>> 4) << 6;
    }
    scales[j] = d * scale;
    minima[j] = dmin * minimum;
  }
}

function level(value: number, j: number, levels: number): number {
  const scale = scales[j]!;
  if (scale === 0) return 0;
  return Math.min(levels, Math.max(0, Math.round((value + minima[j]!) / scale)));
}

export function toQ4_K(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 144, i += 256) {
    putHead(values, i, 15, out, at);
    for (let j = 0; j < 8; j += 2) {
      for (let l = 0; l < 32; l++) {
        const low = level(values[i + 32 * j + l]!, j, 15);
        const high = level(values[i + 32 * j + 32 + l]!, j + 1, 15);
        out[at + 16 + 16 * j + l] = low | (high << 4);
      }
    }
  }
}

export function toQ5_K(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 176, i += 256) {
    putHead(values, i, 31, out, at);
    out.fill(0, at + 16, at + 48);
    for (let j = 0; j < 8; j += 2) {
      for (let l = 0; l < 32; l++) {
        const low = level(values[i + 32 * j + l]!, j, 31);
        const high = level(values[i + 32 * j + 32 + l]!, j + 1, 31);
        out[at + 48 + 16 * j + l] = (low & 15) | ((high & 15) << 4);
        out[at + 16 + l]! |= ((low >>> 4) << j) | ((high >>> 4) << (j + 1));
      }
    }
  }
}

export function toQ6_K(values: Float32Array, out: Uint8Array): void {
  const subScales = new Float32Array(16);
  const quants = new Uint8Array(256);
  for (let at = 0, i = 0; i < values.length; at += 210, i += 256) {
    for (let j = 0; j < 16; j++) subScales[j] = extreme(values, i + 16 * j, 16) / -32;
    // The largest sub-block scale maps to -128, the end of the signed byte that has one step more.
    const d = putHalf(out, at + 208, extreme(subScales, 0, 16) / -128);
    for (let j = 0; j < 16; j++) {
      const scale = d === 0 ? 0 : Math.max(-128, Math.min(127, Math.round(subScales[j]! / d)));
      out[at + 192 + j] = scale & 255;
      const step = d * scale;
      for (let l = 0; l < 16; l++) {
        const q = step === 0 ? 0 : Math.round(values[i + 16 * j + l]! / step);
        quants[16 * j + l] = Math.max(-32, Math.min(31, q)) + 32;
      }
    }
    for (let part = 0; part < 2; part++) {
      for (let l = 0; l < 32; l++) {
        const a = quants[128 * part + l]!;
        const b = quants[128 * part + l + 32]!;
        const c = quants[128 * part + l + 64]!;
        const e = quants[128 * part + l + 96]!;
        out[at + 64 * part + l] = (a & 15) | ((c & 15) << 4);
        out[at + 64 * part + l + 32] = (b & 15) | ((e & 15) << 4);
        out[at + 128 + 32 * part + l] = (a >>> 4) | ((b >>> 4) << 2) | ((c >>> 4) << 4) | ((e >>> 4) << 6);
      }
    }
  }
}
