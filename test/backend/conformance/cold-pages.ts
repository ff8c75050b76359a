/** Compressed pages behind F16 ones: against the oracle, and the same bits however a sequence was cut. */
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
import { assertClose, assertSameBits, Dice, download, pagesFor, type Scenario, upload } from './world.ts';

interface ColdCase extends AttentionCase {
  readonly format: KvFormat;
  readonly hotPages: number;
  readonly firstPage: number;
}

function coldCase(dice: Dice, format: KvFormat, positions: number, longest: number): ColdCase {
  const shape = {
    kvHeads: dice.pick([1, 2]),
    group: dice.pick([1, 2, 4, 7]),
    headDim: dice.pick([16, 64, 80, 128, 256]),
    window: null,
    positions,
    longestChunk: longest,
  };
  const hotPages = pagesFor(longest + PAGE_POSITIONS - 1) + dice.between(0, 1);
  const firstPage = dice.pick([0, 0, 1, 2]);
  return { ...attentionCase(dice, shape, cut(dice, positions, longest)), format, hotPages, firstPage };
}

/**
 * Writes and attends chunk by chunk, in the second of two layers, and compresses what turns cold before each; a page in a form
 * in which no later token reads it is then spoilt.
 */
function coldScenario(input: ColdCase): Scenario {
  const { kvHeads, group, headDim, chunks, positions, pageTable, hotPages, firstPage } = input;
  const [kvWidth, width] = [kvHeads * headDim, kvHeads * group * headDim];
  const shape = { layers: 2, kvHeads, headDim };
  return async (backend) => {
    const arena = backend.createKvArena(shape, pageTable.length);
    const cold = backend.createKvArena(shape, pageTable.length, { format: input.format });
    const junk = upload(backend, new Float32Array(PAGE_POSITIONS * kvWidth).fill(Number.NaN), kvWidth);
    const spoilt = backend.createKvArena(shape, 1);
    const spoil = backend.createPass();
    const onePage = { arena: spoilt, pageTable: Int32Array.of(0) };
    for (const layer of [0, 1]) spoil.kvWrite(onePage, layer, junk, junk, 0, PAGE_POSITIONS);
    await spoil.submit();
    const outputs = new Float32Array(positions * width);
    let [position, compressed] = [0, 0];
    for (const tokens of chunks) {
      const pass = backend.createPass();
      for (let page = firstPage; page < coldPages(hotPages, position); page++) {
        const unused = { arena, pageTable: pageTable.subarray(page, page + 1) };
        pass.kvWrite(unused, 1, junk, junk, 0, PAGE_POSITIONS);
      }
      for (; compressed < coldPages(hotPages, position + tokens - 1); compressed++) {
        const page = pageTable[compressed]!;
        if (compressed < firstPage) cold.compressPage(spoilt, 0, page);
        else cold.compressPage(arena, page, page);
      }
      const rows = (values: Float32Array, columns: number) =>
        upload(backend, values.subarray(position * columns, (position + tokens) * columns), columns);
      const [q, k, v] = [rows(input.q, width), rows(input.k, kvWidth), rows(input.v, kvWidth)];
      const out = backend.createActivation(tokens, width);
      const kv: KvView = {
        arena,
        pageTable,
        cold: { arena: cold, pageTable: pageTable.subarray(0, compressed), hotPages, firstPage },
      };
      pass.kvWrite(kv, 1, k, v, position, tokens);
      const scale = 1 / Math.sqrt(headDim);
      pass.attention(out, q, kv, { layer: 1, position, tokens, heads: kvHeads * group, window: null, scale });
      await pass.submit();
      outputs.set(download(backend, out), position * width);
      for (const each of [q, k, v, out]) each.dispose();
      position += tokens;
    }
    for (const each of [junk, spoilt, arena, cold]) each.dispose();
    return outputs;
  };
}

