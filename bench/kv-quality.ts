/**
 * What do KV pages that are rounded, or not all read, cost in quality, and save in memory and time?
 *
 *   node bench/kv-quality.ts [--model FILE] [--tokens N] [--last 512] [--only f16,int8,...]
 *
 * Reads this repository's engine sources as one text of N tokens and compares the distributions after each of the last
 * tokens with those over F16 pages that are all read: Kullback-Leibler divergence (mean, worst), how often the first choice
 * is the same, perplexity; then the time of a token at the end, and KV bytes in use. Prints rows of a table.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { KvFormat } from '../sidecar/engine/backend/backend.ts';
import type { GemmaEngine } from '../sidecar/engine/gemma-engine.ts';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { builtInModelPath } from '../sidecar/models/find.ts';
import { compareDistributions, logSoftmax } from '../test/support/distributions.ts';

interface Mode {
  readonly name: string;
  readonly kvFormat: KvFormat;
  readonly sparsePositions?: number;
}

const MODES: readonly Mode[] = [
  { name: 'f16', kvFormat: 'f16' },
  { name: 'int8', kvFormat: 'int8' },
  { name: 'int4', kvFormat: 'int4' },
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
  },
});
const modelPath = values.model ?? builtInModelPath();
if (modelPath === null) throw new Error('There is no built-in model; name one with --model.');
const last = Number(values.last);
const only = values.only?.split(',');

const root = path.resolve(import.meta.dirname, '../sidecar/engine');
const text = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort()
  .map((name) => `// ${name}\n${readFileSync(path.join(root, name), 'utf8')}`)
  .join('\n');

let exact: Float64Array[] = [];
console.log(
  '| KV | tokens | KL mean | KL worst | same first choice | perplexity | missed at most | ms a token | KV in use, MiB |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
for (const { name, kvFormat, sparsePositions } of MODES) {
  if (name !== 'f16' && only !== undefined && !only.includes(name)) continue;
  const engine = await loadGemmaEngine({
    modelPath,
    kvFormat,
    speculation: false,
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
  const { missed, msPerToken } = await decode(engine, ids);
  console.log(
    `| ${name} | ${ids.length} | ${mean.toExponential(2)} | ${worst.toExponential(2)} | ${(100 * same).toFixed(1)} % | ${Math.exp(loss).toFixed(4)} | ${missed.toPrecision(2)} | ${msPerToken.toFixed(2)} | ${(kvUsed / 2 ** 20).toFixed(1)} |`,
  );
  await engine.dispose();
}

/** What 24 tokens behind the text may miss at most, and the time of one. */
async function decode(engine: GemmaEngine, ids: readonly number[]) {
  const prompt = ids.slice(0, -32);
  for await (const event of engine.generate(prompt, { maxTokens: 24, sampling: { temperature: 0 } })) {
    if (event.kind !== 'end') continue;
    return {
      missed: event.missedAtMost,
      msPerToken: event.decodeMs / Math.max(1, event.generatedTokens - 1),
    };
  }
  throw new Error('The answer has no end.');
}
