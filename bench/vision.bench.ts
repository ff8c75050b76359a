/**
 * How long does one image take, and how near is that to the machine's BF16 peak?
 *
 * `node bench/vision.bench.ts [--layers 27] [--threads 2] [--rounds 2] [--precision int8|bf16|f32] [--folder DIR] [--json FILE]`
 *
 * A synthetic tower of Gemma 3's shape encodes an image: once as the engine does, a pass a layer, and once with every
 * operation as a pass of its own, which gives the time of each part. The peak is measured in the same run. Processor time of
 * all threads over their number says what the wall clock would on a quiet machine. Layers are alike: with fewer of them times
 * of the parts can be scaled.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Pass } from '../sidecar/engine/backend/backend.ts';
import { createCpuBackend } from '../sidecar/engine/backend/cpu/cpu-backend.ts';
import { readGguf } from '../sidecar/engine/model/gguf.ts';
import { resize } from '../sidecar/engine/vision/resize.ts';
import type { RgbImage } from '../sidecar/engine/vision/rgb-image.ts';
import { type RunPass, Tower } from '../sidecar/engine/vision/tower.ts';
import { readTowerFile, type TowerConfig } from '../sidecar/engine/vision/tower-file.ts';
import { FULL_TOWER, writeSyntheticTower } from '../test/support/synthetic-tower.ts';
import { measurePeaks } from './peaks.ts';

const MIB = 2 ** 20;

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string', default: '27' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '2' },
    precision: { type: 'string', default: 'int8' },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
    json: { type: 'string' },
  },
});
const threads = Number(options.threads);
const config: TowerConfig = { ...FULL_TOWER, layers: Number(options.layers) };

mkdirSync(options.folder, { recursive: true });
const file = path.join(options.folder, `tower-${config.layers}.gguf`);
if (!existsSync(file)) writeSyntheticTower(file, config);

const peaks = measurePeaks(threads);
const precision = (['int8', 'bf16', 'f32'] as const).find((name) => name === options.precision) ?? 'int8';
const backend = createCpuBackend({ threads, precision });
const loaded = await timed(() => Tower.load(readTowerFile(readGguf(file)), backend));
const tower = loaded.result;
const { weights } = backend.memory();
const afterLoading = memory().now;
const screen = gradient(1920, 1080);
const resized = await timed(async () => resize(screen, config.imageSize, config.imageSize));

let best: Time = { wall: Infinity, cpu: Infinity };
for (let round = 0; round < Number(options.rounds); round++) {
  const { wall, cpu } = await timed(() => tower.encode(resized.result, wholePass, () => {}));
  best = { wall: Math.min(best.wall, wall), cpu: Math.min(best.cpu, cpu) };
}
const extra = memory().most - afterLoading;

const parts = new Map<string, Time>();
await tower.encode(resized.result, passesApart, () => {});

const { linear, attention } = operations(config);
const matmul = parts.get('matmul') ?? { wall: Infinity, cpu: Infinity };
const mutual = parts.get('mutualAttention') ?? { wall: Infinity, cpu: Infinity };
const report = {
  backend: backend.description,
  precision: options.precision,
  layers: config.layers,
  encode_s: best.wall,
  encode_cpu_s: best.cpu,
  load_s: loaded.wall,
  resize_1080p_s: resized.wall,
  bf16_peak_gflops: peaks.bf16_gflops,
  linear_gflops: linear / 1e9 / matmul.cpu,
  linear_share_of_peak: linear / 1e9 / matmul.cpu / peaks.bf16_gflops,
  attention_gflops: attention / 1e9 / mutual.cpu,
  weights_mib: weights / MIB,
  extra_mib: extra / MIB,
  parts: Object.fromEntries([...parts].map(([name, { wall, cpu }]) => [name, { wall_s: wall, cpu_s: cpu }])),
};
const seconds = (value: number) => `${value.toFixed(2)} s`;
console.log(`${report.backend}, ${config.layers} layers; BF16 peak ${peaks.bf16_gflops.toFixed(0)} GFLOPS`);
console.log(`one image: ${seconds(best.wall)}, ${seconds(best.cpu)} by processor time`);
for (const [name, { wall, cpu }] of [...parts].sort((a, b) => b[1].cpu - a[1].cpu))
  console.log(`  ${name.padEnd(16)} ${seconds(wall)}, ${seconds(cpu)} by processor time`);
console.log(
  `linear layers: ${report.linear_gflops.toFixed(0)} GFLOPS, ${(100 * report.linear_share_of_peak).toFixed(0)} % of the peak; ` +
    `attention: ${report.attention_gflops.toFixed(0)} GFLOPS (both by processor time)`,
);
console.log(
  `weights ${report.weights_mib.toFixed(0)} MiB, ${report.extra_mib.toFixed(0)} MiB more at most; loading ${seconds(loaded.wall)}; resizing 1920 x 1080 ${seconds(resized.wall)}`,
);
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
tower.dispose();
backend.dispose();

interface Time {
  /** Seconds. */
  readonly wall: number;
  /** Processor time of all threads over their number. */
  readonly cpu: number;
}

async function timed<T>(work: () => Promise<T>): Promise<Time & { readonly result: T }> {
  const start = performance.now();
  const before = process.cpuUsage();
  const result = await work();
  const used = process.cpuUsage(before);
  return {
    result,
    wall: (performance.now() - start) / 1000,
    cpu: (used.user + used.system) / 1e6 / threads,
  };
}

async function wholePass(...[record, finish]: Parameters<RunPass>): Promise<void> {
  const pass = backend.createPass();
  record(pass);
  await pass.submit();
  finish?.();
}

/** Each operation alone; its time is added to those of its kind. */
async function passesApart(...[record, finish]: Parameters<RunPass>): Promise<void> {
  const calls: { readonly name: string; readonly call: (pass: Pass) => void }[] = [];
  const recorder = new Proxy({} as Pass, {
    get:
      (_, name: Exclude<keyof Pass, 'submit'>) =>
      (...args: never[]) =>
        calls.push({ name, call: (pass) => (pass[name] as (...all: never[]) => void)(...args) }),
  });
  record(recorder);
  for (const { name, call } of calls) {
    const pass = backend.createPass();
    call(pass);
    const { wall, cpu } = await timed(() => pass.submit());
    const sum = parts.get(name) ?? { wall: 0, cpu: 0 };
    parts.set(name, { wall: sum.wall + wall, cpu: sum.cpu + cpu });
  }
  finish?.();
}

/** Floating-point operations of an image; a multiplication and an addition are two. */
function operations({ imageSize, patchSize, width, feedForward, layers, pool, textWidth }: TowerConfig) {
  const rows = (imageSize / patchSize) ** 2;
  const layer = 4 * width ** 2 + 2 * width * feedForward;
  const patches = 3 * patchSize ** 2 * width;
  return {
    linear: 2 * rows * (layers * layer + patches) + 2 * (rows / pool ** 2) * width * textWidth,
    attention: layers * 4 * rows ** 2 * width,
  };
}

function gradient(width: number, height: number): RgbImage {
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < data.length; i++) data[i] = (i * 31 + (i >> 9)) & 255;
  return { width, height, data };
}

/** Resident bytes now and at most so far. */
function memory(): { readonly now: number; readonly most: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytes = (name: string) =>
    1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  return { now: bytes('VmRSS'), most: bytes('VmHWM') };
}
