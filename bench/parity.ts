/**
 * How far are our next-token distributions from llama.cpp's, and how far is llama.cpp from itself?
 *
 *   node bench/parity.ts [270m] [1b] [4b] [--embedding F16,Q8_0,Q6_K,Q4_0] [--lengths 1,7,600,3000] [--folder DIR]
 *
 * Writes synthetic models (kept in the folder for the next run) and prints a table: Kullback-Leibler divergence, whether the
 * first choice is the same and the reference's gap to its second, for ours against llama.cpp, and for llama.cpp without
 * flash attention and reading token by token against llama.cpp as it comes.
 */
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { TensorType } from '../sidecar/engine/backend/tensor.ts';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { compareDistributions, logSoftmax } from '../test/support/distributions.ts';
import { type LlamaOptions, loadLlama } from '../test/support/llama.ts';
import { seededRandom } from '../test/support/random.ts';
import { shapeOf, syntheticModel } from './synthetic-model.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    embedding: { type: 'string', default: 'F16' },
    lengths: { type: 'string', default: '1,7,600,3000' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
    /** llama.cpp's own differences take two more runs of llama.cpp. */
    noise: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const lengths = values.lengths.split(',').map(Number);
const threads = Number(values.threads);
const contextSize = Math.max(...lengths) + 64;

console.log(
  'model | embedding | tokens | compared with llama.cpp | KL divergence | same first choice | gap to second',
);
for (const name of positionals.length > 0 ? positionals : ['270m', '1b', '4b']) {
  for (const embedding of values.embedding.split(',')) await compare(name, embedding as TensorType);
}

async function compare(name: string, embedding: TensorType): Promise<void> {
  const file = syntheticModel(values.folder, name, embedding);

  const prompts = lengths.map((length) => randomIds(length, shapeOf(name).vocabulary));
  const reference = await byLlama(file, {}, prompts);
  const engine = await loadGemmaEngine({ modelPath: file, threads, contextLength: contextSize });
  const ours: Float64Array[] = [];
  for (const ids of prompts) ours.push(logSoftmax(await engine.logits(ids)));
  await engine.dispose();
  const others = new Map([['ours', ours]]);
  if (values.noise) {
    others.set('itself without flash attention', await byLlama(file, { flashAttention: false }, prompts));
    others.set('itself in batches of 8', await byLlama(file, { batchSize: 8 }, prompts));
  }
  for (const [i, length] of lengths.entries()) {
    for (const [who, distributions] of others) {
      const { divergence, sameTop, topGap } = compareDistributions(reference[i]!, distributions[i]!);
      console.log(
        [name, embedding, length, who, divergence.toExponential(2), sameTop, topGap.toFixed(4)].join(' | '),
      );
    }
  }
}

async function byLlama(
  file: string,
  options: Partial<LlamaOptions>,
  prompts: readonly (readonly number[])[],
): Promise<Float64Array[]> {
  const llama = await loadLlama(file, { contextSize, threads, ...options });
  const distributions: Float64Array[] = [];
  for (const ids of prompts) distributions.push(await llama.logProbabilities(ids));
  await llama.dispose();
  return distributions;
}

function randomIds(length: number, vocabulary: number): number[] {
  const random = seededRandom(length);
  return [2, ...Array.from({ length: length - 1 }, () => Math.floor(random() * vocabulary))];
}
