/** What rounding KV pages does to the distributions of a model: nothing where all that is read is F16, little elsewhere. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { GemmaEngineOptions } from '../../sidecar/engine/load-engine.ts';
import { compareDistributions, logSoftmax } from '../support/distributions.ts';
import { withEngine } from '../support/engine-run.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'compressed-'));
const modelPath = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(modelPath, { branchScale: 0.5 }));
after(() => rmSync(folder, { recursive: true }));

const { vocabulary } = MODEL_SHAPES.nano;
const LAST = 32;
const random = seededRandom(5);
/** Twenty pages: behind the hot ones lie twelve. */
const TEXT = [2, ...Array.from({ length: 20 * 64 - 1 }, () => Math.floor(random() * vocabulary))];

/** Logits after each of the last tokens. Activations are exact, so that only pages are rounded. */
function logits(options: Partial<GemmaEngineOptions>): Promise<Float32Array> {
  return withEngine({ modelPath, threads: 1, precision: 'f32', ...options }, (engine) =>
    engine.logits(TEXT, LAST),
  );
}

let exact: Float32Array;
before(async () => {
  exact = await logits({});
});

test('where the exact beginning and the hot pages hold the whole text, logits have the bits of F16', async () => {
  assert.deepEqual(await logits({ kvFormat: 'int4', exactPages: 12 }), exact);
  assert.notDeepEqual(await logits({ kvFormat: 'int4', exactPages: 11 }), exact);
});

for (const [options, most] of [
  [{ kvFormat: 'int8' }, 1e-6],
  [{ kvFormat: 'int8', exactPages: 6 }, 1e-6],
  [{ kvFormat: 'int4' }, 2e-4],
  [{ kvFormat: 'int4', exactPages: 6 }, 2e-4],
] as const) {
  test(`distributions over ${JSON.stringify(options)} are within ${most} nats of F16`, async () => {
    const rounded = await logits(options);
    const row = (all: Float32Array, i: number) => logSoftmax(all.slice(i * vocabulary, (i + 1) * vocabulary));
    const divergences = Array.from(
      { length: LAST },
      (_, i) => compareDistributions(row(exact, i), row(rounded, i)).divergence,
    );
    const mean = divergences.reduce((sum, divergence) => sum + divergence, 0) / LAST;
    assert.ok(mean > 0 && mean <= most, `${mean}`);
  });
}
