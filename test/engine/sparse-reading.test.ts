/** Answers where tokens choose among KV pages: the same however they are computed or restored, and told how far off. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { GemmaEngineOptions } from '../../sidecar/engine/load-engine.ts';
import { type Run, run, withEngine } from '../support/engine-run.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'sparse-'));
const modelPath = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(modelPath, { branchScale: 0.5 }));
after(() => rmSync(folder, { recursive: true }));

const random = seededRandom(3);
const PROMPT = [
  2,
  ...Array.from({ length: 1300 }, () => Math.floor(random() * MODEL_SHAPES.nano.vocabulary)),
];
/** 14 pages lie further behind than the recent ones; four of them and the first are read. */
const SPARSE = { sparsePositions: 256 };

function answer(options: Partial<GemmaEngineOptions>, prompt = PROMPT): Promise<Run> {
  return withEngine({ modelPath, threads: 1, speculation: false, ...options }, (engine) =>
    run(engine, prompt, { maxTokens: 24 }),
  );
}

for (const kvFormat of ['f16', 'int8', 'int4'] as const) {
  test(`with ${kvFormat} pages, chunks, threads, drafts and a restart change no token`, async () => {
    const options = { ...SPARSE, kvFormat };
    const expected = await answer(options);
    assert.ok(expected.end.missedAtMost > 0 && expected.end.missedAtMost <= 1);
    const same = async (more: Partial<GemmaEngineOptions>, what: string) => {
      const actual = await answer({ ...options, ...more });
      assert.deepEqual(
        [actual.ids, actual.end.missedAtMost],
        [expected.ids, expected.end.missedAtMost],
        what,
      );
      return actual;
    };
    await same({ chunk: 64, threads: 2 }, 'small chunks');
    await same({ speculation: true }, 'drafts');
    const store = { folder: path.join(folder, kvFormat), mostBytes: 1e9, mostAgeMs: 1e9, reserveBytes: 0 };
    await same({ store }, 'writing to disk');
    const { ids, end } = await answer({ ...options, store });
    assert.deepEqual([ids, end.diskTokens], [expected.ids, 1280]);
    // What was computed by reading everything is something else, from the first block on that does not.
    const firstOther = 64 * (kvFormat === 'f16' ? 8 + 4 + 1 : 8);
    assert.equal((await answer({ kvFormat, store })).end.diskTokens, firstOther);
  });
}

test('where all that lies behind may be read, the answer is the exact one and nothing is missed', async () => {
  const exact = await answer({});
  const all = await answer({ sparsePositions: 4096 });
  assert.deepEqual([all.ids, all.end.missedAtMost, exact.end.missedAtMost], [exact.ids, 0, 0]);
});
