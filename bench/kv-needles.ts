/**
 * Needles in a made-up cache: does attention over rounded pages, or over the most promising ones, still find the one key that a
 * query is about? One global layer of Gemma 3 1B (a KV head of 256 dimensions for four query heads), our own pages and kernels.
 *
 * Keys look like those of the built-in model's global layer, as attention meets them (normalised, then rotated by RoPE): a fifth
 * of their square is common to all, half is common to a stretch of 32 to 128 positions before RoPE, so that half is common to a
 * page behind it; eight channels are three times as large. A needle's score is such that the query gives it from a half to 19 of
 * 20 of its weight; four distractors have scores that are lower by 0.5, 1, 2 or 4, each for a quarter of the
 * needles. Needles and distractors lie anywhere but in the first page and the recent ones. Found: of all planted values and 2,048 others, the output
 * is nearest to the needle's. Every other query is about a few channels, which hold nine tenths of its square; the others are
 * about all channels alike, the worst case for ranges by channel.
 */
import type { Backend, KvArena, KvFormat, KvView } from '../sidecar/engine/backend/backend.ts';
import { selectBackend } from '../sidecar/engine/backend/select.ts';
import { HOT_PAGES } from '../sidecar/engine/engine.ts';
import { boundBytes, pageBytes, pagesFor } from '../sidecar/engine/kv/layout.ts';
import { seededRandom } from '../test/support/random.ts';

const DIM = 256;
const HEADS = 4;
const SHAPE = { layers: 1, kvHeads: 1, headDim: DIM };
const SCALE = 1 / 16;
/** Norms of a key and of a query, before channels are made larger: scores of unrelated keys have a deviation of 1.5. */
const [KEY_NORM, QUERY_NORM] = [16, 24];
const NEEDLES = 128;
/** Of a query that is about a few channels. */
const [PEAKS, PEAK_SHARE] = [16, 0.9];
const DISTRACTORS = 4;
const OTHERS = 2048;
const CHUNK = 256;

export interface NeedleMode {
  readonly name: string;
  readonly kvFormat: KvFormat;
  readonly sparsePositions?: number;
}

export interface NeedleResult {
  readonly name: string;
  /** Share of needles found of queries that are about all channels, and of those about a few. */
  readonly recall: { readonly even: number; readonly peaked: number };
  /** Of outputs, relative to those over F16 pages that are all read; root mean square. */
  readonly error: number;
  /** Processor time of a token's attention in this layer, of all threads; medians, of the ratio to F16 of rounds in turn. */
  readonly ms: number;
  readonly timesF16: number;
  readonly bytes: number;
}

interface Needle {
  readonly query: Float32Array;
  readonly position: number;
}

/** The modes on one cache of `positions`; the first is F16 that is all read. */
export async function findNeedles(
  positions: number,
  modes: readonly NeedleMode[],
  rounds: number,
): Promise<readonly NeedleResult[]> {
  const backend = selectBackend({ kind: 'cpu' });
  try {
    const cache = await plant(backend, positions);
    const asked = modes.map((mode) => ask(backend, cache, mode));
    const outputs: (readonly Float32Array[])[] = [];
    for (const { run } of asked) outputs.push(await answers(run, cache.needles));
    const times: number[][] = modes.map(() => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, { run }] of asked.entries()) times[i]!.push(await run(queriesOf(cache.needles, 0), 8));
    }
    return modes.map(({ name }, i) => ({
      name,
      recall: found(outputs[i]!, cache),
      error: relativeError(outputs[i]!, outputs[0]!),
      ms: median(times[i]!),
      timesF16: median(times[i]!.map((ms, round) => ms / times[0]![round]!)),
      bytes: asked[i]!.bytes,
    }));
  } finally {
    backend.dispose();
  }
}

interface Cache {
  readonly positions: number;
  readonly hot: KvArena;
  readonly needles: readonly Needle[];
  readonly values: ReadonlyMap<number, Float32Array>;
}

