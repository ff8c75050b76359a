/** Arguments that do not fit, handles that are gone: a RangeError or BackendError, never a crash. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  type Activation,
  type Backend,
  BackendError,
  type KvArena,
  type Matrix,
  type Pass,
  PassCancelled,
  type Vector,
} from '../../../sidecar/engine/backend/backend.ts';
import { createOracleBackend } from '../../support/oracle-backend.ts';
import { float32Bytes, upload } from './world.ts';

function refused(error: unknown): boolean {
  assert.ok(error instanceof RangeError || error instanceof BackendError, `threw ${String(error)}`);
  assert.ok(error.message.length > 10, `says only "${error.message}"`);
  return true;
}

interface Parts {
  readonly backend: Backend;
  /** [4][64] */
  readonly x: Activation;
  readonly y: Activation;
  /** [4][32] */
  readonly narrow: Activation;
  /** 48 x 64 */
  readonly matrix: Matrix;
  /** [4][48] */
  readonly product: Activation;
  readonly weight: Vector;
  /** 2 layers of 1 head of 64, 3 pages. */
  readonly arena: KvArena;
  readonly table: Int32Array;
}

async function createParts(backend: Backend): Promise<Parts> {
  const floats = (count: number) => float32Bytes(new Float32Array(count).fill(1));
  return {
    backend,
    x: upload(backend, new Float32Array(256), 64),
    y: backend.createActivation(4, 64),
    narrow: backend.createActivation(4, 32),
    matrix: await backend.loadMatrix({
      name: 'm',
      type: 'F32',
      rows: 48,
      columns: 64,
      data: floats(48 * 64),
    }),
    product: backend.createActivation(4, 48),
    weight: await backend.loadVector({ name: 'w', type: 'F32', rows: 1, columns: 64, data: floats(64) }),
    arena: backend.createKvArena({ layers: 2, kvHeads: 1, headDim: 64 }, 3),
    table: Int32Array.of(0, 2),
  };
}

const attend = { layer: 0, position: 0, tokens: 4, heads: 1, window: null, scale: 1 };

