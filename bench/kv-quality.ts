/**
 * What do compressed KV pages cost in quality, and save in memory?
 *
 *   node bench/kv-quality.ts [--model FILE] [--tokens N] [--last 512]
 *
 * Reads this repository's engine sources as one text of N tokens and compares the distributions after each of the last
 * tokens with those over F16 pages: Kullback-Leibler divergence (mean, worst), how often the first choice is the same,
 * perplexity; and KV bytes in use at the end. Prints rows of a table.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { builtInModelPath } from '../sidecar/models/find.ts';
import { compareDistributions, logSoftmax } from '../test/support/distributions.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    tokens: { type: 'string' },
    last: { type: 'string', default: '512' },
  },
});
const modelPath = values.model ?? builtInModelPath();
if (modelPath === null) throw new Error('There is no built-in model; name one with --model.');
const last = Number(values.last);

const root = path.resolve(import.meta.dirname, '../sidecar/engine');
const text = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort()
  .map((name) => `// ${name}\n${readFileSync(path.join(root, name), 'utf8')}`)
  .join('\n');

let exact: Float64Array[] = [];
console.log('| KV | tokens | KL mean | KL worst | same first choice | perplexity | KV in use, MiB |');
console.log('| --- | --- | --- | --- | --- | --- | --- |');
for (const kvFormat of ['f16', 'int8', 'int4'] as const) {
  const engine = await loadGemmaEngine({ modelPath, kvFormat });
  const tokens = Math.min(Number(values.tokens ?? engine.contextLength), engine.contextLength);
  const ids = [2, ...engine.tokenizer.encode(text)].slice(0, tokens);
  const logits = await engine.logits(ids, last);
  const width = logits.length / last;
  const rows = Array.from({ length: last }, (_, i) => logSoftmax(logits.slice(i * width, (i + 1) * width)));
  if (kvFormat === 'f16') exact = rows;
  const compared = rows.map((row, i) => compareDistributions(exact[i]!, row));
  const mean = compared.reduce((sum, { divergence }) => sum + divergence, 0) / last;
  const worst = Math.max(...compared.map(({ divergence }) => divergence));
  const same = compared.filter(({ sameTop }) => sameTop).length / last;
  const targets = ids.slice(ids.length - last + 1);
  const loss = targets.reduce((sum, id, i) => sum - rows[i]![id]!, 0) / targets.length;
  console.log(
    `| ${kvFormat} | ${ids.length} | ${mean.toExponential(2)} | ${worst.toExponential(2)} | ${(100 * same).toFixed(1)} % | ${Math.exp(loss).toFixed(4)} | ${(engine.memory().kvUsed / 2 ** 20).toFixed(1)} |`,
  );
  await engine.dispose();
}