async function plant(backend: Backend, positions: number): Promise<Cache> {
  const random = seededRandom(positions);
  const [planted, needles] = needlesFor(positions, random);
  const hot = backend.createKvArena(SHAPE, pagesFor(positions), { bounded: true });
  const view = { arena: hot, pageTable: identity(hot.pages) };
  const [k, v] = [backend.createActivation(CHUNK, DIM), backend.createActivation(CHUNK, DIM)];
  const values = new Map<number, Float32Array>();
  const background = backgroundKeys(random);
  for (let start = 0; start < positions; start += CHUNK) {
    const keyRows = new Float32Array(CHUNK * DIM);
    const valueRows = new Float32Array(CHUNK * DIM);
    for (let i = 0; i < CHUNK; i++) {
      const position = start + i;
      const key = background(position);
      keyRows.set(planted.get(position) ?? key, i * DIM);
      valueRows.set(normalised(gaussian(DIM, random), KEY_NORM), i * DIM);
      if (planted.has(position) || position % (positions / OTHERS) === 0)
        values.set(position, valueRows.slice(i * DIM, (i + 1) * DIM));
    }
    backend.upload(k, keyRows, 0);
    backend.upload(v, valueRows, 0);
    const pass = backend.createPass();
    pass.kvWrite(view, 0, k, v, start, CHUNK);
    await pass.submit();
  }
  for (let page = 0; page < hot.pages; page++) hot.boundPage(page);
  return { positions, hot, needles, values };
}

/** Keys at places of their own, and the queries that ask for them. */
function needlesFor(
  positions: number,
  random: () => number,
): readonly [ReadonlyMap<number, Float32Array>, readonly Needle[]] {
  const planted = new Map<number, Float32Array>();
  const place = (key: Float32Array) => {
    const between = positions - 64 * (HOT_PAGES + 1);
    let position = 0;
    while (position === 0 || planted.has(position)) position = 64 + Math.floor(random() * between);
    planted.set(position, key);
    return position;
  };
  const deviation = (QUERY_NORM * KEY_NORM * SCALE) / Math.sqrt(DIM);
  /** Logarithm of the sum of exp(score) over all that is not planted. */
  const others = Math.log(positions) + deviation ** 2 / 2;
  const needles = Array.from({ length: NEEDLES }, (_, i) => {
    const direction = directionOf(i, random);
    const score = others + (Math.floor(i / 2) % 4);
    const keyOf = (wanted: number) => {
      const cosine = wanted / (QUERY_NORM * KEY_NORM * SCALE);
      const noise = gaussian(DIM, random);
      const along = dot(noise, direction);
      const across = normalised(
        noise.map((x, d) => x - along * direction[d]!),
        1,
      );
      return direction.map(
        (x, d) => KEY_NORM * (cosine * x + Math.sqrt(1 - cosine ** 2) * across[d]!) * channel(d),
      );
    };
    const position = place(keyOf(score));
    for (let n = 0; n < DISTRACTORS; n++) place(keyOf(score - 0.5 * 2 ** (Math.floor(i / 8) % 4)));
    return { query: direction.map((x, d) => (QUERY_NORM * x) / channel(d)), position };
  });
  return [planted, needles];
}

/** What query `i` is about: all channels if it is even. */
function directionOf(i: number, random: () => number): Float32Array {
  const all = normalised(gaussian(DIM, random), 1);
  if (i % 2 === 0) return all;
  const first = Math.floor(random() * DIM);
  const isPeak = (dim: number) => (dim - first + DIM) % (DIM / PEAKS) === 0;
  const peaks = normalised(
    all.map((x, d) => (isPeak(d) ? Math.sign(x) : 0)),
    Math.sqrt(PEAK_SHARE),
  );
  const rest = normalised(
    all.map((x, d) => (isPeak(d) ? 0 : x)),
    Math.sqrt(1 - PEAK_SHARE),
  );
  return rest.map((x, d) => x + peaks[d]!);
}

/** Eight channels of keys, four pairs of RoPE, are larger; those of queries smaller. */
function channel(dim: number): number {
  return dim % (DIM / 2) >= DIM / 2 - 4 ? 3 : 1;
}

/** Keys of consecutive positions, RoPE applied. */
function backgroundKeys(random: () => number): (position: number) => Float32Array {
  const common = normalised(gaussian(DIM, random), KEY_NORM * Math.sqrt(0.2));
  const frequency = Float64Array.from({ length: DIM / 2 }, (_, i) => 1e6 ** (-i / (DIM / 2)));
  let [topic, until] = [common, 0];
  return (position) => {
    if (position >= until) {
      topic = normalised(gaussian(DIM, random), KEY_NORM * Math.sqrt(0.5));
      until = position + 32 + Math.floor(random() * 97);
    }
    const own = normalised(gaussian(DIM, random), KEY_NORM * Math.sqrt(0.3));
    const key = normalised(
      own.map((x, d) => x + topic[d]! + common[d]!),
      KEY_NORM,
    );
    for (let i = 0; i < DIM / 2; i++) {
      const [cos, sin] = [Math.cos(position * frequency[i]!), Math.sin(position * frequency[i]!)];
      const [a, b] = [key[i]! * channel(i), key[i + DIM / 2]! * channel(i + DIM / 2)];
      key[i] = a * cos - b * sin;
      key[i + DIM / 2] = a * sin + b * cos;
    }
    return key;
  };
}

