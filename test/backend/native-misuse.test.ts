/**
 * The addon's own checks, with the TypeScript in front of it left out: whatever numbers, handles and buffers come,
 * it throws an error with a code and computes on with the next call.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createCpuBackend } from '../../sidecar/engine/backend/cpu/cpu-backend.ts';
import { loadNative, MATRIX_FORMATS } from '../../sidecar/engine/backend/cpu/native.ts';
import { seededRandom } from '../support/random.ts';

const native = loadNative();
const F32 = MATRIX_FORMATS.indexOf('F32');
const RANGE = { code: 'RANGE' };

describe('native addon', () => {
  let engine: number;
  let x: number;
  let y: number;
  let matrix: number;
  let vector: number;
  let arena: number;
  let cold: number;
  let bounded: number;
  let coldBounded: number;
  let pass = 1;

  before(async () => {
    engine = native.createEngine(2, '', 0, 0).handle;
    x = native.createActivation(engine, 4, 32);
    y = native.createActivation(engine, 4, 32);
    const bytes = new Uint8Array(32 * 32 * 4);
    matrix = await native.loadMatrix(engine, 'm', F32, 32, 32, bytes, 0, 0, 0, false);
    vector = await native.loadVector(engine, 'v', F32, 1, 32, bytes.subarray(0, 128), 0, 0, 0);
    arena = native.createArena(engine, 2, 1, 32, 3, 0, 0).handle;
    cold = native.createArena(engine, 2, 1, 32, 3, 2, 0).handle;
    bounded = native.createArena(engine, 2, 1, 32, 3, 0, 1).handle;
    coldBounded = native.createArena(engine, 2, 1, 32, 3, 2, 1).handle;
  });
  after(() => native.disposeEngine(engine));

  const submit = (words: readonly number[]) =>
    native.submit(engine, pass++, Float64Array.from(words), words.length);
  const refuses = (words: readonly number[]) => assert.throws(() => submit(words), RANGE);

  /** One valid list of every operation, in the order of their numbers. */
  const valid = () => [
    [1, y, matrix, 1, 1, 2, 0, 31],
    [2, y, x, vector, 4, 1, 1e-6, 0],
    [3, x, 4, 0, 1, matrix, y],
    [4, x, 4, 1, 32, 100, 10000, 1],
    [5, arena, 1, x, y, 4, 62, 2, 0, 2],
    [6, y, x, arena, 1, 4, 62, 1, 0, 0.5, 0, 2, 0, 2, 0, 0],
    [6, y, x, arena, 1, 4, 62, 1, 0, 0.5, 4, 65, 65, 65, 66, 2, 0, 2, 0, 0],
    [6, y, x, arena, 1, 4, 62, 1, 0, 0.5, 0, 2, 0, 2, 1, cold, 1, 0, 1, 2, 0],
    [6, y, x, bounded, 1, 4, 124, 1, 0, 0.5, 0, 2, 0, 2, 0, 1, 1, 1, 0],
    [6, y, x, arena, 1, 4, 124, 1, 0, 0.5, 0, 2, 0, 2, 1, coldBounded, 1, 0, 1, 2, 1, 1, 1, 0],
    [7, y, x, y, 4],
    [8, y, x, 4, 0],
    [9, y, x, vector, vector, 4, 1e-6],
    [10, x, vector, 4, 1],
    [11, y, x, 2, 2],
    [12, y, x, x, x, 4, 2, 0.5],
  ];

  it('runs a valid list of every operation', async () => {
    for (const words of valid()) await submit(words);
    await submit(valid().flat());
  });

  it('refuses a list that ends early, anywhere', () => {
    for (const words of valid()) {
      for (let length = 1; length < words.length; length++) refuses(words.slice(0, length));
    }
  });

  it('refuses unknown operations, dead handles and numbers that are no integers', () => {
    for (const code of [0, 13, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
      refuses([code, y, x, 4, 0]);
    for (const handle of [-1, x + 1000, x + 2 ** 20, 0, Number.NaN, 0.5]) {
      refuses([8, handle, x, 4, 0]);
      refuses([8, y, handle, 4, 0]);
    }
    for (const tokens of [0, -1, 5, 1.5, Number.NaN, 2 ** 60]) refuses([8, y, x, tokens, 0]);
  });

  it('refuses compressed pages that are missing, of another kind, or behind a window', () => {
    const attend = (window: number, ...behind: readonly number[]) => [
      ...[6, y, x, arena, 1, 4, 62, 1, window, 0.5, 0, 2, 0, 2, 1],
      ...behind,
      0,
    ];
    refuses(attend(0, arena, 1, 0, 1, 2));
    refuses(attend(0, cold, 1, 0, 1, 3));
    refuses(attend(0, cold, 0, 0, 1, 2));
    refuses(attend(0, cold, 1, -1, 1, 2));
    refuses(attend(64, cold, 1, 0, 1, 2));
    refuses([5, cold, 1, x, y, 4, 62, 2, 0, 2]);
    refuses([...[6, y, x, arena, 1, 4, 124, 1, 0, 0.5, 0, 2, 0, 2, 1], cold, 0, 0, 1, 2, 0]);
  });

  it('refuses choices among pages without ranges, or that the pass writes', () => {
    const choosing = (position: number, from: number, ...choice: number[]) => [
      ...[6, y, x, from, 1, 4, position, 1, 0, 0.5, 0, 2, 0, 2, 0, 1],
      ...choice,
    ];
    refuses(choosing(124, arena, 1, 1, 0));
    refuses(choosing(62, bounded, 1, 1, 0));
    refuses(choosing(124, bounded, 0, 1, 0));
    refuses(choosing(124, bounded, 1, 0, 0));
    refuses(choosing(124, bounded, 1, 1, 1, x));
    refuses([6, y, x, arena, 1, 4, 124, 1, 0, 0.5, 0, 2, 0, 2, 1, coldBounded, 1, 1, 1, 2, 1, 1, 1, 0]);
  });

  it('refuses pages that an arena does not have, and buffers of another size', () => {
    const { handle, pageBytes } = native.createArena(engine, 2, 1, 32, 3, 0, 0);
    const page = new Uint8Array(pageBytes).map((_, i) => i);
    native.writePage(engine, handle, 2, page);
    for (const call of ['readPage', 'writePage'] as const) {
      for (const number of [-1, 3, 0.5, Number.NaN, 2 ** 31, 2 ** 53])
        assert.throws(() => native[call](engine, handle, number, new Uint8Array(pageBytes)), RANGE);
      for (const length of [0, 1, pageBytes - 1, pageBytes + 1, 3 * pageBytes])
        assert.throws(() => native[call](engine, handle, 1, new Uint8Array(length)), RANGE);
      for (const wrong of [-1, 0.5, handle + 1000, handle + 2 ** 20])
        assert.throws(() => native[call](engine, wrong, 1, new Uint8Array(pageBytes)), RANGE);
      for (const buffer of [new Float32Array(pageBytes / 4), new ArrayBuffer(pageBytes), null, 'page'])
        assert.throws(() => native[call](engine, handle, 1, buffer as unknown as Uint8Array));
    }
    const read = new Uint8Array(pageBytes);
    native.readPage(engine, handle, 2, read);
    assert.deepEqual(read, page);
    native.readPage(engine, handle, 1, read);
    assert.deepEqual(read, new Uint8Array(pageBytes), 'nothing was written');
    native.disposeArena(engine, handle);
    assert.throws(() => native.readPage(engine, handle, 1, read), RANGE);
  });

  it('survives a thousand damaged lists: each is refused or runs', async () => {
    const random = seededRandom(1);
    const strange = [
      -1,
      0,
      1,
      3,
      64,
      2 ** 20,
      2 ** 31,
      2 ** 32,
      2 ** 53,
      1e300,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      0.5,
    ];
    for (let round = 0; round < 1000; round++) {
      const words = valid().flat();
      for (let i = 0; i < 1 + random() * 3; i++) {
        words[Math.floor(random() * words.length)] = strange[Math.floor(random() * strange.length)]!;
      }
      try {
        await submit(words);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'RANGE');
      }
    }
    await submit(valid().flat());
  });

  it('refuses buffers of the wrong kind or length', () => {
    assert.throws(() => native.readBack(engine, x, new Float32Array(31), 0, 1), RANGE);
    assert.throws(() => native.readBack(engine, x, new Float32Array(64), 3, 2), RANGE);
    assert.throws(() => native.upload(engine, x, new Float32Array(33), 0), RANGE);
    assert.throws(() => native.upload(engine, x, new Float32Array(64), 3), RANGE);
    assert.throws(() => native.upload(engine, x, new Float64Array(32) as unknown as Float32Array, 0), RANGE);
    assert.throws(() => native.submit(engine, pass++, new Float64Array(2), 3), RANGE);
    assert.throws(() => native.copyPage(engine, arena, 0, 3), RANGE);
    assert.throws(() => native.readPage(engine, cold, 3, new Uint8Array(0)), RANGE);
    assert.throws(() => native.writePage(engine, cold, 0, new Uint8Array(31)), RANGE);
    assert.throws(() => native.compressPage(engine, cold, 0, cold, 1), RANGE);
    assert.throws(() => native.boundPage(engine, arena, 0), RANGE);
    assert.throws(() => native.compressPage(engine, arena, 3, cold, 1), RANGE);
  });

  it('refuses shapes that overflow and arenas beyond any memory', async () => {
    const none = new Uint8Array(0);
    await assert.rejects(native.loadMatrix(engine, 'm', F32, 2 ** 31, 2 ** 31, none, 0, 0, 0, false), RANGE);
    assert.throws(() => native.loadMatrix(engine, 'm', F32, 2 ** 40, 1, none, 0, 0, 0, false), RANGE);
    assert.throws(() => native.loadMatrix(engine, 'm', 99, 1, 1, none, 0, 0, 0, false), RANGE);
    assert.throws(() => native.createArena(engine, 4096, 4096, 4096, 2 ** 24, 0, 0), RANGE);
    assert.throws(() => native.createActivation(engine, 2 ** 31, 2 ** 31), RANGE);
    const refused = { code: 'OUT_OF_MEMORY', message: /refused \d+ MiB .* for the KV cache/ };
    assert.throws(() => native.createArena(engine, 64, 64, 256, 2 ** 20, 0, 0), refused);
  });

  it('refuses handles of a disposed engine', async () => {
    const other = native.createEngine(1, '', 0, 0).handle;
    const activation = native.createActivation(other, 1, 8);
    native.disposeEngine(other);
    assert.throws(() => native.readBack(other, activation, new Float32Array(8), 0, 1), RANGE);
    assert.throws(() => native.disposeEngine(other), RANGE);
  });

  it('rejects a load that is under way when its engine is disposed of', async () => {
    const other = native.createEngine(1, '', 0, 0).handle;
    const loads = [1, 2, 3].map((i) =>
      native.loadMatrix(other, `m${i}`, F32, 512, 512, new Uint8Array(512 * 512 * 4), 0, 0, 0, false),
    );
    native.disposeEngine(other);
    for (const outcome of await Promise.allSettled(loads)) {
      assert.equal(outcome.status, 'rejected');
      assert.equal((outcome.reason as { code?: string }).code, 'CANCELLED');
    }
  });
});

