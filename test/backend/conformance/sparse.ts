/** Tokens that choose among pages: against the oracle, the same bits however a sequence was cut, and an honest bound. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Backend,
  coldPages,
  type KvFormat,
  type KvView,
  PAGE_POSITIONS,
} from '../../../sidecar/engine/backend/backend.ts';
import { createOracleBackend } from '../../support/oracle-backend.ts';
import { type AttentionCase, attentionCase, cut } from './attention.ts';
import { cases, type Subject } from './subjects.ts';
import { assertClose, assertSameBits, Dice, download, pagesFor, upload } from './world.ts';

interface SparseCase extends AttentionCase {
  readonly format: KvFormat;
  readonly recentPages: number;
  readonly topPages: number;
}

interface Output {
  readonly values: Float32Array;
  /** `[positions][heads]` */
  readonly missed: Float32Array;
}

function sparseCase(dice: Dice, format: KvFormat, positions: number, longest: number): SparseCase {
  const shape = {
    kvHeads: dice.pick([1, 2]),
    group: dice.pick([1, 2, 5]),
    headDim: dice.pick([16, 64, 80, 128]),
    window: null,
    positions,
    longestChunk: longest,
  };
  const recentPages = pagesFor(longest + PAGE_POSITIONS - 1) + dice.between(0, 1);
  const input = attentionCase(dice, shape, cut(dice, positions, longest));
  // Pages of a kind: the keys of each have a middle of their own, as text about one thing has.
  const width = shape.kvHeads * shape.headDim;
  const middles = dice.floats(pagesFor(positions) * width, 1);
  const k = input.k.map(
    (value, i) => value * 0.5 + middles[Math.floor(i / width / 64) * width + (i % width)]!,
  );
  return { ...input, k, format, recentPages, topPages: dice.between(1, 2) };
}

/** Writes and attends chunk by chunk, in the second of two layers; bounds pages when the first token may choose them. */
function sparseScenario(input: SparseCase): (backend: Backend) => Promise<Output> {
  const { kvHeads, group, headDim, chunks, positions, pageTable, format, recentPages, topPages } = input;
  const heads = kvHeads * group;
  const [kvWidth, width] = [kvHeads * headDim, heads * headDim];
  const shape = { layers: 2, kvHeads, headDim };
  return async (backend) => {
    const arena = backend.createKvArena(shape, pageTable.length, { bounded: format === 'f16' });
    const cold =
      format === 'f16' ? null : backend.createKvArena(shape, pageTable.length, { format, bounded: true });
    const values = new Float32Array(positions * width);
    const missed = new Float32Array(positions * heads);
    let [position, bounded] = [0, 0];
    for (const tokens of chunks) {
      for (; bounded < coldPages(recentPages, position + tokens - 1); bounded++) {
        const page = pageTable[bounded]!;
        cold?.compressPage(arena, page, page);
        (cold ?? arena).boundPage(page);
      }
      const rows = (all: Float32Array, columns: number) =>
        upload(backend, all.subarray(position * columns, (position + tokens) * columns), columns);
      const [q, k, v] = [rows(input.q, width), rows(input.k, kvWidth), rows(input.v, kvWidth)];
      const [out, share] = [backend.createActivation(tokens, width), backend.createActivation(tokens, heads)];
      backend.upload(share, new Float32Array(tokens * heads), 0);
      const kv: KvView = {
        arena,
        pageTable,
        sparse: { recentPages, topPages },
        ...(cold && {
          cold: {
            arena: cold,
            pageTable: pageTable.subarray(0, bounded),
            hotPages: recentPages,
            firstPage: 0,
          },
        }),
      };
      const pass = backend.createPass();
      pass.kvWrite(kv, 1, k, v, position, tokens);
      const options = { layer: 1, position, tokens, heads, window: null, scale: 1 / Math.sqrt(headDim) };
      pass.attention(out, q, kv, { ...options, missed: share });
      await pass.submit();
      values.set(download(backend, out), position * width);
      missed.set(download(backend, share), position * heads);
      for (const each of [q, k, v, out, share]) each.dispose();
      position += tokens;
    }
    arena.dispose();
    cold?.dispose();
    return { values, missed };
  };
}

