/**
 * How much sooner does the first token come after a restart than by reading the prompt?
 *
 *   node bench/restore.ts [270m|1b|4b] [--tokens 32768] [--samples 4] [--folder DIR]
 *
 * Fills the store through the KV cache's own code with keys and values that are made up (computing those of 100,000 tokens
 * takes an hour), then asks for the first token behind them in a fresh process. What reading would have taken is measured on
 * chunks of 512 tokens at `samples` depths and added up between them. Files come from the system's page cache where
 * memory allows; a cold disk adds its own time for the printed size.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Backend, KvShape, KvView, Pass } from '../sidecar/engine/backend/backend.ts';
import { selectBackend } from '../sidecar/engine/backend/select.ts';
import { KvCache } from '../sidecar/engine/kv/kv-cache.ts';
import { kvPages } from '../sidecar/engine/kv/memory-plan.ts';
import { reportStore } from '../sidecar/engine/kv/store/limits.ts';
import { kvLayout, loadGemmaEngine, openKvStore, PASS_LIMITS } from '../sidecar/engine/load-engine.ts';
import { openModelFile } from '../sidecar/engine/model-file.ts';
import { seededRandom } from '../test/support/random.ts';
import { shapeOf, syntheticModel } from './synthetic-model.ts';

const SAMPLE_TOKENS = 512;

interface Timing {
  readonly loadMs: number;
  /** From the question to the first token, with everything but the end of the prompt on disk. */
  readonly firstTokenMs: number;
  /** Processor time of all threads meanwhile. */
  readonly firstTokenCpuMs: number;
  readonly fromDisk: number;
  readonly read: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tokens: { type: 'string', default: '32768' },
    samples: { type: 'string', default: '4' },
    folder: { type: 'string' },
    /** Of the process that asks: length of the prefix, and tokens behind it. */
    ask: { type: 'string' },
  },
});
const shapeName = positionals[0] ?? '1b';
const shape = shapeOf(shapeName);
// The last places of the context are for the question.
const tokens = Math.min(Number(values.tokens), shape.context) - 2 * SAMPLE_TOKENS;
const contextLength = tokens + 2 * SAMPLE_TOKENS;
const folder = values.folder ?? mkdtempSync(path.join(tmpdir(), 'restore-'));
const modelPath = syntheticModel(folder, shapeName);
const storeFolder = path.join(folder, `${shapeName}-kv`);
const store = { folder: storeFolder, mostBytes: 100e9, mostAgeMs: 1e12 };
const random = seededRandom(1);
const prompt = Uint32Array.from({ length: tokens }, () => Math.floor(random() * 4000));

