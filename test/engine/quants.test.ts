/** Every tensor type against blocks that gguf-py encoded and decoded (test/fixtures/quants/golden.json). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { rowBytes, TENSOR_TYPES, type TensorType } from '../../sidecar/engine/backend/tensor.ts';
import { floatToHalf, HALF_TO_FLOAT } from '../../sidecar/engine/model/half.ts';
import { dequantizeRow, quantizeRow } from '../../sidecar/engine/model/quants.ts';
import { seededRandom } from '../support/random.ts';

interface Golden {
  readonly values: string;
  readonly types: Readonly<Record<string, { bytes: string; decoded: string; encoded?: string }>>;
}
const golden: Golden = JSON.parse(
  readFileSync(new URL('../fixtures/quants/golden.json', import.meta.url), 'utf8'),
);

function bytes(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}
function floats(base64: string): Float32Array {
  return new Float32Array(bytes(base64).buffer);
}

const ALL_TYPES = Object.keys(TENSOR_TYPES) as TensorType[];

for (const [name, expected] of Object.entries(golden.types)) {
  const type = name as TensorType;

  test(`${type} decodes as gguf-py does, bit for bit`, () => {
    const decoded = new Float32Array(256);
    dequantizeRow(type, bytes(expected.bytes), decoded);
    assert.deepEqual(decoded, floats(expected.decoded));
  });

  if (expected.encoded !== undefined) {
    const encoded = bytes(expected.encoded);
    test(`${type} encodes as gguf-py does, byte for byte`, () => {
      const out = new Uint8Array(encoded.length).fill(0xa5);
      quantizeRow(type, floats(golden.values), out);
      assert.deepEqual(out, encoded);
    });
  }
}

/** Largest error of a value, as a share of the largest magnitude (or range) in its block, plus F16 rounding. */
const ERROR_BOUNDS: Record<TensorType, number> = {
  F32: 0,
  F16: 2 ** -11,
  BF16: 2 ** -8,
  Q4_0: 1 / 8,
  Q4_1: 1 / 14,
  Q5_0: 1 / 16,
  Q5_1: 1 / 30,
  Q8_0: 1 / 220,
  Q4_K: 1 / 8,
  Q5_K: 1 / 16,
  Q6_K: 1 / 24,
};

for (const type of ALL_TYPES) {
  test(`${type} keeps seeded rows within its error bound`, () => {
    const random = seededRandom(7);
    const values = Float32Array.from({ length: 4096 }, () => (random() - 0.5) * 4);
    const encoded = new Uint8Array(rowBytes(type, values.length)).fill(0xa5);
    quantizeRow(type, values, encoded);
    const decoded = new Float32Array(values.length);
    dequantizeRow(type, encoded, decoded);
    const worst = values.reduce((error, value, i) => Math.max(error, Math.abs(value - decoded[i]!)), 0);
    assert.ok(worst <= 2 * ERROR_BOUNDS[type], `${type}: ${worst}`);
  });

  test(`${type} refuses sizes that do not match and values that are not finite`, () => {
    const values = new Float32Array(256);
    const encoded = new Uint8Array(rowBytes(type, 256));
    assert.throws(() => dequantizeRow(type, encoded.subarray(1), values), /256 values of .* take \d+ bytes/);
    assert.throws(() => quantizeRow(type, values, new Uint8Array(encoded.length + 1)), RangeError);
    values[3] = Number.NaN;
    assert.throws(() => quantizeRow(type, values, encoded), /Value 3 is NaN/);
  });
}

test('a row of zeros comes back as zeros in every type', () => {
  for (const type of ALL_TYPES) {
    const encoded = new Uint8Array(rowBytes(type, 512)).fill(0xa5);
    quantizeRow(type, new Float32Array(512), encoded);
    const decoded = new Float32Array(512).fill(1);
    dequantizeRow(type, encoded, decoded);
    assert.ok(
      decoded.every((value) => value === 0),
      type,
    );
  }
});

test('F16 rounds every midpoint to even and keeps every pattern', () => {
  for (let pattern = 0; pattern < 0x7c00; pattern++) {
    const value = HALF_TO_FLOAT[pattern]!;
    assert.equal(floatToHalf(value), pattern);
    assert.equal(floatToHalf(-value), pattern | 0x8000);
    if (pattern === 0x7bff) continue;
    const midpoint = (value + HALF_TO_FLOAT[pattern + 1]!) / 2;
    assert.equal(floatToHalf(midpoint), pattern & 1 ? pattern + 1 : pattern);
  }
  assert.equal(floatToHalf(65519.996), 0x7bff);
  assert.equal(floatToHalf(65520), 0x7c00);
  assert.throws(() => quantizeRow('F16', Float32Array.of(70000), new Uint8Array(2)), /does not fit into F16/);
});
