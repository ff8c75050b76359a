/** KV writing and attention against the oracle, over page tables that wrap, windows and head groupings. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Backend, PAGE_POSITIONS } from '../../../sidecar/engine/backend/backend.ts';
import { cases } from './subjects.ts';
import { assertClose, Dice, download, pagesFor, type Scenario, sequence, upload } from './world.ts';

export interface AttentionCase {
  readonly kvHeads: number;
  readonly group: number;
  readonly headDim: number;
  readonly window: number | null;
  readonly pageTable: Int32Array;
  /** [first, end) of positions that see each other, as those of an image do; none lies across a chunk's edge. */
  readonly images?: readonly (readonly [first: number, end: number])[];
  /** Token counts of the passes, in order; they sum to `positions`. */
  readonly chunks: readonly number[];
  readonly positions: number;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

export interface AttentionShape {
  readonly kvHeads: number;
  readonly group: number;
  readonly headDim: number;
  readonly window: number | null;
  readonly positions: number;
  readonly longestChunk: number;
}

/** Random data of a shape. A windowed sequence gets the smallest ring that holds what its longest chunk sees. */
export function attentionCase(dice: Dice, shape: AttentionShape, chunks: readonly number[]): AttentionCase {
  const { kvHeads, group, headDim, window, positions, longestChunk } = shape;
  const places = window === null ? positions : Math.min(positions, window + longestChunk - 1);
  return {
    ...shape,
    pageTable: dice.permutation(pagesFor(places)),
    chunks,
    q: dice.floats(positions * kvHeads * group * headDim, 2),
    k: dice.floats(positions * kvHeads * headDim),
    v: dice.floats(positions * kvHeads * headDim),
  };
}

/** Cuts `total` into random chunks of at most `longest`. */
export function cut(dice: Dice, total: number, longest: number): number[] {
  const chunks: number[] = [];
  for (let left = total; left > 0; left -= chunks.at(-1)!)
    chunks.push(dice.between(1, Math.min(left, longest)));
  return chunks;
}

/** Writes and attends chunk by chunk, in the second of two layers; returns the outputs of all positions. */
export function attentionScenario(input: AttentionCase): Scenario {
  const { kvHeads, group, headDim, window, chunks, positions, images = [] } = input;
  const [kvWidth, width] = [kvHeads * headDim, kvHeads * group * headDim];
  return async (backend) => {
    const kv = sequence(backend, { layers: 2, kvHeads, headDim }, input.pageTable);
    const outputs = new Float32Array(positions * width);
    let position = 0;
    for (const tokens of chunks) {
      const rows = (values: Float32Array, columns: number) =>
        upload(backend, values.subarray(position * columns, (position + tokens) * columns), columns);
      const [q, k, v] = [rows(input.q, width), rows(input.k, kvWidth), rows(input.v, kvWidth)];
      const out = backend.createActivation(tokens, width);
      const pass = backend.createPass();
      pass.kvWrite(kv, 1, k, v, position, tokens);
      const heads = kvHeads * group;
      pass.attention(out, q, kv, {
        layer: 1,
        position,
        tokens,
        heads,
        window,
        scale: 1 / Math.sqrt(headDim),
        ...(images.length > 0 && { visibleUntil: bounds(images, position, tokens) }),
      });
      await pass.submit();
      outputs.set(download(backend, out), position * width);
      for (const activation of [q, k, v, out]) activation.dispose();
      position += tokens;
    }
    kv.arena.dispose();
    return outputs;
  };
}

function bounds(
  images: readonly (readonly [number, number])[],
  position: number,
  tokens: number,
): Int32Array {
  return Int32Array.from({ length: tokens }, (_, i) => {
    const at = position + i;
    return images.find(([first, end]) => at >= first && at < end)?.[1] ?? at + 1;
  });
}

