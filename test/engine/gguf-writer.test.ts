/** What the writer writes, the reader reads back; a file that could not be finished never appears. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readGguf } from '../../sidecar/engine/model/gguf.ts';
import { type GgufValue, PackedStrings } from '../../sidecar/engine/model/gguf-metadata.ts';
import { writeGguf } from '../../sidecar/engine/model/gguf-writer.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'gguf-writer-'));
after(() => rmSync(folder, { recursive: true }));

const METADATA: Record<string, GgufValue> = {
  'a.u8': { kind: 'integer', type: 'u8', value: 255 },
  'a.i8': { kind: 'integer', type: 'i8', value: -128 },
  'a.u16': { kind: 'integer', type: 'u16', value: 65_535 },
  'a.i16': { kind: 'integer', type: 'i16', value: -32_768 },
  'a.u32': { kind: 'integer', type: 'u32', value: 4_294_967_295 },
  'a.i32': { kind: 'integer', type: 'i32', value: -2_147_483_648 },
  'a.u64': { kind: 'integer', type: 'u64', value: Number.MAX_SAFE_INTEGER },
  'a.i64': { kind: 'integer', type: 'i64', value: Number.MIN_SAFE_INTEGER },
  'a.f32': { kind: 'float', type: 'f32', value: 0.5 },
  'a.f64': { kind: 'float', type: 'f64', value: Math.PI },
  'a.bool': { kind: 'boolean', value: true },
  'a.string': { kind: 'string', value: 'zwölf ▁ 漢' },
  'a.strings': {
    kind: 'strings',
    value: PackedStrings.from(['', 'x'.repeat(1000), '漢', Uint8Array.of(0xff)]),
  },
  'a.integers': { kind: 'integers', type: 'i16', value: Int16Array.of(-3, 0, 3) },
  'a.longs': { kind: 'integers', type: 'u64', value: Float64Array.of(2 ** 40, 1) },
  'a.floats': { kind: 'floats', type: 'f32', value: Float32Array.of(-0.25, 1e9) },
  'a.booleans': { kind: 'booleans', value: Uint8Array.of(1, 0, 1) },
};

test('every kind of metadata comes back as it was', () => {
  const path = join(folder, 'metadata.gguf');
  writeGguf(path, METADATA, []);
  const { metadata, version } = readGguf(path);
  assert.equal(version, 3);
  assert.deepEqual(metadata.keys(), Object.keys(METADATA));
  for (const [key, value] of Object.entries(METADATA)) assert.deepEqual(metadata.get(key), value, key);
});

test('tensors come back where the reader says they are', () => {
  const path = join(folder, 'tensors.gguf');
  const bytes = (length: number, first: number) => Uint8Array.from({ length }, (_, i) => (first + i) & 255);
  writeGguf(path, { 'general.alignment': { kind: 'integer', type: 'u32', value: 64 } }, [
    { name: 'q', type: 'Q4_0', shape: [64, 3], data: () => [bytes(8, 1), bytes(100, 9)] },
    { name: 'v', type: 'F32', shape: [5], data: () => [bytes(20, 77)] },
  ]);
  const file = readGguf(path);
  const content = readFileSync(path);
  const q = file.weight('q');
  assert.deepEqual([q.type, q.rows, q.columns], ['Q4_0', 3, 64]);
  for (const tensor of file.tensors.values()) assert.equal(tensor.offset % 64, 0);
  const { offset, byteLength } = file.tensors.get('v')!;
  assert.deepEqual(new Uint8Array(content.subarray(offset, offset + byteLength)), bytes(20, 77));
  const range = file.weight('q').data;
  assert.ok(!(range instanceof Uint8Array));
  assert.deepEqual([range.byteLength, range.fileSize, range.path], [108, content.length, path]);
});

test('a tensor of the wrong size leaves nothing behind', () => {
  const path = join(folder, 'never', 'x.gguf');
  assert.throws(() => writeGguf(path, {}, []), /ENOENT/);
  const before = readdirSync(folder);
  for (const length of [19, 21]) {
    assert.throws(
      () =>
        writeGguf(join(folder, 'wrong.gguf'), {}, [
          { name: 'v', type: 'F32', shape: [5], data: () => [new Uint8Array(length)] },
        ]),
      /Tensor v takes 20 bytes/,
    );
  }
  assert.deepEqual(readdirSync(folder), before);
});

test('synthetic models of the same seed are the same, and hold the tensors of Gemma 3', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, `${name}.gguf`)) as [string, string, string];
  writeTinyModel(a, { seed: 5, embedding: 'Q6_K' });
  writeTinyModel(b, { seed: 5, embedding: 'Q6_K' });
  writeTinyModel(c, { seed: 6, embedding: 'Q6_K' });
  assert.ok(readFileSync(a).equals(readFileSync(b)));
  assert.ok(!readFileSync(a).equals(readFileSync(c)));
  const { tensors, metadata } = readGguf(a);
  const { hidden, layers, vocabulary } = MODEL_SHAPES.nano;
  assert.equal(tensors.size, 2 + 13 * layers);
  assert.deepEqual(tensors.get('token_embd.weight')?.shape, [hidden, vocabulary]);
  assert.equal(metadata.strings('tokenizer.ggml.tokens').length, vocabulary);
});
