/**
 * What does the KV cache of a 4B shape really take when its whole context of 131,072 tokens has been written?
 *
 *   node bench/kv-memory.ts [4b] [--context 131072] [--kv f16|int8|int4]
 *
 * Every page of both arenas is written in every layer; the resident memory of the process before and after tells.
 */
import { parseArgs } from 'node:util';
import type { KvArena } from '../sidecar/engine/backend/backend.ts';
import { selectBackend } from '../sidecar/engine/backend/select.ts';
import { HOT_PAGES } from '../sidecar/engine/engine.ts';
import type { KvLayout } from '../sidecar/engine/kv/layout.ts';
import { kvMemory, kvPages } from '../sidecar/engine/kv/memory-plan.ts';
import { shapeOf } from './synthetic-model.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { context: { type: 'string', default: '131072' }, kv: { type: 'string', default: 'f16' } },
});
const name = positionals[0] ?? '4b';
const shape = shapeOf(name);
const context = Number(values.context);
const globals = Math.floor(shape.layers / 6);
const perLayer = { kvHeads: shape.kvHeads, headDim: shape.headDim };
const format = (['f16', 'int8', 'int4'] as const).find((name) => name === values.kv);
if (format === undefined) throw new RangeError(`There is no KV format "${values.kv}".`);
const layout: KvLayout = {
  shapes: {
    local: { layers: shape.layers - globals, ...perLayer },
    global: { layers: globals, ...perLayer },
  },
  window: shape.window,
  chunk: 256,
  ...(format !== 'f16' && { cold: { format, hotPages: HOT_PAGES, exactPages: 0 } }),
};

const backend = selectBackend({ kind: 'cpu' });
const zeros = backend.createActivation(64, shape.kvHeads * shape.headDim);
backend.upload(zeros, new Float32Array(64 * shape.kvHeads * shape.headDim).fill(1), 0);
const before = process.memoryUsage.rss();
const pages = kvPages(layout, context);
const global = backend.createKvArena(layout.shapes.global, pages.global);
await writeAll(global);
if (format !== 'f16') {
  const cold = backend.createKvArena(layout.shapes.global, pages.cold ?? 0, { format });
  for (let page = 0; page < cold.pages; page++) cold.compressPage(global, 0, page);
}
await writeAll(backend.createKvArena(layout.shapes.local, pages.local));
const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(3);
const plan = kvMemory(layout, context);
console.log(
  `${name} at ${context} tokens, ${format}: planned ${gib(plan.total)} GiB (global ${gib(plan.global)}, local ${gib(plan.local)}), resident ${gib(process.memoryUsage.rss() - before)} GiB`,
);
backend.dispose();

async function writeAll(arena: KvArena): Promise<void> {
  for (let page = 0; page < arena.pages; page++) {
    const pass = backend.createPass();
    const view = { arena, pageTable: Int32Array.of(page) };
    for (let layer = 0; layer < arena.shape.layers; layer++) pass.kvWrite(view, layer, zeros, zeros, 0, 64);
    await pass.submit();
  }
}
