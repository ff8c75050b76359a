/**
 * One process that loads a model, reads a prompt of eight tokens and gives the first token; started by speed.ts.
 *
 *   node bench/first-token.ts ours|llama FILE CONTEXT THREADS
 *
 * Prints one JSON line as soon as the token is there: resident memory of the process, its anonymous part and the part that
 * is mapped files.
 */
import { readFileSync, writeSync } from 'node:fs';

const [engine, file, context, threadCount] = process.argv.slice(2);
const contextLength = Number(context);
const threads = Number(threadCount);
const prompt = [2, 1000, 1001, 1002, 1003, 1004, 1005, 1006];

if (engine === 'ours') {
  const { loadGemmaEngine } = await import('../sidecar/engine/load-engine.ts');
  const model = await loadGemmaEngine({ modelPath: file!, contextLength, threads });
  for await (const event of model.generate(prompt, { maxTokens: 1, sampling: { temperature: 0 } })) {
    if (event.kind === 'token') report();
  }
} else {
  const { loadLlama } = await import('../test/support/llama.ts');
  const model = await loadLlama(file!, { contextSize: contextLength, threads });
  await model.time(prompt, 1);
  report();
}
// Giving everything back is not part of the question.
process.exit(0);

function report(): void {
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytes = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1]);
  const use = { resident: bytes('VmRSS'), anonymous: bytes('RssAnon'), mapped: bytes('RssFile') };
  writeSync(1, `${JSON.stringify(use)}\n`);
}