export function sparseTests(subject: Subject): void {
  async function run(threads: number, input: SparseCase): Promise<Output> {
    const backend = subject.create({ precision: 'f32', threads });
    try {
      return await sparseScenario(input)(backend);
    } finally {
      backend.dispose();
    }
  }

  for (const format of ['f16', 'int8', 'int4'] as const) {
    test(`attention to chosen ${format} pages equals the oracle, and so does the bound`, async () => {
      const oracle = createOracleBackend();
      let missed = false;
      for (let seed = 0; seed < cases(3); seed++) {
        const dice = new Dice(seed);
        const input = sparseCase(dice, format, dice.pick([420, 500]), dice.pick([2, 9, 70]));
        const [actual, expected] = [await run(2, input), await sparseScenario(input)(oracle)];
        assertClose(actual.values, expected.values, format === 'f16' ? 5e-6 : 3e-4);
        // A little larger, for what rounding may hide.
        assertClose(actual.missed, expected.missed, 1e-3);
        missed ||= expected.missed.some((share) => share > 0 && share < 1);
      }
      assert.ok(missed);
    });

    test(`a token chooses the same ${format} pages in prefill, small chunks and decode`, async () => {
      for (let seed = 0; seed < cases(3); seed++) {
        const dice = new Dice(100 + seed);
        const whole = sparseCase(dice, format, 600, 120);
        const reference = await run(1, whole);
        for (const longest of [120, 8, 1]) {
          const pageTable = dice.permutation(whole.pageTable.length);
          const pieces = { ...whole, pageTable, chunks: cut(dice, 600, longest) };
          const output = await run(dice.between(1, 3), pieces);
          assertSameBits(output.values, reference.values, `seed ${seed}, chunks of ${longest}`);
          assertSameBits(output.missed, reference.missed, `bound, seed ${seed}, chunks of ${longest}`);
        }
      }
    });
  }

  test('the bound is never below what was missed', async () => {
    for (let seed = 0; seed < cases(4); seed++) {
      const dice = new Dice(200 + seed);
      const input = sparseCase(dice, 'f16', 700, 50);
      const { missed } = await run(2, input);
      // Values of one where the tokens of the last page choose and zero elsewhere make outputs the shares that lie there.
      const { kvHeads, headDim, group, positions } = input;
      const choosable = pagesFor(positions) - input.recentPages;
      const width = kvHeads * headDim * PAGE_POSITIONS;
      const v = input.v.map((_, i) => (Math.floor(i / width) < choosable ? 1 : 0));
      const [all, chosen] = [await run(2, { ...input, v, topPages: 99 }), await run(2, { ...input, v })];
      const heads = kvHeads * group;
      let largest = 0;
      for (let row = 640 * heads; row < positions * heads; row++) {
        const rest = 1 - chosen.values[row * headDim]!;
        if (rest < 1e-2) continue;
        const share = 1 - (1 - all.values[row * headDim]!) / rest;
        largest = Math.max(largest, share);
        assert.ok(missed[row]! >= share - 1e-4, `row ${row}: ${missed[row]} < ${share}`);
      }
      assert.ok(largest > 1e-3, 'something was missed');
    }
  });

  test('where every page is chosen, bits are those of reading all, and nothing is missed', async () => {
    const input = { ...sparseCase(new Dice(5), 'f16', 500, 70), topPages: 99 };
    const backend = subject.create({ precision: 'f32', threads: 2 });
    const { values, missed } = await sparseScenario(input)(backend);
    const { recentPages } = input;
    const all = await sparseScenario({ ...input, recentPages: recentPages + 99 })(backend);
    assertSameBits(values, all.values, 'all chosen');
    assert.ok(missed.every((share) => share === 0));
    backend.dispose();
  });

  test('a page with a key that is not finite is read', async () => {
    const plain = sparseCase(new Dice(9), 'f16', 600, 30);
    const k = plain.k.slice();
    const { kvHeads, group, headDim } = plain;
    k[2 * PAGE_POSITIONS * kvHeads * headDim] = Number.NaN;
    const { values } = await run(1, { ...plain, k });
    const last = values.subarray(599 * kvHeads * group * headDim).subarray(0, headDim);
    assert.ok(last.every((value) => Number.isNaN(value)));
  });

  test('choices that cannot be made are refused', async () => {
    const backend = subject.create({ precision: 'f32', threads: 1 });
    const shape = { layers: 1, kvHeads: 1, headDim: 16 };
    const [plain, bounded] = [
      backend.createKvArena(shape, 8),
      backend.createKvArena(shape, 8, { bounded: true }),
    ];
    const pageTable = Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7);
    const [q, out, wide] = [16, 16, 2].map((width) => backend.createActivation(100, width)) as [
      ReturnType<Backend['createActivation']>,
      ReturnType<Backend['createActivation']>,
      ReturnType<Backend['createActivation']>,
    ];
    const options = { layer: 0, position: 400, tokens: 1, heads: 1, window: null, scale: 1 };
    const refused = { name: 'RangeError' };
    const attend = (view: Partial<KvView>, more = {}) => {
      const pass = backend.createPass();
      const sparse = { topPages: 1, recentPages: 2 };
      pass.attention(out, q, { arena: bounded, pageTable, sparse, ...view }, { ...options, ...more });
    };
    attend({});
    assert.throws(() => attend({ arena: plain }), refused);
    assert.throws(() => attend({ sparse: { topPages: 0, recentPages: 2 } }), refused);
    assert.throws(() => attend({ sparse: { topPages: 1, recentPages: 0 } }), refused);
    assert.throws(() => attend({}, { window: 500 }), refused);
    assert.throws(() => attend({}, { missed: wide }), refused);
    // Its last token could choose a page that the pass itself writes.
    assert.throws(
      () => attend({ sparse: { topPages: 1, recentPages: 1 } }, { position: 320, tokens: 100 }),
      refused,
    );
    assert.throws(() => plain.boundPage(0), refused);
    assert.throws(() => bounded.boundPage(8), refused);
    backend.dispose();
  });
}