export function coldPageTests(subject: Subject): void {
  async function run(threads: number, scenario: Scenario): Promise<Float32Array> {
    const backend = subject.create({ precision: 'f32', threads });
    try {
      return await scenario(backend);
    } finally {
      backend.dispose();
    }
  }

  for (const format of ['int8', 'int4'] as const) {
    test(`attention to F16 and ${format} pages equals the oracle within 3e-4`, async () => {
      const oracle = createOracleBackend();
      for (let seed = 0; seed < cases(4); seed++) {
        const dice = new Dice(seed);
        const longest = dice.pick([1, 9, 70, 200]);
        const scenario = coldScenario(coldCase(dice, format, dice.pick([200, 333, 400]), longest));
        // Queries and weights are rounded to 16 bits.
        assertClose(await run(2, scenario), await scenario(oracle), 3e-4);
      }
    });

    test(`a token has the same bits in prefill, small chunks and decode over F16 and ${format} pages`, async () => {
      for (let seed = 0; seed < cases(3); seed++) {
        const dice = new Dice(100 + seed);
        const whole = coldCase(dice, format, 420, 150);
        const reference = await run(1, coldScenario(whole));
        for (const longest of [150, 8, 1]) {
          const pageTable = dice.permutation(whole.pageTable.length);
          const pieces = { ...whole, pageTable, chunks: cut(dice, 420, longest) };
          const what = `seed ${seed}, chunks of ${longest}`;
          assertSameBits(await run(dice.between(1, 3), coldScenario(pieces)), reference, what);
        }
      }
    });

    test(`bytes of a ${format} page are the same on every instruction set, and survive a read and a write`, async () => {
      const shape = { layers: 2, kvHeads: 2, headDim: 32 };
      const values = new Dice(7).floats(PAGE_POSITIONS * 64);
      values[5] = 0;
      values.fill(0, 64, 96);
      const bytes = async (backend: Backend) => {
        const [hot, cold] = [backend.createKvArena(shape, 1), backend.createKvArena(shape, 3, { format })];
        const x = upload(backend, values, 64);
        const pass = backend.createPass();
        for (const layer of [0, 1]) {
          pass.kvWrite({ arena: hot, pageTable: Int32Array.of(0) }, layer, x, x, 0, PAGE_POSITIONS);
        }
        await pass.submit();
        cold.compressPage(hot, 0, 2);
        const [first, copy] = [new Uint8Array(cold.pageBytes), new Uint8Array(cold.pageBytes)];
        cold.readPage(2, first);
        cold.writePage(0, first);
        cold.copyPage(0, 1);
        cold.readPage(1, copy);
        assert.deepEqual(copy, first);
        const refused = { name: 'RangeError' };
        assert.throws(() => cold.readPage(3, first), refused);
        assert.throws(() => cold.writePage(0, first.subarray(1)), refused);
        assert.throws(() => cold.compressPage(cold, 2, 0), refused);
        assert.throws(() => hot.compressPage(hot, 0, 0), refused);
        const other = backend.createKvArena({ ...shape, layers: 1 }, 1, { format });
        assert.throws(() => other.compressPage(hot, 0, 0), refused);
        return first;
      };
      const backend = subject.create({ precision: 'f32', threads: 1 });
      const digest = (await bytes(backend)).reduce((sum, byte) => (sum * 31 + byte) % 1_000_003, 7);
      backend.dispose();
      assert.equal(digest, format === 'int8' ? 103_125 : 920_346);
    });
  }

  test('a value that is not finite poisons every row that sees its compressed page', async () => {
    const plain = { ...coldCase(new Dice(9), 'int8', 200, 30), firstPage: 0 };
    for (const part of ['k', 'v'] as const) {
      const values = plain[part].slice();
      values[3 * plain.kvHeads * plain.headDim] = Number.POSITIVE_INFINITY;
      const output = await run(1, coldScenario({ ...plain, [part]: values }));
      const width = plain.kvHeads * plain.group * plain.headDim;
      const poisoned = output.subarray(199 * width, 199 * width + plain.group * plain.headDim);
      assert.ok(
        poisoned.every((value) => Number.isNaN(value)),
        part,
      );
    }
  });
}
