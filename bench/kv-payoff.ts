/**
 * What do Gemma 3's sliding windows and shared KV heads pay at a long context?
 *
 *   node bench/kv-payoff.ts [1b|4b] [--context 32768] [--rounds 5]
 *
 * The same model shape with three caches: as it is; with every layer reading the whole context; with a KV head for every
 * query head, windows as they are. Memory is what the plan reserves for one sequence. Time is that of
 * the attention of all layers for one token at the end of the context, over made-up keys and values, F16; the weights of a
 * token cost the same everywhere. The caches take turns, the median of the rounds counts.
 */
import { parseArgs } from 'node:util';
import type { Backend, KvArena, KvView } from '../sidecar/engine/backend/backend.ts';
import { selectBackend } from '../sidecar/engine/backend/select.ts';
import { type KvLayout, pageBytes, pagesFor, ringPages } from '../sidecar/engine/kv/layout.ts';
import { shapeOf } from './synthetic-model.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { context: { type: 'string', default: '32768' }, rounds: { type: 'string', default: '5' } },
});
const name = positionals[0] ?? '1b';
const shape = shapeOf(name);
const { layers, heads, headDim, window } = shape;
const context = Number(values.context);
const globals = Math.floor(layers / 6);

interface Cache {
  readonly name: string;
  readonly globals: number;
  readonly kvHeads: number;
}

const CACHES: readonly Cache[] = [
  { name: 'windows, shared KV heads (Gemma 3)', globals, kvHeads: shape.kvHeads },
  { name: 'every layer reads all, shared KV heads', globals: layers, kvHeads: shape.kvHeads },
  { name: 'windows, a KV head for each query head', globals, kvHeads: heads },
];

const backend = selectBackend({ kind: 'cpu' });
console.log(`${name}, ${context} tokens, ${backend.description}`);
const measured = CACHES.map((cache) => prepare(backend, cache));

const times: number[][] = CACHES.map(() => []);
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [i, { decode }] of measured.entries()) times[i]!.push(await decode());
}
const median = times.map((each) => each.sort((a, b) => a - b)[Math.floor(each.length / 2)]!);
console.log('| cache | memory, MiB | times ours | attention of a token, ms | times ours |');
console.log('| --- | --- | --- | --- | --- |');
for (const [i, cache] of CACHES.entries()) {
  const { bytes } = measured[i]!;
  console.log(
    `| ${cache.name} | ${(bytes / 2 ** 20).toFixed(0)} | ${(bytes / measured[0]!.bytes).toFixed(2)} | ${median[i]!.toFixed(2)} | ${(median[i]! / median[0]!).toFixed(2)} |`,
  );
}
backend.dispose();

/** The pages of one sequence, all written, and a token that attends to them in every layer. */
function prepare(device: Backend, { globals: count, kvHeads }: Cache) {
  const layout: KvLayout = {
    shapes: {
      local: { layers: layers - count, kvHeads, headDim },
      global: { layers: count, kvHeads, headDim },
    },
    window,
    chunk: 256,
  };
  const ring = ringPages(layout);
  const contextPages = pagesFor(context);
  const bytes =
    (layers > count ? ring * pageBytes(layout.shapes.local) : 0) +
    contextPages * pageBytes(layout.shapes.global);
  const global = device.createKvArena(layout.shapes.global, contextPages);
  const local = layers > count ? device.createKvArena(layout.shapes.local, ring) : null;
  fill(global);
  if (local !== null) fill(local);
  const [q, out] = [device.createActivation(1, heads * headDim), device.createActivation(1, heads * headDim)];
  device.upload(
    q,
    Float32Array.from({ length: heads * headDim }, (_, i) => Math.sin(i)),
    0,
  );
  const view = (arena: KvArena): KvView => ({
    arena,
    pageTable: Int32Array.from({ length: arena.pages }, (_, i) => i),
  });
  const options = { position: context - 1, tokens: 1, heads, scale: 1 / 16 };
  return {
    bytes,
    decode: async () => {
      const pass = device.createPass();
      for (let layer = 0; layer < count; layer++)
        pass.attention(out, q, view(global), { ...options, layer, window: null });
      for (let layer = 0; local !== null && layer < layers - count; layer++)
        pass.attention(out, q, view(local), { ...options, layer, window });
      const started = performance.now();
      await pass.submit();
      return performance.now() - started;
    },
  };
}

/** Every page with the same made-up numbers between -1 and 1. */
function fill(arena: KvArena): void {
  const halves = Uint16Array.from(
    { length: arena.pageBytes / 2 },
    (_, i) => ((i * 40_503) & 0xbbff) | 0x3000,
  );
  const bytes = new Uint8Array(halves.buffer);
  for (let page = 0; page < arena.pages; page++) arena.writePage(page, bytes);
}
