/**
 * Next-token distributions of nano-shaped models are llama.cpp's, whatever the embedding's type and however much longer
 * than the window the prompt is. llama.cpp rounds activations to int8 as we do; the bound covers the difference that
 * rounding at other places makes (bench/parity.ts measures it between llama.cpp's own paths).
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import type { TensorType } from '../../sidecar/engine/backend/tensor.ts';
import { loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { compareDistributions, logSoftmax } from '../support/distributions.ts';
import { loadLlama } from '../support/llama.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const MOST_DIVERGENCE = 1e-3;
/** Differences of log-probabilities up to this are numeric noise. */
const NOISE = 0.1;
const PROMPT_LENGTHS = [1, 7, 600, 3000];
const EMBEDDINGS: readonly TensorType[] = ['F16', 'Q8_0', 'Q6_K', 'Q4_0'];

const folder = mkdtempSync(path.join(tmpdir(), 'parity-'));
after(() => rmSync(folder, { recursive: true }));

for (const embedding of EMBEDDINGS) {
  describe(`Q4_0 layers, ${embedding} embedding`, () => {
    test(`as llama.cpp after ${PROMPT_LENGTHS.join(', ')} tokens`, async () => {
      const file = path.join(folder, `${embedding}.gguf`);
      writeTinyModel(file, { embedding });
      const engine = await loadGemmaEngine({ modelPath: file, threads: 2, contextLength: 4096 });
      // Its threads wait in loops: more than one is slow while other tests run.
      const llama = await loadLlama(file, { contextSize: 4096, threads: 1 });
      try {
        for (const length of PROMPT_LENGTHS) {
          const ids = randomIds(length);
          const theirs = await llama.logProbabilities(ids);
          const { divergence, sameTop, topGap } = compareDistributions(
            theirs,
            logSoftmax(await engine.logits(ids)),
          );
          assert.ok(divergence <= MOST_DIVERGENCE, `${length} tokens: divergence ${divergence}`);
          assert.ok(sameTop || topGap < NOISE, `${length} tokens: another first choice, gap ${topGap}`);
        }
      } finally {
        await llama.dispose();
        await engine.dispose();
      }
    });
  });
}

function randomIds(length: number): number[] {
  const random = seededRandom(length);
  const { vocabulary } = MODEL_SHAPES.nano;
  return [2, ...Array.from({ length: length - 1 }, () => Math.floor(random() * vocabulary))];
}