/** Text, an image of `length` positions, text, another image, text; `chunks` cut it so that images stay whole. */
export function imageCase(
  dice: Dice,
  shape: Omit<AttentionShape, 'positions' | 'longestChunk'>,
): AttentionCase {
  const length = dice.pick([16, 70, 130]);
  const before = dice.between(1, 300);
  const images = [
    [before, before + length],
    [before + length + 3, before + 2 * length + 3],
  ] as const;
  const positions = before + 2 * length + 43;
  const chunks = [...cut(dice, before - 1, 64), length + 3, length + 1, ...cut(dice, 40, 9)];
  return { ...attentionCase(dice, { ...shape, positions, longestChunk: positions }, chunks), images };
}

function randomCase(dice: Dice): AttentionCase {
  const window = dice.pick([null, null, 1, 15, 64, 100, 512]);
  const longestChunk = dice.pick([1, 8, 9, 70, 200]);
  const positions = dice.pick([1, 2, 63, 64, 65, 130, 257, 300]);
  const shape = {
    kvHeads: dice.pick([1, 2, 4]),
    group: dice.pick([1, 2, 4, 7]),
    headDim: dice.pick([16, 64, 80, 128, 256]),
    window,
    positions,
    longestChunk: Math.min(longestChunk, positions),
  };
  return attentionCase(dice, shape, cut(dice, positions, shape.longestChunk));
}

