import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { GemmaEngine } from '../sidecar/engine/gemma-engine.ts';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { builtInModelPath } from '../sidecar/models/find.ts';
import { compareDistributions, logSoftmax } from '../test/support/distributions.ts';
import { engineSources } from './engine-sources.ts';
import { syntheticModel } from './synthetic-model.ts';

const PRECISIONS = ['f32', 'bf16', 'int8'] as const;
const DECODED = 12;

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    shape: { type: 'string' },
    tokens: { type: 'string', default: '512' },
    last: { type: 'string', default: '128' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
  },
});
const modelPath =
  values.shape === undefined
    ? (values.model ?? builtInModelPath())
    : syntheticModel(values.folder, values.shape);
if (modelPath === null) throw new Error('There is no built-in model; name one with --model.');
const [tokens, last, rounds] = [Number(values.tokens), Number(values.last), Number(values.rounds)];

const engines: GemmaEngine[] = [];
for (const precision of PRECISIONS) {
  engines.push(
    await loadGemmaEngine({
      modelPath,
      precision,
      contextLength: tokens + DECODED + 1,
      speculation: false,
      threads: Number(values.threads),
    }),
  );
}
const { tokenizer } = engines[0]!;
const ids = [2, ...(values.shape === undefined ? tokenizer.encode(engineSources()) : madeUp(0))].slice(
  0,
  tokens,
);

const distributions: Float64Array[][] = [];
for (const engine of engines) {
  const logits = await engine.logits(ids, last);
  const width = logits.length / last;
  distributions.push(
    Array.from({ length: last }, (_, i) => logSoftmax(logits.slice(i * width, (i + 1) * width))),
  );
}

const least = engines.map(() => ({ prefill: Infinity, decode: Infinity }));
for (let round = 0; round < rounds; round++) {
  for (const [i, engine] of engines.entries()) {
    // Another beginning each time, so that nothing is found in the cache.
    const prompt = [2, ...madeUp(round + 1)].slice(0, tokens);
    for await (const event of engine.generate(prompt, {
      maxTokens: DECODED,
      sampling: { temperature: 0 },
    })) {
      if (event.kind !== 'end') continue;
      least[i]!.prefill = Math.min(least[i]!.prefill, event.prefillMs);
      least[i]!.decode = Math.min(least[i]!.decode, event.decodeMs / Math.max(1, event.generatedTokens - 1));
    }
  }
}

console.log(
  '| precision | KL mean | KL worst | same first choice | prompt, times int8 | token, times int8 |',
);
console.log('| --- | --- | --- | --- | --- | --- |');
for (const [i, precision] of PRECISIONS.entries()) {
  const compared = distributions[i]!.map((row, k) => compareDistributions(distributions[0]![k]!, row));
  const mean = compared.reduce((sum, { divergence }) => sum + divergence, 0) / last;
  const worst = Math.max(...compared.map(({ divergence }) => divergence));
  const same = compared.filter(({ sameTop }) => sameTop).length / last;
  const int8 = least.at(-1)!;
  console.log(
    `| ${precision} | ${mean.toExponential(2)} | ${worst.toExponential(2)} | ${(100 * same).toFixed(1)} % | ${(least[i]!.prefill / int8.prefill).toFixed(2)} | ${(least[i]!.decode / int8.decode).toFixed(2)} |`,
  );
}
for (const engine of engines) await engine.dispose();

function madeUp(salt: number): number[] {
  return Array.from(
    { length: tokens },
    (_, i) => 200 + ((i * 7919 + 104_729 * salt + 31) % (tokenizer.size - 300)),
  );
}
