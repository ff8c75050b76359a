/** Speculation changes how fast an answer comes, never which one: on a nano-shaped model, with its own weights drafting and without. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { GemmaEngine } from '../../sidecar/engine/gemma-engine.ts';
import { type GemmaEngineOptions, loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { DraftLength } from '../../sidecar/engine/speculation/draft-length.ts';
import { SuffixDrafter } from '../../sidecar/engine/speculation/suffix-drafter.ts';
import { type EndEvent, type Run, run, withEngine as withEngineOf } from '../support/engine-run.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const { vocabulary, window } = MODEL_SHAPES.nano;
const folder = mkdtempSync(path.join(tmpdir(), 'speculation-'));
const modelPath = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(modelPath, { branchScale: 0.5 }));
after(() => rmSync(folder, { recursive: true }));

describe('the engine', () => {
  /** Passages that come again with small changes, as in code that is rewritten. */
  const prompts = [1, 2, 3, 4].map((seed) => {
    const passage = randomIds(40 + 13 * seed, seed);
    const changed = passage.map((id, i) => (i % 17 === 5 ? id + 1 : id));
    return [2, ...passage, ...changed, ...passage.slice(0, 20)];
  });
  const samplings = [
    { name: 'greedy', sampling: { temperature: 0 } },
    { name: 'sampled', sampling: { temperature: 3, topK: 8, topP: 1, seed: 5 } },
    { name: 'penalised', sampling: { temperature: 0, repetitionPenalty: 1.3 } },
  ];

  test('gives the same tokens with and without drafts, on every prompt and with every kind of sampling', async () => {
    const plain = await runAll({ speculation: false });
    const drafted = await runAll({});
    assert.deepEqual(
      drafted.map(({ ids }) => ids),
      plain.map(({ ids }) => ids),
    );
    assert.ok(plain.every(({ end }) => end.draftedTokens === 0));
    const sum = (pick: (end: EndEvent) => number) => drafted.reduce((total, { end }) => total + pick(end), 0);
    const accepted = sum((end) => end.acceptedTokens);
    assert.ok(accepted > 0 && accepted < sum((end) => end.draftedTokens), `${accepted} accepted`);
  });

  test('gives the same tokens with a draft model, whose drafts are all right where it is the model itself', async () => {
    const plain = await runAll({ speculation: false });
    const drafted = await runAll({ draftModelPath: modelPath });
    assert.deepEqual(
      drafted.map(({ ids }) => ids),
      plain.map(({ ids }) => ids),
    );
    await withEngine({ draftModelPath: modelPath }, async (engine) => {
      const fresh = [2, ...randomIds(3 * window, 77)];
      const { end } = await run(engine, fresh, { maxTokens: 40, sampling: { temperature: 0 } });
      assert.ok(end.draftedTokens >= 10, `only ${end.draftedTokens} drafted`);
      assert.equal(end.acceptedTokens, end.draftedTokens);
    });
  });

  test('a draft never goes beyond the tokens that were asked for or the context', async () => {
    await withEngine({ contextLength: 512 }, async (engine) => {
      const loop = [2, ...Array.from({ length: 500 }, (_, i) => 10 + (i % 5))];
      const { ids, end } = await run(engine, loop, { maxTokens: 100, sampling: { temperature: 0 } });
      assert.equal(ids.length, 512 - loop.length);
      assert.equal(end.reason, 'context');
    });
  });

  test('an answer that was drafted is in the cache for the next turn', async () => {
    await withEngine({}, async (engine) => {
      const prompt = prompts[0]!;
      const first = await run(engine, prompt, { maxTokens: 60, sampling: { temperature: 0 } });
      assert.ok(first.end.draftedTokens > 0);
      const more = [...prompt, ...first.ids, ...randomIds(20, 99)];
      const next = await run(engine, more, { maxTokens: 8, sampling: { temperature: 0 } });
      assert.equal(next.end.cachedTokens, prompt.length + first.ids.length - 1);
      const alone = await withEngine({ speculation: false }, (fresh) =>
        run(fresh, more, { maxTokens: 8, sampling: { temperature: 0 } }),
      );
      assert.deepEqual(next.ids, alone.ids);
    });
  });

  test('a stop id within a draft ends the answer there', async () => {
    await withEngine({}, async (engine) => {
      const prompt = prompts[1]!;
      const { ids } = await run(engine, prompt, { maxTokens: 40, sampling: { temperature: 0 } });
      const stop = ids[25]!;
      const stopped = await run(engine, prompt, {
        maxTokens: 40,
        sampling: { temperature: 0 },
        stopIds: [stop],
      });
      assert.equal(stopped.end.reason, 'stop');
      assert.deepEqual(stopped.ids, ids.slice(0, ids.indexOf(stop)));
    });
  });

  test('a draft model of another vocabulary is refused with the difference', async () => {
    const other = path.join(folder, 'other.gguf');
    writeTinyModel(other, { seed: 2 });
    await assert.rejects(
      loadGemmaEngine({ modelPath, draftModelPath: other }),
      /cannot draft for this model: its piece \d+ is/,
    );
    const small = path.join(folder, 'small.gguf');
    writeTinyModel(small, { shape: { ...MODEL_SHAPES.nano, vocabulary: 1024 } });
    await assert.rejects(
      loadGemmaEngine({ modelPath, draftModelPath: small }),
      /it has 1,024 pieces, not 2,048.*Choose a smaller model of the same family/,
    );
  });

  function runAll(options: Partial<GemmaEngineOptions>): Promise<Run[]> {
    return withEngine(options, async (engine) => {
      const runs: Run[] = [];
      for (const prompt of prompts) {
        for (const { sampling } of samplings)
          runs.push(await run(engine, prompt, { maxTokens: 80, sampling }));
      }
      return runs;
    });
  }
});

