/**
 * Are we faster than llama.cpp, and how near the machine's limit?
 *
 *   npm run bench -- [ROW...] [--rounds 3] [--threads 2] [--folder DIR] [--json FILE] [--svg FILE]
 *
 * The two take turns within one run, on the same synthetic files, so that what else the machine does hits both. llama.cpp is
 * node-llama-cpp's own choice of CPU build, with flash attention on or off, whichever was faster in the first round. Rows
 * are those of `speed-rows.ts`; without a name, the ones that take at most a minute or two each.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { cpuInstructionSets, createCpuBackend } from '../sidecar/engine/backend/cpu/cpu-backend.ts';
import type { GemmaEngine } from '../sidecar/engine/gemma-engine.ts';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { type LlamaModel, loadLlama } from '../test/support/llama.ts';
import { seededRandom } from '../test/support/random.ts';
import { measurePeaks } from './peaks.ts';
import { type RowResult, ratioChart } from './ratio-chart.ts';
import { ROWS, type Row } from './speed-rows.ts';
import { shapeOf, syntheticModel } from './synthetic-model.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(Math.min(2, cpus().length)) },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
    json: { type: 'string' },
    svg: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const threads = Number(values.threads);
const chosen = positionals.length > 0 ? positionals : Object.keys(ROWS).filter((name) => !ROWS[name]!.long);
for (const name of chosen) {
  if (ROWS[name] === undefined) {
    process.stderr.write(`There is no row "${name}"; choose of ${Object.keys(ROWS).join(', ')}.\n`);
    process.exit(2);
  }
}
mkdirSync(values.folder, { recursive: true });
await run();

async function run(): Promise<void> {
  const peaks = measurePeaks(threads);
  const processor = cpus()[0]?.model ?? 'unknown processor';
  console.log(
    `${processor}, ${threads} threads; peaks: int8 ${peaks.int8_gops} GOPS, BF16 ${peaks.bf16_gflops} GFLOPS, memory ${peaks.read_gbps} GB/s\n`,
  );
  const results: RowResult[] = [];
  const report = () => {
    const all = { processor, threads, rounds, peaks, date: new Date().toISOString(), results };
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(all, null, 2)}\n`);
    if (values.svg !== undefined) {
      writeFileSync(values.svg, ratioChart(results, `${processor}, ${threads} threads`));
    }
  };
  for (const name of chosen) {
    for (const result of await measureRow(name, ROWS[name]!)) {
      results.push(result);
      const other = result.row.startsWith('edit') ? 'plain' : 'llama.cpp';
      console.log(
        `${result.title}: ours ${shown(result.ours)} ${result.unit}` +
          (result.llama.length > 0 ? `, ${other} ${shown(result.llama)}, ratio ${shown(result.ratio)}` : '') +
          (result.note === undefined ? '' : ` (${result.note})`),
      );
      // After every row, so that a run that is stopped leaves what it has.
      report();
    }
  }
}

function measureRow(name: string, row: Row): Promise<RowResult[]> {
  switch (row.kind) {
    case 'prefill':
    case 'decode':
      return measureSpeed(name, row);
    case 'first-token':
      return measureProcess(name, row, 2048, 's', (run) => run.seconds);
    case 'memory':
      return measureProcess(name, row, 8192, 'GiB', (run) => run.resident / 2 ** 30);
    case 'instruction-sets':
      return measureInstructionSets(name, row);
    case 'avx2':
      return measureAvx2(name, row);
    case 'edit':
      return measureEdit(name, row);
  }
}

function modelFile({ shape, body, embedding }: Row): string {
  return syntheticModel(values.folder, shape, embedding, body);
}

/** Tokens a second, both engines in this process, taking turns. */
async function measureSpeed(name: string, row: Row): Promise<RowResult[]> {
  const file = modelFile(row);
  const { prompt = 16, generate = 0, depth = 0 } = row;
  const perRound = prompt + generate + 2;
  const contextLength = Math.min(
    Math.ceil((depth + (rounds + 1) * perRound + 64) / 256) * 256,
    shapeOf(row.shape).context,
  );
  // Random weights repeat themselves as no text does: speculation has a benchmark of its own, speculation.ts.
  const engine = await loadGemmaEngine({
    modelPath: file,
    threads,
    contextLength,
    speculation: false,
    kvFormat: row.kv ?? 'f16',
  });
  await engine.accelerated;
  const head = randomIds(depth, row, 1000);
  const ours: number[] = [];
  const theirs: number[] = [];
  const mine = async (round: number) => {
    const ids = [...head, ...randomIds(prompt, row, round)];
    const { prefillMs, decodeMs, cachedTokens } = await lastEvent(engine, ids, generate, depth);
    const seconds = (row.kind === 'prefill' ? prefillMs : decodeMs) / 1000;
    return (row.kind === 'prefill' ? ids.length - cachedTokens : generate) / seconds;
  };
  const other = async (llama: LlamaModel, round: number, continued: boolean) => {
    const { prefillMs, decodeMs } = await llama.time(randomIds(prompt, row, round), generate, continued);
    const seconds = (row.kind === 'prefill' ? prefillMs : decodeMs) / 1000;
    return (row.kind === 'prefill' ? prompt : generate) / seconds;
  };
  const load = (flashAttention: boolean) =>
    loadLlama(file, {
      contextSize: contextLength,
      threads,
      flashAttention,
      ...(row.kv !== undefined && { kv: 'Q8_0' }),
    });
  // The first round warms up, fills the depth and chooses llama.cpp's faster setting. At depth filling twice takes
  // minutes, and without flash attention it is slower there.
  await mine(0);
  let llama = await load(true);
  let flash = true;
  if (depth > 0) {
    await llama.time(head, 0);
    await other(llama, 0, true);
  } else {
    await other(llama, 0, false);
    const withFlash = await other(llama, 0, false);
    await llama.dispose();
    llama = await load(false);
    await other(llama, 0, false);
    flash = withFlash >= (await other(llama, 0, false));
    if (flash) {
      await llama.dispose();
      llama = await load(true);
      await other(llama, 0, false);
    }
  }
  for (let round = 1; round <= rounds; round++) {
    ours.push(await mine(round));
    theirs.push(await other(llama, round, depth > 0));
  }
  const description = `${engine.backendDescription}; llama.cpp ${flash ? 'with' : 'without'} flash attention`;
  await llama.dispose();
  await engine.dispose();
  return [
    {
      row: name,
      title: row.title,
      unit: 'tokens/s',
      ours,
      llama: theirs,
      ratio: ours.map((speed, i) => speed / theirs[i]!),
      note: description,
    },
  ];
}