interface Asked {
  readonly bytes: number;
  /** Attention of one token at the end, `calls` times in a pass; gives the processor milliseconds of one, and leaves its output. */
  readonly run: ((queries: Float32Array, calls: number) => Promise<number>) & {
    readonly output: () => Float32Array;
  };
}

function ask(backend: Backend, { positions, hot }: Cache, { kvFormat, sparsePositions }: NeedleMode): Asked {
  const pageTable = identity(hot.pages);
  const rounded =
    kvFormat === 'f16' ? null : backend.createKvArena(SHAPE, hot.pages, { format: kvFormat, bounded: true });
  for (let page = 0; rounded !== null && page < hot.pages; page++) {
    rounded.compressPage(hot, page, page);
    rounded.boundPage(page);
  }
  const view: KvView = {
    arena: hot,
    pageTable,
    ...(rounded && { cold: { arena: rounded, pageTable, hotPages: HOT_PAGES, firstPage: 0 } }),
    ...(sparsePositions && { sparse: { topPages: pagesFor(sparsePositions), recentPages: HOT_PAGES } }),
  };
  const [q, out] = [backend.createActivation(1, HEADS * DIM), backend.createActivation(1, HEADS * DIM)];
  const options = { layer: 0, position: positions - 1, tokens: 1, heads: HEADS, window: null, scale: SCALE };
  const run = async (queries: Float32Array, calls: number) => {
    backend.upload(q, queries, 0);
    const pass = backend.createPass();
    for (let call = 0; call < calls; call++) pass.attention(out, q, view, options);
    backend.profile();
    await pass.submit();
    return backend.profile().reduce((sum, { cpuSeconds }) => sum + 1000 * cpuSeconds, 0) / calls;
  };
  const output = () => {
    const rows = new Float32Array(HEADS * DIM);
    backend.readBack(out, rows, 0, 1);
    return rows;
  };
  const coldPages = rounded === null ? 0 : hot.pages - HOT_PAGES;
  const bytes =
    (hot.pages - coldPages) * pageBytes(SHAPE) +
    coldPages * pageBytes(SHAPE, kvFormat) +
    (sparsePositions ? hot.pages * boundBytes(SHAPE) : 0);
  return { bytes, run: Object.assign(run, { output }) };
}

/** The query heads of a token ask for needles of their own. */
function queriesOf(needles: readonly Needle[], first: number): Float32Array {
  const queries = new Float32Array(HEADS * DIM);
  for (let head = 0; head < HEADS; head++) queries.set(needles[first + head]!.query, head * DIM);
  return queries;
}

async function answers(run: Asked['run'], needles: readonly Needle[]): Promise<readonly Float32Array[]> {
  const outputs: Float32Array[] = [];
  for (let first = 0; first < needles.length; first += HEADS) {
    await run(queriesOf(needles, first), 1);
    const rows = run.output();
    for (let head = 0; head < HEADS; head++) outputs.push(rows.slice(head * DIM, (head + 1) * DIM));
  }
  return outputs;
}

function found(outputs: readonly Float32Array[], { needles, values }: Cache): NeedleResult['recall'] {
  const right = outputs.map((output, i) => {
    let [nearest, best] = [-1, Number.POSITIVE_INFINITY];
    for (const [position, value] of values) {
      const distance = value.reduce((sum, x, d) => sum + (x - output[d]!) ** 2, 0);
      if (distance < best) [nearest, best] = [position, distance];
    }
    return nearest === needles[i]!.position;
  });
  const share = (parity: number) => right.filter((is, i) => is && i % 2 === parity).length / (NEEDLES / 2);
  return { even: share(0), peaked: share(1) };
}

function relativeError(outputs: readonly Float32Array[], exact: readonly Float32Array[]): number {
  let [error, size] = [0, 0];
  for (const [i, output] of outputs.entries()) {
    for (const [d, x] of output.entries()) {
      error += (x - exact[i]![d]!) ** 2;
      size += exact[i]![d]! ** 2;
    }
  }
  return Math.sqrt(error / size);
}

function identity(length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => i);
}

function gaussian(length: number, random: () => number): Float32Array {
  const values = new Float32Array(length);
  for (let i = 0; i < length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

function normalised(vector: Float32Array, norm: number): Float32Array {
  const factor = norm / Math.sqrt(dot(vector, vector));
  return vector.map((x) => x * factor);
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i]!, 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
