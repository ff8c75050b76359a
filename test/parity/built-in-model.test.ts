/**
 * The built-in model, trained weights and real text: llama.cpp reads the same file, cuts text into the same tokens and
 * gives the same distribution of the next one.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { builtInModelPath } from '../../sidecar/models/find.ts';
import { compareDistributions, logSoftmax } from '../support/distributions.ts';
import { loadLlama } from '../support/llama.ts';

const MOST_DIVERGENCE = 1e-3;
/** llama.cpp's two likeliest tokens may change places below this gap, in nats. */
const NOISE = 0.1;

const ROOT = path.resolve(import.meta.dirname, '../..');
const model = builtInModelPath();
assert.ok(model, 'models/ has no built-in model');
const engine = await loadGemmaEngine({ modelPath: model, threads: 2 });
// Its threads wait in loops: more than one is slow while other tests run.
const llama = await loadLlama(model, { contextSize: engine.contextLength, threads: 1 });
after(async () => {
  await llama.dispose();
  await engine.dispose();
});

const text = readFileSync(path.join(ROOT, 'sidecar/engine/model/gemma3.ts'), 'utf8');
const ids = [engine.tokenizer.special.bos, ...engine.tokenizer.encode(text)];

for (const length of [1, 7, 200, 1100]) {
  test(`next-token distribution after ${length} tokens of TypeScript`, async () => {
    assert.ok(ids.length >= length, `the text has only ${ids.length} tokens`);
    const prompt = ids.slice(0, length);
    const theirs = await llama.logProbabilities(prompt);
    const { divergence, sameTop, topGap } = compareDistributions(
      theirs,
      logSoftmax(await engine.logits(prompt)),
    );
    assert.ok(divergence <= MOST_DIVERGENCE, `KL divergence ${divergence}`);
    assert.ok(sameTop || topGap < NOISE, `another first choice, gap ${topGap}`);
  });
}