async function lastEvent(engine: GemmaEngine, ids: readonly number[], generate: number, depth: number) {
  // The first token comes with the prompt; those after it are the decode steps.
  const options = { maxTokens: generate + 1, sampling: { temperature: 0 }, keepAt: [depth] };
  for await (const event of engine.generate(ids, options)) if (event.kind === 'end') return event;
  throw new Error('The engine gave no result.');
}

interface ProcessRun {
  readonly seconds: number;
  readonly resident: number;
  readonly anonymous: number;
  readonly mapped: number;
}

/** A fresh process for every round; the file is in the page cache, since the first round is not counted. */
async function measureProcess(
  name: string,
  row: Row,
  context: number,
  unit: string,
  figure: (run: ProcessRun) => number,
): Promise<RowResult[]> {
  const file = modelFile(row);
  const start = (engine: string) => startProcess([engine, file, String(context), String(threads)]);
  const ours: ProcessRun[] = [];
  const theirs: ProcessRun[] = [];
  for (let round = 0; round <= rounds; round++) {
    const mine = await start('ours');
    const other = await start('llama');
    if (round === 0) continue;
    ours.push(mine);
    theirs.push(other);
  }
  const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
  const parts = (run: ProcessRun) => `${gib(run.anonymous)} GiB anonymous + ${gib(run.mapped)} mapped`;
  return [
    {
      row: name,
      title: row.title,
      unit,
      ours: ours.map(figure),
      llama: theirs.map(figure),
      ratio: ours.map((run, i) => figure(theirs[i]!) / figure(run)),
      note: `less is better; ours ${parts(ours[0]!)}, llama.cpp ${parts(theirs[0]!)}`,
    },
  ];
}

function startProcess(args: readonly string[]): Promise<ProcessRun> {
  const script = path.join(import.meta.dirname, 'first-token.ts');
  const started = performance.now();
  const child: ChildProcess = spawn(process.execPath, [script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    let output = '';
    let seconds = 0;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      seconds ||= (performance.now() - started) / 1000;
      output += text;
    });
    child.on('error', reject);
    child.on('exit', (code) => {
      if (code === 0) resolve({ seconds, ...(JSON.parse(output) as Omit<ProcessRun, 'seconds'>) });
      else reject(new Error(`first-token.ts ${args[0]} ended with code ${code}.`));
    });
  });
}