/** Each must be refused when it is recorded. */
const MISUSES: Readonly<Record<string, (pass: Pass, parts: Parts) => void>> = {
  'embed: id beyond the table': (pass, { y, matrix }) => pass.embed(y, matrix, [48], 1),
  'embed: negative id': (pass, { y, matrix }) => pass.embed(y, matrix, [-1], 1),
  'embed: fractional id': (pass, { y, matrix }) => pass.embed(y, matrix, new Float64Array([0.5]), 1),
  'embed: too many ids': (pass, { y, matrix }) => pass.embed(y, matrix, [0, 0, 0, 0, 0], 1),
  'embed: wrong width': (pass, { narrow, matrix }) => pass.embed(narrow, matrix, [0], 1),
  'rmsNorm: too many tokens': (pass, { x, y, weight }) => pass.rmsNorm(y, x, weight, 5, 1e-6),
  'rmsNorm: rows past the end': (pass, { x, y, weight }) => pass.rmsNorm(y, x, weight, 4, 1e-6, 1),
  'rmsNorm: rows moved in place': (pass, { x, weight }) => pass.rmsNorm(x, x, weight, 1, 1e-6, 1),
  'rmsNorm: no tokens': (pass, { x, y, weight }) => pass.rmsNorm(y, x, weight, 0, 1e-6),
  'rmsNorm: NaN tokens': (pass, { x, y, weight }) => pass.rmsNorm(y, x, weight, Number.NaN, 1e-6),
  'rmsNorm: wrong width': (pass, { narrow, weight }) => pass.rmsNorm(narrow, narrow, weight, 4, 1e-6),
  'rmsNormHeads: heads do not fill the row': (pass, { x, weight }) =>
    pass.rmsNormHeads(x, weight, 4, 2, 1e-6),
  'matmul: wrong columns': (pass, { narrow, product, matrix }) =>
    pass.matmul(narrow, [{ weight: matrix, out: product }], 4),
  'matmul: wrong rows': (pass, { x, y, matrix }) => pass.matmul(x, [{ weight: matrix, out: y }], 4),
  'matmul: tokens beyond the input': (pass, { x, product, matrix }) =>
    pass.matmul(x, [{ weight: matrix, out: product }], 2, 3),
  'matmul: negative first token': (pass, { x, product, matrix }) =>
    pass.matmul(x, [{ weight: matrix, out: product }], 1, -1),
  'rope: odd head size': (pass, { x }) => pass.rope(x, 4, 1, 63, 0, 1e4, 1),
  'rope: heads do not fill the row': (pass, { x }) => pass.rope(x, 4, 3, 32, 0, 1e4, 1),
  'rope: negative position': (pass, { x }) => pass.rope(x, 4, 1, 64, -1, 1e4, 1),
  'rope: base 0': (pass, { x }) => pass.rope(x, 4, 1, 64, 0, 0, 1),
  'kvWrite: layer beyond the arena': (pass, { x, arena, table }) =>
    pass.kvWrite({ arena, pageTable: table }, 2, x, x, 0, 4),
  'kvWrite: page beyond the arena': (pass, { x, arena }) =>
    pass.kvWrite({ arena, pageTable: Int32Array.of(3) }, 0, x, x, 0, 4),
  'kvWrite: negative page': (pass, { x, arena }) =>
    pass.kvWrite({ arena, pageTable: Int32Array.of(-1) }, 0, x, x, 0, 4),
  'kvWrite: wrong width': (pass, { narrow, arena, table }) =>
    pass.kvWrite({ arena, pageTable: table }, 0, narrow, narrow, 0, 4),
  'attention: heads are no multiple of KV heads': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, heads: 3 }),
  'attention: too many tokens': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, tokens: 5 }),
  'attention: empty page table': (pass, { x, y, arena }) =>
    pass.attention(y, x, { arena, pageTable: new Int32Array(0) }, attend),
  'attention: more positions than places': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, position: 125 }),
  'attention: window longer than the ring': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, position: 1000, window: 126 }),
  'attention: window 0': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, window: 0 }),
  'attention: bounds of too few tokens': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, visibleUntil: Int32Array.of(1, 2, 3) }),
  'attention: a token that does not see itself': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, visibleUntil: Int32Array.of(1, 1, 3, 4) }),
  'attention: a bound behind the pass': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, visibleUntil: Int32Array.of(1, 2, 3, 5) }),
  'attention: bounds that fall': (pass, { x, y, arena, table }) =>
    pass.attention(y, x, { arena, pageTable: table }, { ...attend, visibleUntil: Int32Array.of(4, 3, 4, 4) }),
  'attention: output is the query': (pass, { x, arena, table }) =>
    pass.attention(x, x, { arena, pageTable: table }, attend),
  'geluMul: widths differ': (pass, { x, narrow }) => pass.geluMul(x, x, narrow, 4),
  'add: widths differ': (pass, { x, narrow }) => pass.add(x, narrow, 4),
  'layerNorm: widths differ': (pass, { x, narrow, weight }) =>
    pass.layerNorm(narrow, x, weight, weight, 4, 1e-6),
  'layerNorm: too many tokens': (pass, { x, y, weight }) => pass.layerNorm(y, x, weight, weight, 5, 1e-6),
  'addBias: wrong width': (pass, { narrow, weight }) => pass.addBias(narrow, weight, 4),
  'averagePool: factor does not divide': (pass, { x, y }) => pass.averagePool(y, x, 2, 3),
  'averagePool: side beyond the rows': (pass, { x, y }) => pass.averagePool(y, x, 3, 1),
  'averagePool: output is the input': (pass, { x }) => pass.averagePool(x, x, 2, 1),
  'mutualAttention: heads do not fill the row': (pass, { x, y }) =>
    pass.mutualAttention(y, x, x, x, { tokens: 4, heads: 3, scale: 1 }),
  'mutualAttention: widths differ': (pass, { x, y, narrow }) =>
    pass.mutualAttention(y, x, narrow, x, { tokens: 4, heads: 1, scale: 1 }),
  'mutualAttention: too many tokens': (pass, { x, y }) =>
    pass.mutualAttention(y, x, x, x, { tokens: 5, heads: 1, scale: 1 }),
  'add: rows behind the end': (pass, { x, y }) => pass.add(x, y, 2, 3),
  'add: too many tokens': (pass, { x, y }) => pass.add(x, y, 5),
};

