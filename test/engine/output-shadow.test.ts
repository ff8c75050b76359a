/** Finding likely tokens by way of the output matrix's shadow changes how fast an answer comes, never which one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type CpuBackend, createCpuBackend } from '../../sidecar/engine/backend/cpu/cpu-backend.ts';
import type { Sampling } from '../../sidecar/engine/engine.ts';
import { type GemmaEngineOptions, loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const { vocabulary } = MODEL_SHAPES.nano;
const TYPES = ['F16', 'Q8_0'] as const;
const folder = mkdtempSync(path.join(tmpdir(), 'output-shadow-'));
const modelPath = (type: (typeof TYPES)[number]) => path.join(folder, `${type}.gguf`);
before(() => {
  for (const type of TYPES) writeTinyModel(modelPath(type), { embedding: type, branchScale: 0.5 });
});
after(() => rmSync(folder, { recursive: true }));

const SAMPLINGS: readonly Partial<Sampling>[] = [
  { temperature: 0 },
  { temperature: 0, repetitionPenalty: 1.4 },
  { temperature: 0, repetitionPenalty: 0.8 },
  { temperature: 1, topK: 64, topP: 0.95, seed: 3 },
  { temperature: 2, topK: 8, topP: 1, repetitionPenalty: 1.2, seed: 4 },
  { temperature: 2, topK: 5000, topP: 0.9, seed: 5 },
  { temperature: 1, topK: 0, topP: 0.9, seed: 6 },
];

for (const type of TYPES) {
  test(`the same tokens with and without a shadow of a ${type} output matrix, with and without drafts`, async () => {
    const plain = await answers(type, { outputShadow: false, speculation: false });
    const screened = await answers(type, { speculation: false });
    const drafted = await answers(type, {});
    assert.deepEqual(screened.ids, plain.ids);
    assert.deepEqual(drafted.ids, plain.ids);
    assert.ok(plain.screening.read === plain.screening.panels, 'without a shadow all is read');
    assert.ok(screened.screening.read < screened.screening.panels, 'with one, less');
  });
}

test('a shadow takes memory, and only where it is wanted', async () => {
  const weights = async (outputShadow: boolean) => {
    const createBackend = () => createCpuBackend({ threads: 1, shadows: true });
    const engine = await loadGemmaEngine({ modelPath: modelPath('F16'), outputShadow, createBackend });
    try {
      await engine.accelerated;
      return engine.memory().weights;
    } finally {
      await engine.dispose();
    }
  };
  const bytes = (await weights(true)) - (await weights(false));
  assert.ok(bytes > 0.8 * vocabulary * 256 && bytes < vocabulary * 256, `${bytes}`);
});

async function answers(type: (typeof TYPES)[number], options: Partial<GemmaEngineOptions>) {
  let backend: CpuBackend | undefined;
  const createBackend = () => {
    backend = createCpuBackend({ threads: 2, shadows: true });
    return backend;
  };
  const engine = await loadGemmaEngine({ modelPath: modelPath(type), ...options, createBackend });
  try {
    await engine.accelerated;
    const ids: number[][] = [];
    for (const [i, sampling] of SAMPLINGS.entries()) {
      const passage = randomIds(30, i);
      const answer: number[] = [];
      for await (const event of engine.generate([2, ...passage, ...passage], { maxTokens: 30, sampling })) {
        if (event.kind === 'token') answer.push(event.id);
      }
      ids.push(answer);
    }
    return { ids, screening: backend!.screening() };
  } finally {
    await engine.dispose();
  }
}

function randomIds(length: number, seed: number): number[] {
  const random = seededRandom(seed + 1);
  return Array.from({ length }, () => 10 + Math.floor(random() * (vocabulary - 10)));
}