/** Our own speed on every instruction set, beside llama.cpp's fastest build. */
async function measureInstructionSets(name: string, row: Row): Promise<RowResult[]> {
  const file = modelFile(row);
  const { prompt = 64 } = row;
  const llama = await loadLlama(file, { contextSize: 512, threads });
  const results: RowResult[] = [];
  for (const isa of cpuInstructionSets()) {
    const engine = await loadGemmaEngine({
      modelPath: file,
      contextLength: 512,
      createBackend: () => createCpuBackend({ isa, threads }),
    });
    const ours: number[] = [];
    const theirs: number[] = [];
    const most = isa === 'scalar' ? 1 : rounds;
    for (let round = isa === 'scalar' ? 1 : 0; round <= most; round++) {
      const ids = randomIds(prompt, row, round);
      const { prefillMs } = await lastEvent(engine, ids, 0, 0);
      const other = await llama.time(ids, 0);
      if (round === 0) continue;
      ours.push((1000 * prompt) / prefillMs);
      theirs.push((1000 * prompt) / other.prefillMs);
    }
    await engine.dispose();
    const ratio = ours.map((speed, i) => speed / theirs[i]!);
    const title = `Prefill ${prompt}, 1B, ours with ${isa}`;
    results.push({ row: `${name}-${isa}`, title, unit: 'tokens/s', ours, llama: theirs, ratio });
  }
  await llama.dispose();
  return results;
}

/** Our AVX2 kernels beside llama.cpp's AVX2 build, whatever else the processor has. */
async function measureAvx2(name: string, row: Row): Promise<RowResult[]> {
  const file = modelFile(row);
  const { prompt = 512 } = row;
  const llama = startVariant('haswell', file, prompt + 64);
  const engine = await loadGemmaEngine({
    modelPath: file,
    contextLength: prompt + 64,
    createBackend: () => createCpuBackend({ isa: 'avx2', threads }),
  });
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const ids = randomIds(prompt, row, round);
    const { prefillMs } = await lastEvent(engine, ids, 0, 0);
    const otherMs = await llama.time(ids);
    if (round === 0) continue;
    ours.push((1000 * prompt) / prefillMs);
    theirs.push((1000 * prompt) / otherMs);
  }
  await engine.dispose();
  llama.end();
  const ratio = ours.map((speed, i) => speed / theirs[i]!);
  return [{ row: name, title: row.title, unit: 'tokens/s', ours, llama: theirs, ratio }];
}

function startVariant(variant: string, file: string, context: number) {
  const script = path.join(import.meta.dirname, 'llama-variant.ts');
  const child = spawn(process.execPath, [script, variant, file, String(context), String(threads)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async time(ids: readonly number[]): Promise<number> {
      child.stdin.write(`${JSON.stringify(ids)}\n`);
      const { value, done } = await answers.next();
      if (done) throw new Error(`llama.cpp's ${variant} build ended.`);
      return Number(value);
    },
    end: () => child.stdin.end(),
  };
}

/** speculation.ts in a process of its own: here the other is our own plain decoding. */
async function measureEdit(name: string, row: Row): Promise<RowResult[]> {
  const script = path.join(import.meta.dirname, 'speculation.ts');
  const options = ['--rounds', String(rounds), '--threads', String(threads), '--folder', values.folder];
  const output = execFileSync(process.execPath, [script, row.shape, ...options, '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { plain, drafted } = JSON.parse(output) as { plain: number[]; drafted: number[] };
  const ratio = drafted.map((speed, i) => speed / plain[i]!);
  const note = 'beside our plain decoding, not llama.cpp';
  return [
    {
      row: name,
      title: `${row.title} (beside plain)`,
      unit: 'tokens/s',
      ours: drafted,
      llama: plain,
      ratio,
      note,
    },
  ];
}

function randomIds(length: number, { shape }: Row, seed: number): number[] {
  if (length === 0) return [];
  const random = seededRandom(seed + 1);
  const { vocabulary } = shapeOf(shape);
  return [2, ...Array.from({ length: length - 1 }, () => 200 + Math.floor(random() * (vocabulary - 200)))];
}

function shown(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1]!;
  return `${median.toFixed(2)} (${sorted[0]!.toFixed(2)} to ${sorted.at(-1)!.toFixed(2)})`;
}
