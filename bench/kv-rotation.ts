/**
 * Would a Hadamard rotation make rounded keys and values better?
 *
 *   node bench/kv-rotation.ts [--model FILE] [--tokens N] [--last 256]
 *
 * Reads this repository's engine sources in passes of one page, F16. As a page of the global layers turns cold, its keys and
 * values are rounded to int8 (one scale a position) or int4 (one for 32 dimensions), as compressed pages are, and put back; with a
 * rotation, in blocks of 32, 64 or the whole head, they are rotated before and rotated back behind, which changes no dot product
 * but for the rounding. With outliers, eight channels of a head (four pairs of RoPE) of the keys, or eight of the values, are
 * larger by a factor while they are rounded: exactly what a model computes whose key norm is larger there by it, and whose query
 * norm smaller; Gemma's keys have such channels. Prints divergence from exact F16 in nats.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Backend, coldPages, type KvArena, PAGE_POSITIONS } from '../sidecar/engine/backend/backend.ts';
import { selectBackend } from '../sidecar/engine/backend/select.ts';
import { HOT_PAGES } from '../sidecar/engine/engine.ts';
import { KvCache } from '../sidecar/engine/kv/kv-cache.ts';
import { kvPages } from '../sidecar/engine/kv/memory-plan.ts';
import { kvLayout } from '../sidecar/engine/load-engine.ts';
import { Gemma3 } from '../sidecar/engine/model/gemma3.ts';
import { loadGemma3Weights } from '../sidecar/engine/model/weights.ts';
import { openModelFile } from '../sidecar/engine/model-file.ts';
import { builtInModelPath } from '../sidecar/models/find.ts';
import { compareDistributions, logSoftmax } from '../test/support/distributions.ts';
import { engineSources } from './engine-sources.ts';

const LIMITS = { tokens: PAGE_POSITIONS, logits: PAGE_POSITIONS };

interface Mode {
  readonly bits: 8 | 4;
  /** Dimensions that are rotated together; 0: none. */
  readonly block: number;
  readonly rotated: 'keys' | 'keys and values';
  readonly outliers: number;
}

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    tokens: { type: 'string', default: '2048' },
    last: { type: 'string', default: '256' },
  },
});
const modelPath = values.model ?? builtInModelPath();
if (modelPath === null) throw new Error('There is no built-in model; name one with --model.');
const { gguf, config, tokenizer } = openModelFile(modelPath);
const { headDim, kvHeads } = config;
const last = Number(values.last);
const text = engineSources();
const ids = Uint32Array.from([2, ...tokenizer.encode(text)].slice(0, Number(values.tokens)));

const backend = selectBackend({ kind: 'cpu', precision: 'f32' });
const weights = await loadGemma3Weights(backend, gguf, config);
const model = new Gemma3(config, weights, backend, LIMITS);
const exact = await distributions(null);
console.log(
  `${path.basename(modelPath)}, heads of ${headDim}, ${ids.length} tokens, the last ${last} compared`,
);
console.log('| outliers | format | rotation | KL mean | KL worst | same first choice |');
console.log('| --- | --- | --- | --- | --- | --- |');
for (const outliers of [1, 4, 16]) {
  for (const bits of [8, 4] as const) {
    const blocks = [32, 64, headDim].filter((block, i, all) => block <= headDim && all.indexOf(block) === i);
    await row({ bits, block: 0, rotated: 'keys', outliers });
    for (const block of blocks) await row({ bits, block, rotated: 'keys', outliers });
    await row({ bits, block: headDim, rotated: 'keys and values', outliers });
  }
}
backend.dispose();

async function row(mode: Mode): Promise<void> {
  const compared = (await distributions(mode)).map((ours, i) => compareDistributions(exact[i]!, ours));
  const mean = compared.reduce((sum, { divergence }) => sum + divergence, 0) / last;
  const worst = Math.max(...compared.map(({ divergence }) => divergence));
  const same = compared.filter(({ sameTop }) => sameTop).length / last;
  const rotation = mode.block === 0 ? 'none' : `${mode.rotated}, ${mode.block}`;
  console.log(
    `| ${mode.outliers} | int${mode.bits} | ${rotation} | ${mean.toExponential(2)} | ${worst.toExponential(2)} | ${(100 * same).toFixed(1)} % |`,
  );
}

