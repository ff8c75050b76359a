/** The formulas behind the operations of backend.ts, on single vectors, in F64. */

import type { KvFormat } from '../../sidecar/engine/backend/backend.ts';
import type { Mass } from './oracle-choice.ts';

/** Sum of a[i] * b[i]. */
export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** out = x / sqrt(mean(x^2) + eps) * weight. `out` may be `x`. */
export function rmsNorm(out: Float32Array, x: Float32Array, weight: Float32Array, eps: number): void {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + eps);
  for (let i = 0; i < x.length; i++) out[i] = (x[i] ?? 0) * scale * (weight[i] ?? 0);
}

/** The scale of a block of int8 activations: largest magnitude / 127, rounded up to five significant bits. */
export function int8Scale(block: Float32Array): number {
  const wanted = Math.fround(block.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127);
  if (wanted < 2 ** -80) return 0;
  const step = 2 ** (Math.floor(Math.log2(wanted)) - 4);
  return Math.ceil(wanted / step) * step;
}

/** x as a backend with int8 activations reads it: blocks of 32 multiples of one scale. */
export function roundToInt8Blocks(x: Float32Array): Float32Array {
  const rounded = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += 32) {
    const block = x.subarray(start, start + 32);
    const scale = int8Scale(block);
    if (scale === 0) continue;
    for (let i = 0; i < block.length; i++) rounded[start + i] = Math.round((block[i] ?? 0) / scale) * scale;
  }
  return rounded;
}

/** Radians per position for each pair of dimensions: base^(-2i/headDim) / factor, rounded to F32 as engines do. */
export function ropeFrequencies(headDim: number, base: number, factor: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => base ** ((-2 * i) / headDim) / factor);
}

/** Turns dimension i together with dimension i + n/2 by position * frequencies[i], in place. */
export function rope(x: Float32Array, position: number, frequencies: Float32Array): void {
  const half = frequencies.length;
  for (let i = 0; i < half; i++) {
    const angle = position * (frequencies[i] ?? 0);
    const [low, high] = [x[i] ?? 0, x[i + half] ?? 0];
    x[i] = low * Math.cos(angle) - high * Math.sin(angle);
    x[i + half] = low * Math.sin(angle) + high * Math.cos(angle);
  }
}

/** 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
export function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** out = sum over visible positions of softmax(scale * q.key(i)) * value(i), i < count. */
export function attention(
  out: Float32Array,
  q: Float32Array,
  count: number,
  key: (index: number) => Float32Array,
  value: (index: number) => Float32Array,
  scale: number,
): Mass {
  const scores = Array.from({ length: count }, (_, i) => dot(q, key(i)) * scale);
  const peak = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
  const weights = scores.map((score) => Math.exp(score - peak));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const sums = new Float64Array(out.length);
  weights.forEach((weight, i) => {
    const v = value(i);
    for (let d = 0; d < sums.length; d++) sums[d] = (sums[d] ?? 0) + (weight / total) * (v[d] ?? 0);
  });
  out.set(sums);
  return { peak, total };
}

/** out = (x - mean) / sqrt(variance + eps) * weight + bias. */
export function layerNorm(
  out: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  eps: number,
): void {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  const inverse = 1 / Math.sqrt(variance + eps);
  for (let i = 0; i < x.length; i++) out[i] = (x[i]! - mean) * inverse * weight[i]! + bias[i]!;
}

/** Bytes of K and V of one head, layer and page of 64 positions. */
export function kvHeadBytes(format: KvFormat, headDim: number): number {
  if (format === 'f16') return 2 * 64 * headDim * 2;
  const scales = 2 * 64 * (headDim / codeSegment(format, headDim)) * 2;
  return scales + 2 * 64 * headDim * (format === 'int8' ? 1 : 0.5);
}

function codeSegment(format: KvFormat, headDim: number): number {
  if (format === 'int8') return headDim;
  return headDim % 32 === 0 ? 32 : 16;
}

/**
 * Walsh-Hadamard transform of each segment of int4 codes: 'forth' as keys are rotated before they are rounded, 'back' divided by the
 * segment's length. In F32 and with additions in the order of kernels, since what is rounded behind it turns on the last bit.
 */
export function rotated(x: Float32Array, direction: 'forth' | 'back'): Float32Array {
  const segment = codeSegment('int4', x.length);
  let y = x.slice();
  for (let half = 1; half < segment; half *= 2) {
    y = y.map((value, i) => (i & half ? y[i - half]! - value : value + y[i + half]!));
  }
  return direction === 'back' ? y.map((value) => value / segment) : y;
}

/** Rounds a key or value to what its codes stand for, in place: scale = largest magnitude / levels, up to the next BF16. */
export function roundToCodes(x: Float32Array, format: KvFormat): void {
  const segment = codeSegment(format, x.length);
  const levels = format === 'int8' ? 127 : 7;
  for (let start = 0; start < x.length; start += segment) {
    const part = x.subarray(start, start + segment);
    const scale = upToBf16(part.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / levels);
    if (!Number.isFinite(scale)) part.fill(Number.NaN);
    else if (scale > 0) {
      const inverse = Math.fround(1 / scale);
      for (let i = 0; i < part.length; i++)
        part[i] = roundTiesToEven(Math.fround(part[i]! * inverse)) * scale;
    }
  }
}

function upToBf16(value: number): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer);
  bits[0] = (bits[0]! + 0xffff) & 0xffff0000;
  return new Float32Array(bits.buffer)[0]!;
}

function roundTiesToEven(value: number): number {
  const nearest = Math.round(value);
  return Math.abs(value % 1) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}
