/** IEEE half precision (F16) and bfloat16 (BF16) as 16-bit patterns, rounding to nearest, ties to even. */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Every F16 pattern as F32; 256 KiB, faster than decoding bits in an inner loop. */
export const HALF_TO_FLOAT: Float32Array = (() => {
  const table = new Float32Array(0x10000);
  for (let pattern = 0; pattern < 0x10000; pattern++) {
    const exponent = (pattern >>> 10) & 31;
    const fraction = pattern & 1023;
    let magnitude: number;
    if (exponent === 0) magnitude = fraction * 2 ** -24;
    else if (exponent < 31) magnitude = (1024 + fraction) * 2 ** (exponent - 25);
    else magnitude = fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
    table[pattern] = pattern & 0x8000 ? -magnitude : magnitude;
  }
  return table;
})();

/** Beyond 65,504 (after rounding) the result is an infinity. */
export function floatToHalf(value: number): number {
  float[0] = value;
  const sign = (bits[0]! >>> 16) & 0x8000;
  const magnitude = bits[0]! & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000;
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  if (magnitude <= 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const kept = fraction >>> shift;
  const lost = fraction & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (lost > half || (lost === half && kept & 1) ? kept + 1 : kept);
}

export function bfloatToFloat(pattern: number): number {
  bits[0] = pattern << 16;
  return float[0]!;
}

export function floatToBfloat(value: number): number {
  float[0] = value;
  const pattern = bits[0]!;
  // A NaN whose payload lies in the lost bits must not become an infinity.
  if ((pattern & 0x7fffffff) > 0x7f800000) return (pattern >>> 16) | 64;
  return ((pattern + 0x7fff + ((pattern >>> 16) & 1)) >>> 16) & 0xffff;
}
