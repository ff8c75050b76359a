/**
 * How fast is attention? `node bench/attention.bench.ts [--threads N] [--isa NAME]`
 *
 * Decode is judged by bytes of KV read per second, prefill by multiply-adds (2 FLOP each; queries times
 * visible keys, both products). Best of a few runs, one layer, the shapes of Gemma 3 1B and 4B.
 */
import { parseArgs } from 'node:util';
import { PAGE_POSITIONS } from '../sidecar/engine/backend/backend.ts';
import { createCpuBackend } from '../sidecar/engine/backend/cpu/cpu-backend.ts';

interface Question {
  readonly name: string;
  readonly kvHeads: number;
  readonly heads: number;
  readonly headDim: number;
  /** Position of the first token of the measured pass. */
  readonly depth: number;
  readonly tokens: number;
  readonly window: number | null;
  /** How pages further behind than 8 are kept. Default: F16. */
  readonly behind?: 'int8' | 'int4';
}

const gemma1B = { kvHeads: 1, heads: 4, headDim: 256 };
const gemma4B = { kvHeads: 4, heads: 8, headDim: 256 };

const QUESTIONS: readonly Question[] = [
  { name: '1B decode, global, 8K deep', ...gemma1B, depth: 8191, tokens: 1, window: null },
  { name: '1B decode, global, 32K deep', ...gemma1B, depth: 32_767, tokens: 1, window: null },
  { name: '4B decode, global, 32K deep', ...gemma4B, depth: 32_767, tokens: 1, window: null },
  { name: '1B decode, int8, 32K deep', ...gemma1B, depth: 32_767, tokens: 1, window: null, behind: 'int8' },
  { name: '1B decode, int4, 32K deep', ...gemma1B, depth: 32_767, tokens: 1, window: null, behind: 'int4' },
  { name: '4B decode, int8, 32K deep', ...gemma4B, depth: 32_767, tokens: 1, window: null, behind: 'int8' },
  { name: '1B decode, window 512', ...gemma1B, depth: 8191, tokens: 1, window: 512 },
  { name: '1B verify 4 tokens, global, 32K deep', ...gemma1B, depth: 32_764, tokens: 4, window: null },
  { name: '1B prefill 512, global, from 0', ...gemma1B, depth: 0, tokens: 512, window: null },
  { name: '1B prefill 512, global, 8K deep', ...gemma1B, depth: 7680, tokens: 512, window: null },
  { name: '1B prefill 512, window 512', ...gemma1B, depth: 7680, tokens: 512, window: 512 },
  {
    name: '1B prefill 512, int8, 8K deep',
    ...gemma1B,
    depth: 7680,
    tokens: 512,
    window: null,
    behind: 'int8',
  },
  { name: '4B prefill 512, global, 8K deep', ...gemma4B, depth: 7680, tokens: 512, window: null },
];

const { values } = parseArgs({ options: { threads: { type: 'string' }, isa: { type: 'string' } } });
const backend = createCpuBackend({
  threads: Number(values.threads ?? 0),
  ...(values.isa === undefined ? {} : { isa: values.isa }),
});
console.log(backend.description);
for (const question of QUESTIONS) console.log(await answer(question));
backend.dispose();

async function answer(question: Question): Promise<string> {
  const { kvHeads, heads, headDim, depth, tokens, window } = question;
  const positions = depth + tokens;
  const pages = Math.ceil(positions / PAGE_POSITIONS);
  const arena = backend.createKvArena({ layers: 1, kvHeads, headDim }, pages);
  const pageTable = Int32Array.from({ length: pages }, (_, i) => i);
  const kv = { arena, pageTable };
  await fill();
  const cold = question.behind && backend.createKvArena(arena.shape, pages, { format: question.behind });
  for (let page = 0; page < pages; page++) cold?.compressPage(arena, page, page);
  const view = cold ? { ...kv, cold: { arena: cold, pageTable, hotPages: 8, firstPage: 0 } } : kv;
  const [q, out] = [random(tokens, heads * headDim), backend.createActivation(tokens, heads * headDim)];

  let best = Number.POSITIVE_INFINITY;
  // One pass holds several calls, so that the way through Node does not count.
  const calls = tokens === 1 ? 10 : 1;
  for (let run = 0; run < 8; run++) {
    const pass = backend.createPass();
    for (let call = 0; call < calls; call++) {
      const options = { layer: 0, position: depth, tokens, heads, window, scale: 1 / 16 };
      pass.attention(out, q, view, options);
    }
    const start = performance.now();
    await pass.submit();
    best = Math.min(best, (performance.now() - start) / calls);
  }
  cold?.dispose();
  for (const each of [q, out, arena]) each.dispose();

  const visible = (position: number) => Math.min(position + 1, window ?? Number.POSITIVE_INFINITY);
  let keys = 0;
  for (let token = 0; token < tokens; token++) keys += visible(depth + token);
  const flop = keys * heads * headDim * 4;
  const pageBytes = cold?.pageBytes ?? arena.pageBytes;
  const bytes = (Math.min(positions, visible(depth) + tokens - 1) * pageBytes) / PAGE_POSITIONS;
  const rate = (amount: number) => (amount / best / 1e6).toFixed(1).padStart(6);
  return `${question.name.padEnd(38)} ${best.toFixed(3).padStart(8)} ms ${rate(bytes)} GB/s ${rate(flop)} GFLOP/s`;

  async function fill(): Promise<void> {
    const rows = Math.min(positions, 512);
    const [k, v] = [random(rows, kvHeads * headDim), random(rows, kvHeads * headDim)];
    const pass = backend.createPass();
    for (let at = 0; at < positions; at += rows) {
      pass.kvWrite(kv, 0, k, v, at, Math.min(rows, positions - at));
    }
    await pass.submit();
    k.dispose();
    v.dispose();
  }
}

function random(tokens: number, width: number) {
  const activation = backend.createActivation(tokens, width);
  backend.upload(
    activation,
    Float32Array.from({ length: tokens * width }, () => Math.random() - 0.5),
    0,
  );
  return activation;
}