if (values.ask !== undefined) {
  const [prefix, more] = values.ask.split('+').map(Number) as [number, number];
  process.stdout.write(JSON.stringify(await ask(prefix, more)));
} else {
  try {
    await compare();
  } finally {
    rmSync(storeFolder, { recursive: true, force: true });
    if (values.folder === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(): Promise<void> {
  const samples = Number(values.samples);
  const depths = Array.from(
    { length: samples },
    (_, i) => 64 * Math.round((tokens * i) / (samples - 1) / 64),
  );
  await fill(depths);
  const { bytes } = await reportStore(storeFolder);
  console.log(`${shapeName}, ${tokens} tokens, ${(bytes / 2 ** 20).toFixed(0)} MiB on disk`);

  const inChild = (question: string): Timing => {
    const args = [import.meta.filename, shapeName, '--tokens', values.tokens, '--folder', folder];
    return JSON.parse(
      execFileSync(process.execPath, [...args, '--ask', question], { encoding: 'utf8' }),
    ) as Timing;
  };
  const restored = [0, 1, 2]
    .map(() => inChild(`${tokens}+1`))
    .sort((a, b) => a.firstTokenMs - b.firstTokenMs)[1]!;
  console.log(
    `restored: first token after ${restored.firstTokenMs.toFixed(0)} ms (median of 3; ${restored.firstTokenCpuMs.toFixed(0)} ms of processor time), ${restored.fromDisk} tokens from disk, ${restored.read} read; loading the model took ${restored.loadMs.toFixed(0)} ms`,
  );
  const perToken = depths.map((depth) => {
    const { firstTokenMs, read } = inChild(`${depth}+${SAMPLE_TOKENS}`);
    const { firstTokenMs: without } = depth === 0 ? { firstTokenMs: 0 } : inChild(`${depth}+1`);
    const each = (firstTokenMs - without) / read;
    console.log(`reading at depth ${depth}: ${(1000 / each).toFixed(1)} tokens/s`);
    return each;
  });
  let readingMs = 0;
  for (let i = 1; i < samples; i++) {
    readingMs += ((perToken[i - 1]! + perToken[i]!) / 2) * (depths[i]! - depths[i - 1]!);
  }
  console.log(
    `reading it all: ${(readingMs / 1000).toFixed(1)} s (added up from the samples), ${(readingMs / restored.firstTokenMs).toFixed(0)} times as long`,
  );
}

/** Puts a made-up prefix on disk: every global block, and the local windows before each of `depths` and the end. */
async function fill(depths: readonly number[]): Promise<void> {
  const { gguf, config } = openModelFile(modelPath);
  const backend = selectBackend({ kind: 'cpu' });
  const layout = kvLayout(config);
  const kvStore = await openKvStore(store, gguf, config, backend, layout);
  const kv = new KvCache(backend, layout, kvPages(layout, contextLength), kvStore);
  const sequence = kv.begin(prompt, 0);
  const write = writer(backend, layout.shapes.global);
  for (let done = 0; done < tokens; ) {
    const next = depths.find((depth) => depth > done) ?? tokens;
    const count = Math.min(PASS_LIMITS.tokens, next - done);
    const views = sequence.prepare(count);
    const pass = backend.createPass();
    for (const kind of ['local', 'global'] as const)
      write(pass, views[kind], layout.shapes[kind], done, count);
    await pass.submit();
    sequence.commit(prompt.subarray(done, done + count));
    done += count;
    if (done !== next) continue;
    const last = kvStore.keys(sequence.ids).at(-1);
    while (last !== undefined && !kvStore.has('local', last)) {
      kv.persist(sequence);
      await kvStore.flush();
    }
  }
  await kvStore.close();
  kv.dispose();
  backend.dispose();
}

function writer(backend: Backend, { kvHeads, headDim }: KvShape) {
  const rows = backend.createActivation(PASS_LIMITS.tokens, kvHeads * headDim);
  const noise = Float32Array.from({ length: PASS_LIMITS.tokens * kvHeads * headDim }, () => random() - 0.5);
  backend.upload(rows, noise, 0);
  return (pass: Pass, view: KvView, { layers }: KvShape, position: number, count: number) => {
    for (let layer = 0; layer < layers; layer++) pass.kvWrite(view, layer, rows, rows, position, count);
  };
}

/** The first token behind `prefix` tokens that are on disk and `more` that are not. */
async function ask(prefix: number, more: number): Promise<Timing> {
  const started = performance.now();
  const engine = await loadGemmaEngine({ modelPath, store, contextLength });
  const loaded = performance.now();
  const loadedCpu = process.cpuUsage();
  const question = [...prompt.subarray(0, prefix), ...Array.from({ length: more }, (_, i) => 4001 + i)];
  let firstTokenMs = 0;
  let firstTokenCpuMs = 0;
  for await (const event of engine.generate(question, { maxTokens: 1, sampling: { temperature: 0 } })) {
    if (event.kind === 'token') {
      const { user, system } = process.cpuUsage(loadedCpu);
      firstTokenMs = performance.now() - loaded;
      firstTokenCpuMs = (user + system) / 1000;
    }
    if (event.kind !== 'end') continue;
    const fromDisk = event.diskTokens;
    const read = question.length - fromDisk;
    const timing = { loadMs: loaded - started, firstTokenMs, firstTokenCpuMs, fromDisk, read };
    await engine.dispose();
    return timing;
  }
  throw new Error('The answer has no end.');
}