describe('the suffix drafter', () => {
  /** Says `target` after `prompt` as a model would that makes no mistake; counts what the drafts spared. */
  function passesFor(
    prompt: readonly number[],
    target: readonly number[],
  ): { passes: number; wasted: number } {
    const drafter = new SuffixDrafter();
    const ids = [...prompt];
    drafter.begin(Uint32Array.from(ids));
    let passes = 0;
    let wasted = 0;
    for (let at = 0; at < target.length; ) {
      ids.push(target[at++]!);
      const draft = drafter.propose(Uint32Array.from(ids), Math.min(15, target.length - at));
      let accepted = 0;
      while (accepted < draft.length && draft[accepted] === target[at]) {
        accepted++;
        ids.push(target[at++]!);
      }
      if (draft.length > 0) drafter.settle(accepted);
      passes++;
      wasted += draft.length - accepted;
    }
    return { passes, wasted };
  }

  const passage = randomIds(1200, 31);

  test('copies a passage with far fewer passes than tokens', () => {
    const { passes } = passesFor([2, ...passage], passage);
    assert.ok(passes < passage.length / 4, `${passes} passes`);
  });

  test('finds back into the passage behind replaced, inserted and deleted tokens', () => {
    const edited = [
      ...passage.slice(0, 300),
      ...randomIds(3, 32),
      ...passage.slice(303, 600),
      ...randomIds(30, 33),
      ...passage.slice(600, 900),
      ...passage.slice(940),
    ];
    const { passes } = passesFor([2, ...passage], edited);
    assert.ok(passes < edited.length / 3, `${passes} passes`);
  });

  test('leaves text without repetitions alone', () => {
    const { wasted } = passesFor([2, ...passage], randomIds(800, 34));
    assert.ok(wasted < 200, `${wasted} tokens verified for nothing`);
  });
});

describe('the length of drafts', () => {
  test('grows with success and falls to nothing with failure', () => {
    const length = new DraftLength(1);
    const first = length.best(0, 4, 15);
    for (let i = 0; i < 40; i++) length.learn(0, 4, first, first);
    assert.ok(length.best(0, 4, 15) > first);
    for (let i = 0; i < 400; i++) length.learn(0, 4, 4, 0);
    assert.equal(length.best(0, 4, 15), 0);
  });

  test('is never more than asked for', () => {
    assert.ok(new DraftLength(1).best(0, 64, 3) <= 3);
    assert.equal(new DraftLength(1).best(0, 64, 0), 0);
  });
});

function randomIds(length: number, seed: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length }, () => 4 + Math.floor(random() * (vocabulary - 4)));
}

function withEngine<T>(
  options: Partial<GemmaEngineOptions>,
  use: (engine: GemmaEngine) => Promise<T>,
): Promise<T> {
  return withEngineOf({ modelPath, threads: 2, ...options }, use);
}
