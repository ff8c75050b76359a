/**
 * Is our engine at least as fast as llama.cpp, on the same file, threads and machine?
 *
 *   node bench/speed.ts [1b] [--embedding F16] [--prompt 512] [--generate 64] [--rounds 5] [--threads 2] [--folder DIR]
 *
 * The two take turns within one run, so that what else the machine does hits both. Prints medians with least and most,
 * and the ratio of each round.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { TensorType } from '../sidecar/engine/backend/tensor.ts';
import { type GemmaEngine, loadGemmaEngine } from '../sidecar/engine/gemma-engine.ts';
import { loadLlama } from '../test/support/llama.ts';
import { seededRandom } from '../test/support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../test/support/tiny-model.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    embedding: { type: 'string', default: 'F16' },
    prompt: { type: 'string', default: '512' },
    generate: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
  },
});
const promptLength = Number(values.prompt);
const generated = Number(values.generate);
const threads = Number(values.threads);
const contextSize = promptLength + generated + 64;
mkdirSync(values.folder, { recursive: true });
for (const name of positionals.length > 0 ? positionals : ['1b']) await compare(name);

interface Speeds {
  readonly prefill: number;
  readonly decode: number;
}

async function compare(name: string): Promise<void> {
  const shape = MODEL_SHAPES[name as keyof typeof MODEL_SHAPES];
  if (shape === undefined) throw new RangeError(`There is no shape "${name}".`);
  const file = path.join(values.folder, `${name}-${values.embedding}.gguf`);
  if (!existsSync(file)) writeTinyModel(file, { shape, embedding: values.embedding as TensorType });
  const engine = await loadGemmaEngine({ modelPath: file, threads, contextLength: contextSize });
  const llama = await loadLlama(file, { contextSize, threads });
  console.log(`${name}, ${values.embedding} embedding, ${engine.backendDescription}`);
  const ours: Speeds[] = [];
  const theirs: Speeds[] = [];
  for (let round = 0; round <= Number(values.rounds); round++) {
    const ids = randomIds(promptLength, shape.vocabulary, round);
    const mine = await ownSpeeds(engine, ids);
    const { prefillMs, decodeMs } = await llama.time(ids, generated);
    // The first round warms both up.
    if (round === 0) continue;
    ours.push(mine);
    theirs.push({ prefill: (1000 * promptLength) / prefillMs, decode: (1000 * generated) / decodeMs });
  }
  for (const kind of ['prefill', 'decode'] as const) {
    const ratios = ours.map((speeds, i) => speeds[kind] / theirs[i]![kind]);
    console.log(
      `${kind} tokens/s: ours ${shown(ours.map((s) => s[kind]))}, llama.cpp ${shown(theirs.map((s) => s[kind]))}, ratio ${shown(ratios)}`,
    );
  }
  await llama.dispose();
  await engine.dispose();
}

async function ownSpeeds(engine: GemmaEngine, ids: readonly number[]): Promise<Speeds> {
  // The first token comes with the prompt; those after it are the decode steps.
  for await (const event of engine.generate(ids, {
    maxTokens: generated + 1,
    sampling: { temperature: 0 },
  })) {
    if (event.kind !== 'end') continue;
    return { prefill: (1000 * ids.length) / event.prefillMs, decode: (1000 * generated) / event.decodeMs };
  }
  throw new Error('The engine gave no result.');
}

function randomIds(length: number, vocabulary: number, seed: number): number[] {
  const random = seededRandom(seed + 1);
  return [2, ...Array.from({ length: length - 1 }, () => Math.floor(random() * vocabulary))];
}

function shown(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1]!;
  return `${median.toFixed(2)} (${sorted[0]!.toFixed(2)} to ${sorted.at(-1)!.toFixed(2)})`;
}