export function attentionTests(subject: () => Backend, oracle: () => Backend): void {
  test('attention equals the oracle within 5e-6', async () => {
    for (let seed = 0; seed < cases(25); seed++) {
      const scenario = attentionScenario(randomCase(new Dice(seed)));
      assertClose(await scenario(subject()), await scenario(oracle()), 5e-6);
    }
  });

  test('positions of an image see all of it, text does not see ahead', async () => {
    for (let seed = 0; seed < cases(10); seed++) {
      const dice = new Dice(seed);
      const shape = {
        kvHeads: dice.pick([1, 2]),
        group: dice.pick([1, 4]),
        headDim: dice.pick([16, 64, 256]),
        window: dice.pick([null, 50, 300]),
      };
      const scenario = attentionScenario(imageCase(dice, shape));
      assertClose(await scenario(subject()), await scenario(oracle()), 5e-6);
    }
  });

  test('a change behind an image leaves the image alone, a change of its last position reaches its first', async () => {
    const shape = { kvHeads: 1, group: 1, headDim: 16, window: null };
    const input = imageCase(new Dice(3), shape);
    const [[first, end]] = input.images as [readonly [number, number]];
    const whole = { ...input, chunks: [input.positions] };
    const clean = await attentionScenario(whole)(subject());
    const changedAt = async (position: number) => {
      const k = input.k.slice();
      k.fill(3, position * 16, (position + 1) * 16);
      return attentionScenario({ ...whole, k })(subject());
    };
    assert.deepEqual((await changedAt(end)).subarray(0, end * 16), clean.subarray(0, end * 16));
    const within = await changedAt(end - 1);
    assert.deepEqual(within.subarray(0, first * 16), clean.subarray(0, first * 16));
    assert.notDeepEqual(
      within.subarray(first * 16, (first + 1) * 16),
      clean.subarray(first * 16, (first + 1) * 16),
    );
  });

  test('a ring that wraps many times holds exactly the window', async () => {
    const shape = { kvHeads: 1, group: 2, headDim: 32, window: 100, positions: 700, longestChunk: 29 };
    const dice = new Dice(1);
    const scenario = attentionScenario(attentionCase(dice, shape, cut(dice, 700, 29)));
    assertClose(await scenario(subject()), await scenario(oracle()), 5e-6);
  });

  test('large scores neither overflow nor lose the softmax', async () => {
    const shape = { kvHeads: 1, group: 1, headDim: 64, window: null, positions: 200, longestChunk: 200 };
    const plain = attentionCase(new Dice(2), shape, [200]);
    const scenario = attentionScenario({ ...plain, q: plain.q.map((value) => value * 100) });
    // Scores near 1000 carry an F32 rounding of 6e-5, which the exponential turns into a relative error.
    assertClose(await scenario(subject()), await scenario(oracle()), 1e-3);
  });

  test('what an earlier owner left in a page never reaches a result', async () => {
    const shape = { kvHeads: 2, group: 2, headDim: 64, window: 20, positions: 70, longestChunk: 70 };
    const input = attentionCase(new Dice(3), shape, [70]);
    const clean = await attentionScenario(input)(subject());
    const backend = subject();
    const kv = sequence(backend, { layers: 1, kvHeads: 2, headDim: 64 }, input.pageTable);
    const poison = upload(backend, new Float32Array(2 * PAGE_POSITIONS * 128).fill(Number.NaN), 128);
    const [k, v] = [upload(backend, input.k, 128), upload(backend, input.v, 128)];
    const [q, out] = [upload(backend, input.q, 256), backend.createActivation(70, 256)];
    const pass = backend.createPass();
    pass.kvWrite(kv, 0, poison, poison, 0, 2 * PAGE_POSITIONS);
    pass.kvWrite(kv, 0, k, v, 0, 70);
    pass.attention(out, q, kv, { layer: 0, position: 0, tokens: 70, heads: 4, window: 20, scale: 1 / 8 });
    await pass.submit();
    assert.deepEqual(download(backend, out), clean);
  });

  test('NaN poisons the rows that see it and no others', async () => {
    const shape = { kvHeads: 1, group: 2, headDim: 16, window: 10, positions: 40, longestChunk: 40 };
    const input = attentionCase(new Dice(4), shape, [40]);
    const clean = await attentionScenario(input)(subject());
    for (const part of ['q', 'k', 'v'] as const) {
      const values = input[part].slice();
      const width = values.length / 40;
      values.fill(Number.NaN, 20 * width, 21 * width);
      const poisoned = await attentionScenario({ ...input, [part]: values })(subject());
      for (const [i, value] of poisoned.entries()) {
        const token = Math.floor(i / 32);
        const sees = part === 'q' ? token === 20 : token >= 20 && token < 30;
        if (sees) assert.ok(Number.isNaN(value), `${part}: token ${token} is ${value}`);
        else assert.equal(value, clean[i], `${part}: token ${token}`);
      }
    }
  });

  test('values beyond F16 become infinite, values below it vanish', async () => {
    const scenario: Scenario = async (backend) => {
      const kv = sequence(backend, { layers: 1, kvHeads: 1, headDim: 16 }, Int32Array.of(0));
      const values = Float32Array.of(
        65504,
        65519,
        65520,
        -1e9,
        1e-9,
        2 ** -24,
        2 ** -25,
        1.0005,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
      );
      const [x, out] = [upload(backend, values, 16), backend.createActivation(1, 16)];
      const pass = backend.createPass();
      pass.kvWrite(kv, 0, upload(backend, new Float32Array(16), 16), x, 0, 1);
      pass.attention(out, x, kv, { layer: 0, position: 0, tokens: 1, heads: 1, window: null, scale: 1 });
      await pass.submit();
      return download(backend, out);
    };
    const expected = await scenario(oracle());
    assert.deepEqual(expected.subarray(0, 4), Float32Array.of(65504, 65504, Infinity, -Infinity));
    assert.deepEqual(await scenario(subject()), expected);
  });

  test('copyPage copies every layer of a page', async () => {
    const shape = { kvHeads: 2, group: 1, headDim: 32, window: null, positions: 50, longestChunk: 50 };
    const input = attentionCase(new Dice(5), shape, [50]);
    const backend = subject();
    const arena = backend.createKvArena({ layers: 2, kvHeads: 2, headDim: 32 }, 2);
    const [q, k, v] = [input.q, input.k, input.v].map((values) => upload(backend, values, 64));
    const write = backend.createPass();
    write.kvWrite({ arena, pageTable: Int32Array.of(0) }, 1, k!, v!, 0, 50);
    await write.submit();
    arena.copyPage(0, 1);
    const out = backend.createActivation(50, 64);
    const read = backend.createPass();
    const view = { arena, pageTable: Int32Array.of(1) };
    const options = { layer: 1, position: 0, tokens: 50, heads: 2, window: null, scale: 1 / Math.sqrt(32) };
    read.attention(out, q!, view, options);
    await read.submit();
    assert.deepEqual(download(backend, out), await attentionScenario(input)(backend));
  });
}