export function misuseTests(create: () => Backend): void {
  let parts: Parts;
  before(async () => {
    parts = await createParts(create());
  });
  after(() => parts.backend.dispose());

  for (const [what, misuse] of Object.entries(MISUSES)) {
    test(`refuses ${what}`, () => assert.throws(() => misuse(parts.backend.createPass(), parts), refused));
  }

  test('refuses impossible shapes of activations and arenas', () => {
    const { backend } = parts;
    const shape = { layers: 1, kvHeads: 1, headDim: 64 };
    for (const size of [0, -1, 1.5, Number.NaN, 2 ** 40]) {
      assert.throws(() => backend.createActivation(size, 64), Error, `activation of ${size} tokens`);
      assert.throws(() => backend.createKvArena({ ...shape, layers: size }, 1), Error, `${size} layers`);
    }
    for (const headDim of [0, 8, 24, 100]) {
      assert.throws(() => backend.createKvArena({ ...shape, headDim }, 1), refused, `head size ${headDim}`);
    }
    assert.throws(() => backend.createKvArena(shape, 0), refused);
  });

  test('refuses weights whose bytes do not match their shape', async () => {
    const { backend } = parts;
    const source = { name: 'w', type: 'Q4_0', rows: 2, columns: 32, data: new Uint8Array(36) } as const;
    await assert.rejects(backend.loadMatrix({ ...source, data: new Uint8Array(35) }), refused);
    await assert.rejects(backend.loadMatrix({ ...source, columns: 33 }), refused);
    await assert.rejects(backend.loadMatrix({ ...source, rows: 0, data: new Uint8Array(0) }), refused);
    await assert.rejects(backend.loadVector(source), refused);
  });

  test('refuses uploads and reads that do not fit', () => {
    const { backend, x } = parts;
    assert.throws(() => backend.upload(x, new Float32Array(63), 0), refused);
    assert.throws(() => backend.upload(x, new Float32Array(64), 4), refused);
    assert.throws(() => backend.readBack(x, new Float32Array(63), 0, 1), refused);
    assert.throws(() => backend.readBack(x, new Float32Array(128), 3, 2), refused);
    assert.throws(() => parts.arena.copyPage(0, 3), refused);
    assert.throws(() => parts.arena.copyPage(-1, 0), refused);
  });

  test('refuses disposed handles and submits a pass once', async () => {
    const backend = create();
    const { x, y, arena, table } = await createParts(backend);
    const pass = backend.createPass();
    pass.add(x, y, 4);
    await pass.submit();
    await assert.rejects(pass.submit(), refused);
    assert.throws(() => pass.add(x, y, 4), refused);

    y.dispose();
    y.dispose();
    arena.dispose();
    const useAfter = async (record: (pass: Pass) => void) => {
      const late = backend.createPass();
      record(late);
      await late.submit();
    };
    await assert.rejects(
      useAfter((late) => late.add(x, y, 4)),
      refused,
    );
    await assert.rejects(
      useAfter((late) => late.kvWrite({ arena, pageTable: table }, 0, x, x, 0, 4)),
      refused,
    );
    backend.dispose();
    backend.dispose();
    await assert.rejects(
      useAfter((late) => late.add(x, x, 4)),
      refused,
    );
    assert.throws(() => backend.createActivation(1, 1), refused);
  });

  test('a pass that is cancelled says so and the backend goes on', async () => {
    const { backend, x, y } = parts;
    const cancelled = backend.createPass();
    cancelled.add(x, y, 4);
    await assert.rejects(cancelled.submit(AbortSignal.abort()), PassCancelled);

    const controller = new AbortController();
    const long = backend.createPass();
    const large = backend.createActivation(64, 4096);
    for (let i = 0; i < 10_000; i++) long.add(large, large, 64);
    const running = long.submit(controller.signal);
    setImmediate(() => controller.abort());
    await assert.rejects(running, PassCancelled);

    const next = backend.createPass();
    next.add(x, y, 4);
    await next.submit();
  });
}

/** Apart from the misuse tests because the oracle does not tell its instances apart. */
export function foreignPartsTests(create: () => Backend): void {
  test('refuses parts of another backend', () => {
    const [backend, stranger] = [create(), create()];
    const [own, foreign] = [backend.createActivation(4, 64), stranger.createActivation(4, 64)];
    assert.throws(() => backend.createPass().add(own, foreign, 4), refused);
    assert.throws(
      () => backend.createPass().add(own, createOracleBackend().createActivation(4, 64), 4),
      refused,
    );
    backend.dispose();
    stranger.dispose();
  });
}