/** Log-probabilities after each of the last tokens. */
async function distributions(mode: Mode | null): Promise<Float64Array[]> {
  const layout = { ...kvLayout(config), chunk: PAGE_POSITIONS };
  const kv = new KvCache(backend, layout, kvPages(layout, ids.length + PAGE_POSITIONS));
  const sequence = kv.begin(ids, 0);
  const rows: Float64Array[] = [];
  let rounded = 0;
  for (let position = 0; position < ids.length; position += PAGE_POSITIONS) {
    const chunk = ids.subarray(position, position + PAGE_POSITIONS);
    const views = sequence.prepare(chunk.length);
    const { arena, pageTable } = views.global;
    // All tokens of a pass that is one page read the same pages as codes.
    for (; mode !== null && rounded < coldPages(HOT_PAGES, position); rounded++) {
      roundPage(arena, pageTable[rounded]!, mode);
    }
    const pass = backend.createPass();
    model.body(pass, { ids: chunk, position, kv: views });
    model.head(pass, 0, chunk.length);
    await pass.submit();
    sequence.commit(chunk);
    if (position + PAGE_POSITIONS > ids.length - last) rows.push(...readRows(backend, chunk.length));
  }
  sequence.release();
  kv.dispose();
  return rows.slice(-last);
}

function readRows(device: Backend, count: number): Float64Array[] {
  const { vocabulary } = config;
  const logits = new Float32Array(count * vocabulary);
  device.readBack(model.logits, logits, 0, count);
  return Array.from({ length: count }, (_, i) =>
    logSoftmax(logits.slice(i * vocabulary, (i + 1) * vocabulary)),
  );
}

/** Rounds keys and values of a page and puts them back as F16. */
function roundPage(arena: KvArena, page: number, mode: Mode): void {
  const bytes = new Uint8Array(arena.pageBytes);
  arena.readPage(page, bytes);
  const halves = new Float16Array(bytes.buffer);
  const head = PAGE_POSITIONS * headDim;
  const vector = new Float64Array(headDim);
  for (let run = 0; run < arena.shape.layers * kvHeads; run++) {
    for (let position = 0; position < PAGE_POSITIONS; position++) {
      const key = (dim: number) =>
        2 * run * head + (Math.floor(position / 16) * headDim + dim) * 16 + (position % 16);
      const value = (dim: number) => (2 * run + 1) * head + position * headDim + dim;
      for (const [part, at] of [
        ['keys', key],
        ['values', value],
      ] as const) {
        const larger = (dim: number) => (isOutlier(part, dim) ? mode.outliers : 1);
        for (let dim = 0; dim < headDim; dim++) vector[dim] = halves[at(dim)]! * larger(dim);
        const rotates = mode.block > 0 && mode.rotated.includes(part);
        if (rotates) rotate(vector, mode.block);
        roundVector(vector, mode.bits);
        if (rotates) rotate(vector, mode.block);
        for (let dim = 0; dim < headDim; dim++) halves[at(dim)] = vector[dim]! / larger(dim);
      }
    }
  }
  arena.writePage(page, bytes);
}

/** Four pairs that RoPE turns together; for values any eight channels. */
function isOutlier(part: 'keys' | 'values', dim: number): boolean {
  const pairs = headDim / 2;
  return part === 'keys' ? dim % pairs >= pairs - 4 : dim % (headDim / 8) === 5;
}

/** Fast Walsh-Hadamard transform, orthonormal and its own inverse, of each block. */
function rotate(vector: Float64Array, block: number): void {
  for (let start = 0; start < vector.length; start += block) {
    for (let half = 1; half < block; half *= 2) {
      for (let i = start; i < start + block; i++) {
        if ((i & half) !== 0) continue;
        const [a, b] = [vector[i]!, vector[i + half]!];
        [vector[i], vector[i + half]] = [a + b, a - b];
      }
    }
    for (let i = start; i < start + block; i++) vector[i]! /= Math.sqrt(block);
  }
}

/** As compressed pages do: scale = largest / levels, up to BF16. */
function roundVector(vector: Float64Array, bits: 8 | 4): void {
  const segment = bits === 8 ? headDim : headDim % 32 === 0 ? 32 : 16;
  const levels = bits === 8 ? 127 : 7;
  const view = new DataView(new ArrayBuffer(4));
  for (let start = 0; start < headDim; start += segment) {
    const part = vector.subarray(start, start + segment);
    const largest = part.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    view.setFloat32(0, largest / levels);
    view.setUint32(0, (view.getUint32(0) + 0xffff) & 0xffff0000);
    const scale = view.getFloat32(0);
    if (scale > 0) for (const [i, x] of part.entries()) part[i] = Math.round(x / scale) * scale;
  }
}