describe('weights in a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gemma-sidecar-weights-'));
  const path = join(folder, 'weights');
  after(() => rmSync(folder, { recursive: true }));

  it('are read from an unaligned offset, and refused once the file has another size', async () => {
    const values = Float32Array.from({ length: 64 }, (_, i) => i);
    const bytes = new Uint8Array(5000 + 256);
    bytes.set(new Uint8Array(values.buffer), 4999);
    writeFileSync(path, bytes);
    const backend = createCpuBackend({ threads: 1 });
    const data = { path, fileSize: bytes.length, offset: 4999, byteLength: 256 };
    const table = await backend.loadMatrix({ name: 'table', type: 'F32', rows: 2, columns: 32, data });
    const out = backend.createActivation(1, 32);
    const pass = backend.createPass();
    pass.embed(out, table, [1], 1);
    await pass.submit();
    const row = new Float32Array(32);
    backend.readBack(out, row, 0, 1);
    assert.deepEqual(row, values.subarray(32));

    truncateSync(path, 5000);
    await assert.rejects(
      backend.loadMatrix({ name: 'table', type: 'F32', rows: 2, columns: 32, data }),
      /has changed: it held 5256 bytes/,
    );
    const missing = { ...data, path: join(folder, 'missing') };
    await assert.rejects(
      backend.loadMatrix({ name: 'table', type: 'F32', rows: 2, columns: 32, data: missing }),
      /Cannot open/,
    );
    backend.dispose();
  });
});
