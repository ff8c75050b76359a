/**
 * How long after a cancel does generation end?
 *
 *   node bench/cancel.ts [1b] [4b] [--embedding F16] [--prompt 1024] [--rounds 12] [--threads 2] [--folder DIR]
 *
 * Cancels at moments spread over the reading of a prompt, and over the generation of an answer, and prints the time from
 * the abort to the last event: median and most, in milliseconds.
 */
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { TensorType } from '../sidecar/engine/backend/tensor.ts';
import type { GemmaEngine } from '../sidecar/engine/gemma-engine.ts';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { seededRandom } from '../test/support/random.ts';
import { syntheticModel } from './synthetic-model.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    embedding: { type: 'string', default: 'F16' },
    prompt: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '12' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
  },
});
const promptLength = Number(values.prompt);
const rounds = Number(values.rounds);
const random = seededRandom(1);
for (const name of positionals.length > 0 ? positionals : ['1b', '4b']) await measure(name);

async function measure(name: string): Promise<void> {
  const file = syntheticModel(values.folder, name, values.embedding as TensorType);
  const engine = await loadGemmaEngine({
    modelPath: file,
    threads: Number(values.threads),
    contextLength: promptLength + 256,
  });
  const readingMs = await cancelAfter(engine, 'prefill', 0, promptLength, Number.POSITIVE_INFINITY);
  for (const phase of ['prefill', 'decode'] as const) {
    const delays: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const length = phase === 'prefill' ? promptLength : 16;
      // Within the first half of the reading, lest it be over; or within some tokens.
      const moment = phase === 'prefill' ? (0.5 * readingMs * round) / rounds : 500 * random();
      delays.push(await cancelAfter(engine, phase, round + 1, length, moment));
    }
    const sorted = delays.toSorted((a, b) => a - b);
    console.log(
      `${name}, ${values.embedding} embedding, cancel in ${phase}: median ${sorted[sorted.length >> 1]!.toFixed(1)} ms, most ${sorted.at(-1)!.toFixed(1)} ms of ${rounds}`,
    );
  }
  await engine.dispose();
}

/** Milliseconds from the abort, `moment` ms into the phase, to the end; without an abort, the time of the prefill. */
async function cancelAfter(
  engine: GemmaEngine,
  phase: 'prefill' | 'decode',
  seed: number,
  length: number,
  moment: number,
): Promise<number> {
  const abort = new AbortController();
  let aborted = 0;
  const cancelSoon = async (): Promise<void> => {
    await wait(moment);
    aborted = performance.now();
    abort.abort();
  };
  const draw = seededRandom(seed + 100);
  const ids = [2, ...Array.from({ length: length - 1 }, () => Math.floor(draw() * 262_144))];
  let started = false;
  for await (const event of engine.generate(ids, {
    maxTokens: moment === Number.POSITIVE_INFINITY ? 1 : 200,
    signal: abort.signal,
    sampling: { temperature: 0 },
  })) {
    if (!started && event.kind === (phase === 'prefill' ? 'prefill' : 'token')) {
      started = true;
      if (Number.isFinite(moment)) void cancelSoon();
    }
    if (event.kind !== 'end') continue;
    if (!Number.isFinite(moment)) return event.prefillMs;
    if (event.reason !== 'cancelled') throw new Error(`Ended by ${event.reason} before the cancel.`);
    return performance.now() - aborted;
  }
  throw new Error('The engine gave no end.');
}
