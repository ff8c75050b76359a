/**
 * What do KV pages that are rounded, or not all read, cost in quality, and save in memory and time?
 *
 *   node bench/kv-quality.ts [--model FILE] [--tokens N] [--last 512] [--only f16,int8,...]
 *                            [--positions 8192,32768,131072] [--rounds 9] [--precision int8|f32]
 *
 * Reads this repository's engine sources as one text of N tokens and compares the distributions after each of the last
 * tokens with those over F16 pages that are all read: Kullback-Leibler divergence (mean, worst), how often the first choice
 * is the same, perplexity, and KV bytes in use. With int8 activations, the default of the product, whatever is changed makes
 * activations round otherwise; `--precision f32` shows what the pages alone do. Then the needles of kv-needles.ts at each number of positions: how many are found,
 * how far outputs are off, and processor time and memory of one global layer of 1B. Prints rows of tables.
 */
import { parseArgs } from 'node:util';
import type { GemmaEngine } from '../sidecar/engine/gemma-engine.ts';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { builtInModelPath } from '../sidecar/models/find.ts';
import { compareDistributions, logSoftmax } from '../test/support/distributions.ts';
import { engineSources } from './engine-sources.ts';
import { findNeedles, type NeedleMode } from './kv-needles.ts';

const MODES: readonly NeedleMode[] = [
  { name: 'f16', kvFormat: 'f16' },
  { name: 'int8', kvFormat: 'int8' },
  { name: 'int4', kvFormat: 'int4' },
  { name: 'f16-sparse-2048', kvFormat: 'f16', sparsePositions: 2048 },
  { name: 'f16-sparse-512', kvFormat: 'f16', sparsePositions: 512 },
  { name: 'f16-sparse-256', kvFormat: 'f16', sparsePositions: 256 },
  { name: 'f16-sparse-64', kvFormat: 'f16', sparsePositions: 64 },
  { name: 'int8-sparse-256', kvFormat: 'int8', sparsePositions: 256 },
  { name: 'int4-sparse-256', kvFormat: 'int4', sparsePositions: 256 },
];

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    tokens: { type: 'string' },
    last: { type: 'string', default: '512' },
    only: { type: 'string' },
    positions: { type: 'string', default: '8192,32768,131072' },
    rounds: { type: 'string', default: '9' },
    precision: { type: 'string', default: 'int8' },
  },
});
const modelPath = values.model ?? builtInModelPath();
if (modelPath === null) throw new Error('There is no built-in model; name one with --model.');
const last = Number(values.last);
const only = values.only?.split(',');

const text = engineSources();

let exact: Float64Array[] = [];
console.log(
  '| KV | tokens | KL mean | KL worst | same first choice | perplexity | missed at most | KV in use, MiB |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
for (const { name, kvFormat, sparsePositions } of MODES) {
  if (name !== 'f16' && only !== undefined && !only.includes(name)) continue;
  const engine = await loadGemmaEngine({
    modelPath,
    kvFormat,
    speculation: false,
    precision: values.precision === 'f32' ? 'f32' : 'int8',
    ...(sparsePositions !== undefined && { sparsePositions }),
  });
  const tokens = Math.min(Number(values.tokens ?? engine.contextLength), engine.contextLength);
  const ids = [2, ...engine.tokenizer.encode(text)].slice(0, tokens);
  const logits = await engine.logits(ids, last);
  const { kvUsed } = engine.memory();
  const width = logits.length / last;
  const rows = Array.from({ length: last }, (_, i) => logSoftmax(logits.slice(i * width, (i + 1) * width)));
  if (name === 'f16') exact = rows;
  const compared = rows.map((row, i) => compareDistributions(exact[i]!, row));
  const mean = compared.reduce((sum, { divergence }) => sum + divergence, 0) / last;
  const worst = Math.max(...compared.map(({ divergence }) => divergence));
  const same = compared.filter(({ sameTop }) => sameTop).length / last;
  const targets = ids.slice(ids.length - last + 1);
  const loss = targets.reduce((sum, id, i) => sum - rows[i]![id]!, 0) / targets.length;
  const missed = await missedAtMost(engine, ids);
  console.log(
    `| ${name} | ${ids.length} | ${mean.toExponential(2)} | ${worst.toExponential(2)} | ${(100 * same).toFixed(1)} % | ${Math.exp(loss).toFixed(4)} | ${missed.toPrecision(2)} | ${(kvUsed / 2 ** 20).toFixed(1)} |`,
  );
  await engine.dispose();
}

console.log(
  '| positions | KV | found, even queries | found, peaked ones | error of outputs | attention, CPU ms | times F16 | MiB | times F16 |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
const asked = MODES.filter(({ name }) => name === 'f16' || only === undefined || only.includes(name));
for (const positions of values.positions
  .split(',')
  .filter((part) => part !== '')
  .map(Number)) {
  const results = await findNeedles(positions, asked, Number(values.rounds));
  for (const { name, recall, error, ms, timesF16, bytes } of results) {
    const share = bytes / results[0]!.bytes;
    console.log(
      `| ${positions} | ${name} | ${(100 * recall.even).toFixed(0)} % | ${(100 * recall.peaked).toFixed(0)} % | ${error.toPrecision(2)} | ${ms.toFixed(3)} | ${timesF16.toFixed(2)} | ${(bytes / 2 ** 20).toFixed(1)} | ${share.toFixed(2)} |`,
    );
  }
}

/** What 24 tokens behind the text may miss at most. */
async function missedAtMost(engine: GemmaEngine, ids: readonly number[]): Promise<number> {
  const prompt = ids.slice(0, -32);
  for await (const event of engine.generate(prompt, { maxTokens: 24, sampling: { temperature: 0 } })) {
    if (event.kind === 'end') return event.missedAtMost;
  }
  throw new Error('The answer has no end.');
}
