/**
 * How near the matrix products come to what the machine can do.
 *
 * `node bench/matmul.bench.ts [--isa avx512] [--threads 2] [--type Q4_0] [--repeat 6]` prints, for every matrix
 * shape of Gemma 3 1B and 4B, billions of operations a second with 512 tokens and gigabytes of weights read a
 * second with one token, next to the machine's int8 and memory peaks measured in the same run. Figures are the
 * best of `--repeat` runs: on a shared machine the others measure the neighbours.
 */
import { parseArgs } from 'node:util';
import { type CpuBackend, createCpuBackend } from '../sidecar/engine/backend/cpu/cpu-backend.ts';
import { rowBytes, TENSOR_TYPES, type TensorType } from '../sidecar/engine/backend/tensor.ts';
import { measurePeaks } from './peaks.ts';

const PREFILL_TOKENS = 512;

/** rows x columns, and how often one layer has it; [layers]. */
const MODELS = [
  {
    name: '1B',
    layers: 26,
    shapes: [
      [1536, 1152],
      [1152, 1024],
      [13824, 1152],
      [1152, 6912],
    ],
  },
  {
    name: '4B',
    layers: 34,
    shapes: [
      [4096, 2560],
      [2560, 2048],
      [20480, 2560],
      [2560, 10240],
    ],
  },
] as const;

const { values: options } = parseArgs({
  options: {
    isa: { type: 'string' },
    threads: { type: 'string', default: '2' },
    type: { type: 'string', default: 'Q4_0' },
    repeat: { type: 'string', default: '6' },
    batches: { type: 'boolean', default: false },
  },
});
const threads = Number(options.threads);
const repeat = Number(options.repeat);
const type = options.type as TensorType;
if (!(type in TENSOR_TYPES))
  throw new RangeError(`--type must be one of ${Object.keys(TENSOR_TYPES).join(', ')}`);

/** Bytes whose F16 factors are small numbers, whatever block they belong to. */
function weightBytes(rows: number, columns: number): Uint8Array {
  return new Uint8Array(rows * rowBytes(type, columns)).fill(0x2c);
}

interface Timing {
  /** Best wall-clock seconds. */
  readonly wall: number;
  /** Least processor time of all threads over their number: what the wall clock would say on a quiet machine. */
  readonly cpu: number;
}

/**
 * Time of one product in a pass of `copies` products: as many copies of a matrix as one token's run through a model
 * needs to find none of them in the caches.
 */
async function measure(
  backend: CpuBackend,
  rows: number,
  columns: number,
  tokens: number,
  copies: number,
): Promise<Timing> {
  const x = backend.createActivation(tokens, columns);
  const out = backend.createActivation(tokens, rows);
  backend.upload(
    x,
    Float32Array.from({ length: tokens * columns }, (_, i) => Math.sin(i)),
    0,
  );
  const data = weightBytes(rows, columns);
  const weights = [];
  for (let i = 0; i < copies; i++)
    weights.push(await backend.loadMatrix({ name: `w${i}`, type, rows, columns, data }));
  let wall = Infinity;
  let cpu = Infinity;
  for (let i = 0; i < repeat; i++) {
    const pass = backend.createPass();
    for (const weight of weights) pass.matmul(x, [{ weight, out }], tokens);
    const start = performance.now();
    const before = process.cpuUsage();
    await pass.submit();
    const used = process.cpuUsage(before);
    wall = Math.min(wall, (performance.now() - start) / 1000);
    cpu = Math.min(cpu, (used.user + used.system) / 1e6 / threads);
  }
  x.dispose();
  out.dispose();
  return { wall: wall / copies, cpu: cpu / copies };
}

const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(0)} %`;

const peaks = measurePeaks(threads);
console.log(
  `${type}, ${threads} threads; peaks: int8 ${peaks.int8_gops} GOPS, memory ${peaks.read_gbps} GB/s`,
);
for (const model of MODELS) {
  let prefill = 0;
  let decode = 0;
  for (const [rows, columns] of model.shapes) {
    const bytes = rows * rowBytes(type, columns);
    // Fresh backends, so that one shape's matrices are gone before the next one's come.
    const backend = createCpuBackend({ isa: options.isa ?? '', threads });
    const many = await measure(backend, rows, columns, PREFILL_TOKENS, 4);
    const copies = Math.ceil((256 << 20) / bytes);
    const single = await measure(backend, rows, columns, 1, copies);
    const operations = 2e-9 * rows * columns * PREFILL_TOKENS;
    const rate = bytes / single.wall / 1e9;
    const line = [
      `${model.name} ${rows} x ${columns}`.padEnd(16),
      `${(operations / many.wall).toFixed(0)} GOPS wall`,
      `${(operations / many.cpu).toFixed(0)} by CPU time (${percent(operations / many.cpu, peaks.int8_gops)})`,
      `1 token ${rate.toFixed(1)} GB/s (${percent(rate, peaks.read_gbps)})`,
    ];
    if (options.batches) {
      for (const tokens of [2, 4, 8, 16]) {
        const { cpu } = await measure(backend, rows, columns, tokens, copies);
        line.push(`${tokens}: ${(cpu / single.cpu).toFixed(2)}x`);
      }
    }
    console.log(line.join('  '));
    backend.dispose();
    prefill += many.cpu;
    decode += single.wall;
  }
  const perSecond = (secondsPerLayer: number) => (1 / secondsPerLayer / model.layers).toFixed(1);
  console.log(
    `${model.name} layers: prefill ${perSecond(prefill / PREFILL_TOKENS)} tokens/s by CPU time, decode ${perSecond(decode)} tokens/s`,
  );
}
