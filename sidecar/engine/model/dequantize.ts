/**
 * Tensor blocks to F32, one function per type. Every product below is exact in a double and rounded once into
 * the Float32Array, which gives the values of ggml's reference code bit for bit.
 *
 * Each function reads `out.length` values, a whole number of blocks, from the start of `bytes`.
 * Layouts: the GGUF specification (block_q4_0 to block_q6_K of ggml).
 */
import { bfloatToFloat, HALF_TO_FLOAT } from './half.ts';

export type Dequantizer = (bytes: Uint8Array, out: Float32Array) => void;

function half(bytes: Uint8Array, at: number): number {
  return HALF_TO_FLOAT[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

export function fromF32(bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
}

export function fromF16(bytes: Uint8Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = half(bytes, 2 * i);
}

export function fromBF16(bytes: Uint8Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = bfloatToFloat(bytes[2 * i]! | (bytes[2 * i + 1]! << 8));
}

/** scale, 16 bytes: low nibbles are values 0-15, high nibbles 16-31. x = scale * (q - 8). */
export function fromQ4_0(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 18, i += 32) {
    const scale = half(bytes, at);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 2 + j]!;
      out[i + j] = scale * ((pair & 15) - 8);
      out[i + j + 16] = scale * ((pair >>> 4) - 8);
    }
  }
}

/** scale, minimum, nibbles as in Q4_0. x = scale * q + minimum. */
export function fromQ4_1(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 20, i += 32) {
    const scale = half(bytes, at);
    const minimum = half(bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 4 + j]!;
      out[i + j] = scale * (pair & 15) + minimum;
      out[i + j + 16] = scale * (pair >>> 4) + minimum;
    }
  }
}

/** scale, 32 fifth bits, nibbles as in Q4_0. x = scale * (q - 16). */
export function fromQ5_0(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 22, i += 32) {
    const scale = half(bytes, at);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 6 + j]!;
      const low = (bytes[at + 2 + (j >>> 3)]! >>> (j & 7)) & 1;
      const high = (bytes[at + 4 + (j >>> 3)]! >>> (j & 7)) & 1;
      out[i + j] = scale * (((pair & 15) | (low << 4)) - 16);
      out[i + j + 16] = scale * (((pair >>> 4) | (high << 4)) - 16);
    }
  }
}

/** scale, minimum, 32 fifth bits, nibbles. x = scale * q + minimum. */
export function fromQ5_1(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 24, i += 32) {
    const scale = half(bytes, at);
    const minimum = half(bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 8 + j]!;
      const low = (bytes[at + 4 + (j >>> 3)]! >>> (j & 7)) & 1;
      const high = (bytes[at + 6 + (j >>> 3)]! >>> (j & 7)) & 1;
      out[i + j] = scale * ((pair & 15) | (low << 4)) + minimum;
      out[i + j + 16] = scale * ((pair >>> 4) | (high << 4)) + minimum;
    }
  }
}

/** scale, 32 signed bytes. */
export function fromQ8_0(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 34, i += 32) {
    const scale = half(bytes, at);
    for (let j = 0; j < 32; j++) out[i + j] = scale * ((bytes[at + 2 + j]! << 24) >> 24);
  }
}

/** Six-bit scale of sub-block `j` of Q4_K and Q5_K, from the 12 packed bytes at `at`. */
function packedScale(bytes: Uint8Array, at: number, j: number): number {
  if (j < 4) return bytes[at + j]! & 63;
  return (bytes[at + j + 4]! & 15) | ((bytes[at + j - 4]! >>> 6) << 4);
}

/** Six-bit minimum of sub-block `j`, likewise. */
function packedMinimum(bytes: Uint8Array, at: number, j: number): number {
  if (j < 4) return bytes[at + j + 4]! & 63;
  return (bytes[at + j + 4]! >>> 4) | ((bytes[at + j]! >>> 6) << 4);
}

/** Two scales, 12 bytes of scales and minima, nibbles in four groups of 64. x = d * s * q - dmin * m. */
export function fromQ4_K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 144, i += 256) {
    const d = half(bytes, at);
    const dmin = half(bytes, at + 2);
    for (let j = 0; j < 8; j++) {
      const scale = d * packedScale(bytes, at + 4, j);
      const minimum = dmin * packedMinimum(bytes, at + 4, j);
      const quants = at + 16 + (j >>> 1) * 32;
      const shift = (j & 1) * 4;
      for (let l = 0; l < 32; l++) {
        out[i + j * 32 + l] = scale * ((bytes[quants + l]! >>> shift) & 15) - minimum;
      }
    }
  }
}

/** As Q4_K with 32 bytes of fifth bits (bit `j` of byte `l`) before the nibbles. */
export function fromQ5_K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 176, i += 256) {
    const d = half(bytes, at);
    const dmin = half(bytes, at + 2);
    for (let j = 0; j < 8; j++) {
      const scale = d * packedScale(bytes, at + 4, j);
      const minimum = dmin * packedMinimum(bytes, at + 4, j);
      const quants = at + 48 + (j >>> 1) * 32;
      const shift = (j & 1) * 4;
      for (let l = 0; l < 32; l++) {
        const fifth = (bytes[at + 16 + l]! >>> j) & 1;
        out[i + j * 32 + l] = scale * (((bytes[quants + l]! >>> shift) & 15) | (fifth << 4)) - minimum;
      }
    }
  }
}

/** 128 bytes of low nibbles, 64 of high pairs of bits, 16 signed scales, scale. x = d * s * (q - 32). */
export function fromQ6_K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 210, i += 256) {
    const d = half(bytes, at + 208);
    for (let j = 0; j < 16; j++) {
      const scale = d * ((bytes[at + 192 + j]! << 24) >> 24);
      // Sub-block j covers 16 of the 128 values of half `j >>> 3`; its quarter picks nibble and bit pair.
      const quarter = (j >>> 1) & 3;
      const column = (j & 1) * 16;
      const low = at + (j >>> 3) * 64 + (quarter & 1) * 32 + column;
      const high = at + 128 + (j >>> 3) * 32 + column;
      const lowShift = (quarter >>> 1) * 4;
      const highShift = quarter * 2;
      for (let l = 0; l < 16; l++) {
        const q = ((bytes[low + l]! >>> lowShift) & 15) | (((bytes[high + l]! >>> highShift) & 3) << 4);
        out[i + j * 16 + l] = scale * (q - 32);
      }
    }
  }
}
