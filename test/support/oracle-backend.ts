import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  type Activation,
  type ActivationPrecision,
  type AttentionOptions,
  type Backend,
  BackendError,
  type BackendMemory,
  coldPages,
  type KvArena,
  type KvArenaOptions,
  type KvFormat,
  type KvShape,
  type KvView,
  type Matrix,
  type OperationTime,
  OutOfMemory,
  PAGE_POSITIONS,
  type Pass,
  PassCancelled,
  type SparseReading,
  type TopRequest,
  type Vector,
} from '../../sidecar/engine/backend/backend.ts';
import type { WeightSource } from '../../sidecar/engine/backend/tensor.ts';
import { floatToHalf, HALF_TO_FLOAT } from '../../sidecar/engine/model/half.ts';
import { choosePages, type KeyRange, keyRange } from './oracle-choice.ts';
import * as images from './oracle-images.ts';
import * as math from './oracle-math.ts';
import {
  activation,
  equal,
  integer,
  MAX_VALUES,
  matrix,
  OracleActivation,
  OracleMatrix,
  OracleVector,
  positive,
  rows,
  usable,
  vector,
  within,
} from './oracle-objects.ts';

export interface OracleOptions {
  /** 'int8' rounds the activations that quantised matrices read as the CPU backend does. Default 'f32'. */
  readonly precision?: ActivationPrecision;
}

class OracleArena implements KvArena {
  readonly shape: KvShape;
  readonly format: KvFormat;
  readonly pages: number;
  readonly pageBytes: number;
  disposed = false;
  /** Of codes, the numbers they stand for. [page][layer][kvHead][K or V][position][headDim], allocated when a page is first written. */
  readonly #pages: (Float32Array | undefined)[];
  readonly #values: number;

  constructor(shape: KvShape, pages: number, { format = 'f16', bounded = false }: KvArenaOptions = {}) {
    this.format = format;
    this.bounded = bounded;
    positive(pages, 'pages');
    positive(shape.layers, 'layers');
    positive(shape.kvHeads, 'kvHeads');
    if (positive(shape.headDim, 'headDim') % 16 !== 0) {
      throw new RangeError(`headDim is ${shape.headDim}, not a multiple of 16`);
    }
    this.shape = shape;
    this.pages = pages;
    this.pageBytes = shape.layers * shape.kvHeads * math.kvHeadBytes(format, shape.headDim);
    this.#values = shape.layers * shape.kvHeads * 2 * PAGE_POSITIONS * shape.headDim;
    if (this.#values > MAX_VALUES) throw new OutOfMemory(`a page of ${this.pageBytes} bytes is too large`);
    this.#pages = new Array<Float32Array | undefined>(pages);
  }

  /** Where one position's key or value of one head lies. */
  vector(page: number, layer: number, kvHead: number, part: 'key' | 'value', position: number): Float32Array {
    const { kvHeads, headDim } = this.shape;
    const values = this.#page(page);
    const index = ((layer * kvHeads + kvHead) * 2 + (part === 'key' ? 0 : 1)) * PAGE_POSITIONS;
    const start = (index + (position % PAGE_POSITIONS)) * headDim;
    return values.subarray(start, start + headDim);
  }

  /** Ranges of the keys of each [layer][kvHead] of pages, made by {@link boundPage}. */
  readonly ranges = new Map<number, KeyRange[]>();
  readonly bounded: boolean;

  boundPage(page: number): void {
    if (!this.bounded) throw new RangeError('The arena has no bounds.');
    within(page, this.pages, 'page');
    const ranges: KeyRange[] = [];
    for (let layer = 0; layer < this.shape.layers; layer++) {
      for (let head = 0; head < this.shape.kvHeads; head++) {
        const keys = Array.from({ length: PAGE_POSITIONS }, (_, i) =>
          this.vector(page, layer, head, 'key', i),
        );
        ranges.push(keyRange(keys, this.format));
      }
    }
    this.ranges.set(page, ranges);
  }

  copyPage(from: number, to: number): void {
    usable(this, 'KV arena');
    within(from, this.pages, 'page');
    within(to, this.pages, 'page');
    this.#pages[to] = this.#page(from).slice();
  }

  readPage(page: number, target: Uint8Array): void {
    within(page, this.pages, 'page');
    this.#requireBytes(target);
    const bytes = new DataView(target.buffer, target.byteOffset, target.length);
    for (const [i, value] of this.#page(page).entries()) bytes.setUint16(2 * i, floatToHalf(value), true);
  }

  writePage(page: number, source: Uint8Array): void {
    within(page, this.pages, 'page');
    this.#requireBytes(source);
    const bytes = new DataView(source.buffer, source.byteOffset, source.length);
    const values = this.#page(page);
    for (let i = 0; i < values.length; i++) values[i] = HALF_TO_FLOAT[bytes.getUint16(2 * i, true)]!;
  }

  /** Codes are kept as the numbers they stand for, so only F16 pages have bytes. */
  #requireBytes(bytes: Uint8Array): void {
    if (this.format !== 'f16') throw new BackendError('The oracle has no bytes of codes.');
    if (bytes.length !== this.pageBytes) throw new RangeError('The buffer is not a page.');
  }

  compressPage(from: KvArena, page: number, to: number): void {
    if (!(from instanceof OracleArena)) throw new BackendError("This arena is not the oracle's.");
    if (from.format !== 'f16' || this.format === 'f16') throw new RangeError('Compress from F16 to codes.');
    if (from.pageBytes !== new OracleArena(this.shape, 1).pageBytes)
      throw new RangeError('The arenas have different shapes.');
    within(page, from.pages, 'page');
    within(to, this.pages, 'page');
    const copy = from.#page(page).slice();
    const { headDim } = this.shape;
    for (let at = 0; at < copy.length; at += headDim) {
      const vector = copy.subarray(at, at + headDim);
      const isKey = Math.floor(at / (PAGE_POSITIONS * headDim)) % 2 === 0;
      const rotates = isKey && this.format === 'int4';
      if (rotates) vector.set(math.rotated(vector, 'forth'));
      math.roundToCodes(vector, this.format);
      if (rotates) vector.set(math.rotated(vector, 'back'));
    }
    this.#pages[to] = copy;
  }

  dispose(): void {
    this.disposed = true;
  }

  #page(index: number): Float32Array {
    const existing = this.#pages[index];
    if (existing !== undefined) return existing;
    const fresh = new Float32Array(this.#values);
    this.#pages[index] = fresh;
    return fresh;
  }
}

/** A view as it was when the operation was recorded. */
interface RecordedView {
  readonly arena: OracleArena;
  readonly pageTable: Int32Array;
  readonly cold: {
    arena: OracleArena;
    pageTable: Int32Array;
    hotPages: number;
    firstPage: number;
  } | null;
  readonly sparse: SparseReading | null;
}

class OraclePass implements Pass {
  readonly #precision: ActivationPrecision;
  readonly #alive: () => boolean;
  readonly #operations: (() => void)[] = [];
  readonly #discarded: OracleActivation[] = [];
  #submitted = false;

  constructor(precision: ActivationPrecision, alive: () => boolean) {
    this.#precision = precision;
    this.#alive = alive;
  }

  embed(out: Activation, table: Matrix, ids: ArrayLike<number>, scale: number, firstToken = 0): void {
    const target = activation(out);
    const weights = matrix(table);
    const copy = Array.from(ids);
    rows(target, integer(firstToken, 'firstToken') + copy.length);
    equal(target.width, weights.columns, 'width of embeddings');
    for (const id of copy) within(id, weights.rows, 'token id');
    this.#record(() => {
      copy.forEach((id, token) => {
        target.row(firstToken + token).set(weights.row(id).map((value) => value * scale));
      });
    });
  }

  rmsNorm(out: Activation, x: Activation, weight: Vector, tokens: number, eps: number, firstToken = 0): void {
    const target = activation(out);
    const source = activation(x);
    const scale = vector(weight);
    rows(target, tokens);
    rows(source, integer(firstToken, 'firstToken') + tokens);
    if (firstToken > 0 && target === source) throw new RangeError('rmsNorm cannot move rows in place');
    equal(source.width, scale.length, 'width of the norm');
    equal(target.width, source.width, 'width of the output');
    this.#record(() => {
      for (let token = 0; token < tokens; token++) {
        math.rmsNorm(target.row(token), source.row(firstToken + token), scale.values, eps);
      }
    });
  }

  rmsNormHeads(x: Activation, weight: Vector, tokens: number, heads: number, eps: number): void {
    const target = activation(x);
    const scale = vector(weight);
    rows(target, tokens);
    equal(target.width, positive(heads, 'heads') * scale.length, 'width of the heads');
    this.#record(() => {
      for (let token = 0; token < tokens; token++) {
        for (let head = 0; head < heads; head++) {
          const slice = target.row(token).subarray(head * scale.length, (head + 1) * scale.length);
          math.rmsNorm(slice, slice, scale.values, eps);
        }
      }
    });
  }

  matmul(
    x: Activation,
    targets: readonly { readonly weight: Matrix; readonly out: Activation }[],
    tokens: number,
    firstToken = 0,
  ): void {
    const source = activation(x);
    integer(firstToken, 'firstToken');
    rows(source, firstToken + integer(tokens, 'tokens'));
    const products = targets.map(({ weight, out }) => ({ weight: matrix(weight), out: activation(out) }));
    for (const { weight, out } of products) {
      rows(out, tokens);
      equal(source.width, weight.columns, `columns of ${weight.name}`);
      equal(out.width, weight.rows, `rows of ${weight.name}`);
      if (out === source) throw new RangeError('matmul cannot write to its own input');
    }
    this.#record(() => {
      for (let token = 0; token < tokens; token++) {
        const exact = source.row(firstToken + token);
        const rounded = this.#precision === 'int8' ? math.roundToInt8Blocks(exact) : exact;
        for (const { weight, out } of products) {
          const input = weight.quantized ? rounded : exact;
          const output = out.row(token);
          for (let row = 0; row < weight.rows; row++) output[row] = math.dot(weight.row(row), input);
        }
      }
    });
  }

  topLogits(
    x: Activation,
    weight: Matrix,
    out: Activation,
    { count, also }: TopRequest,
    tokens: number,
    firstToken = 0,
  ): void {
    const target = activation(out);
    const weights = matrix(weight);
    const asked = Array.from(also);
    rows(target, tokens);
    if (count < 1 || 2 * (count + asked.length) > target.width) throw new RangeError('too many top logits');
    for (const id of asked) within(id, weights.rows, 'row');
    const logits = new OracleActivation(tokens, weights.rows);
    this.matmul(x, [{ weight, out: logits }], tokens, firstToken);
    this.#record(() => {
      for (let token = 0; token < tokens; token++) {
        const all = logits.row(token);
        const order = Array.from(all.keys()).sort(
          (a, b) =>
            Number(Number.isFinite(all[a])) - Number(Number.isFinite(all[b])) || all[b]! - all[a]! || a - b,
        );
        const best = order.slice(0, count);
        const slots = target.width / 2;
        const row = target.row(token);
        row.fill(Number.NaN, 0, slots).fill(-1, slots);
        for (const [i, id] of best.entries()) {
          row[i] = all[id]!;
          row[slots + i] = id;
        }
        for (const [i, id] of asked.entries()) {
          row[count + i] = all[id]!;
          row[slots + count + i] = id;
        }
      }
    });
  }

  rope(
    x: Activation,
    tokens: number,
    heads: number,
    headDim: number,
    position: number,
    base: number,
    factor: number,
  ): void {
    const target = activation(x);
    rows(target, tokens);
    integer(position, 'position');
    if (positive(headDim, 'headDim') % 2 !== 0) throw new RangeError(`headDim is ${headDim}, an odd number`);
    equal(target.width, positive(heads, 'heads') * headDim, 'width of the heads');
    if (!(base > 0 && factor > 0))
      throw new RangeError(`RoPE base ${base} and factor ${factor} must be positive`);
    const frequencies = math.ropeFrequencies(headDim, base, factor);
    this.#record(() => {
      for (let token = 0; token < tokens; token++) {
        for (let head = 0; head < heads; head++) {
          const slice = target.row(token).subarray(head * headDim, (head + 1) * headDim);
          math.rope(slice, position + token, frequencies);
        }
      }
    });
  }

  kvWrite(kv: KvView, layer: number, k: Activation, v: Activation, position: number, tokens: number): void {
    const { arena, pageTable } = view(kv, layer);
    const { kvHeads, headDim } = arena.shape;
    const keys = activation(k);
    const values = activation(v);
    for (const source of [keys, values]) {
      rows(source, tokens);
      equal(source.width, kvHeads * headDim, 'width of keys and values');
    }
    placesFit(pageTable, integer(position, 'position'), position + tokens);
    this.#record(() => {
      for (let token = 0; token < tokens; token++) {
        for (let head = 0; head < kvHeads; head++) {
          const at = position + token;
          const range = [head * headDim, (head + 1) * headDim] as const;
          const place = (part: 'key' | 'value') => arena.vector(pageOf(pageTable, at), layer, head, part, at);
          place('key').set(
            keys
              .row(token)
              .subarray(...range)
              .map(Math.f16round),
          );
          place('value').set(
            values
              .row(token)
              .subarray(...range)
              .map(Math.f16round),
          );
        }
      }
    });
  }

  attention(out: Activation, q: Activation, kv: KvView, options: AttentionOptions): void {
    const { layer, position, tokens, heads, window, scale } = options;
    const { arena, pageTable, cold, sparse } = view(kv, layer);
    const { kvHeads, headDim } = arena.shape;
    const missed = options.missed && activation(options.missed);
    const target = activation(out);
    const queries = activation(q);
    if (positive(heads, 'heads') % kvHeads !== 0) {
      throw new RangeError(`${heads} query heads are not a multiple of ${kvHeads} KV heads`);
    }
    for (const each of [target, queries]) {
      rows(each, tokens);
      equal(each.width, heads * headDim, 'width of the heads');
    }
    if (target === queries) throw new RangeError('attention cannot write to its own input');
    if (window !== null) positive(window, 'window');
    const firstVisible = (at: number) => (window === null ? 0 : Math.max(0, at - window + 1));
    const visibleUntil = options.visibleUntil?.slice();
    const ends = visibleUntil ?? Int32Array.from({ length: tokens }, (_, i) => position + i + 1);
    equal(ends.length, tokens, 'bounds of what tokens see');
    ends.forEach((end, i) => {
      if (end <= position + i || end > position + tokens || end < (ends[i - 1] ?? 0))
        throw new RangeError(`visibleUntil of token ${i} is ${end}`);
    });
    placesFit(pageTable, firstVisible(integer(position, 'position')), position + tokens);
    const needed = cold === null ? 0 : coldPages(cold.hotPages, position + tokens - 1);
    if (cold !== null && window !== null) throw new RangeError('windows have no compressed pages');
    if (needed > (cold?.pageTable.length ?? 0)) throw new RangeError('compressed pages are missing');
    this.#record(() => {
      for (let token = 0; token < tokens; token++) {
        const at = position + token;
        const first = firstVisible(at);
        for (let head = 0; head < heads; head++) {
          const kvHead = Math.floor(head / (heads / kvHeads));
          const coldEnd = cold === null ? 0 : coldPages(cold.hotPages, at) * PAGE_POSITIONS;
          const get = (part: 'key' | 'value') => (index: number) => {
            const place = first + index;
            return cold !== null && place < coldEnd && place >= cold.firstPage * PAGE_POSITIONS
              ? cold.arena.vector(pageOf(cold.pageTable, place), layer, kvHead, part, place)
              : arena.vector(pageOf(pageTable, place), layer, kvHead, part, place);
          };
          const slice = [head * headDim, (head + 1) * headDim] as const;
          const choosable = sparse === null ? 0 : coldPages(sparse.recentPages, at);
          const group = heads / kvHeads;
          const rangeOf = (page: number) => {
            const from = cold ?? { arena, pageTable };
            return from.arena.ranges.get(from.pageTable[page]!)![layer * kvHeads + kvHead]!;
          };
          const chosen = choosePages(
            Array.from({ length: group }, (_, i) => {
              const start = (kvHead * group + i) * headDim;
              return queries.row(token).subarray(start, start + headDim);
            }),
            Array.from({ length: choosable }, (_, page) => rangeOf(page)),
            sparse?.topPages ?? 0,
            scale,
          );
          const places = Array.from({ length: ends[token]! - first }, (_, i) => i).filter((i) => {
            const page = Math.floor((first + i) / PAGE_POSITIONS);
            return page >= choosable || chosen.has(page);
          });
          const total = math.attention(
            target.row(token).subarray(...slice),
            queries.row(token).slice(...slice),
            places.length,
            (i) => get('key')(places[i]!),
            (i) => get('value')(places[i]!),
            scale,
          );
          if (missed !== undefined) {
            const share = chosen.missed(head % group, total);
            missed.row(token)[head] = Math.max(missed.row(token)[head]!, share);
          }
        }
      }
    });
  }

  geluMul(out: Activation, gate: Activation, up: Activation, tokens: number): void {
    const [target, left, right] = [activation(out), activation(gate), activation(up)];
    for (const each of [target, left, right]) {
      rows(each, tokens);
      equal(each.width, target.width, 'width');
    }
    this.#record(() => {
      for (let i = 0; i < tokens * target.width; i++) {
        target.values[i] = math.geluTanh(left.values[i] ?? 0) * (right.values[i] ?? 0);
      }
    });
  }

  add(out: Activation, x: Activation, tokens: number, firstToken = 0): void {
    const [target, source] = [activation(out), activation(x)];
    rows(target, integer(firstToken, 'firstToken') + tokens);
    rows(source, tokens);
    equal(source.width, target.width, 'width');
    const start = firstToken * target.width;
    this.#record(() => {
      for (let i = 0; i < tokens * target.width; i++) {
        target.values[start + i] = (target.values[start + i] ?? 0) + (source.values[i] ?? 0);
      }
    });
  }

  layerNorm(...args: Parameters<Pass['layerNorm']>): void {
    this.#record(images.layerNorm(...args));
  }

  addBias(...args: Parameters<Pass['addBias']>): void {
    this.#record(images.addBias(...args));
  }

  averagePool(...args: Parameters<Pass['averagePool']>): void {
    this.#record(images.averagePool(...args));
  }

  mutualAttention(...args: Parameters<Pass['mutualAttention']>): void {
    this.#record(images.mutualAttention(...args));
  }

  discard(x: Activation): void {
    this.#discarded.push(activation(x));
  }

  async submit(signal?: AbortSignal): Promise<void> {
    if (this.#submitted) throw new BackendError('A pass is submitted once; this one already was.');
    this.#submitted = true;
    for (const operation of this.#operations) {
      await nextTurn();
      if (signal?.aborted) throw new PassCancelled();
      if (!this.#alive()) throw new BackendError('The backend was disposed.');
      operation();
    }
    // Whoever reads it all the same shall notice.
    for (const { values } of this.#discarded) values.fill(Number.NaN);
  }

  #record(operation: () => void): void {
    if (this.#submitted) throw new BackendError('This pass was already submitted; record into a new one.');
    this.#operations.push(operation);
  }
}

class OracleBackend implements Backend {
  readonly name = 'oracle';
  readonly numerics = 'oracle';
  readonly description: string;
  readonly precision: ActivationPrecision;
  #disposed = false;
  #weightBytes = 0;
  #kvBytes = 0;
  #scratchBytes = 0;

  constructor(precision: ActivationPrecision) {
    this.precision = precision;
    this.description = `oracle, ${precision} activations`;
  }

  async loadMatrix(source: WeightSource): Promise<Matrix> {
    this.#checkAlive();
    const loaded = new OracleMatrix(source);
    this.#weightBytes += loaded.values.byteLength;
    return loaded;
  }

  async addShadow(): Promise<void> {}

  async loadVector(source: WeightSource): Promise<Vector> {
    this.#checkAlive();
    if (source.rows !== 1) throw new RangeError(`${source.name} has ${source.rows} rows; a vector has one`);
    const loaded = new OracleVector(source);
    this.#weightBytes += loaded.values.byteLength;
    return loaded;
  }

  createActivation(tokens: number, width: number): Activation {
    this.#checkAlive();
    const created = new OracleActivation(tokens, width);
    this.#scratchBytes += created.values.byteLength;
    return created;
  }

  createKvArena(shape: KvShape, pages: number, options: KvArenaOptions = {}): KvArena {
    this.#checkAlive();
    const arena = new OracleArena(shape, pages, options);
    this.#kvBytes += arena.pages * arena.pageBytes;
    return arena;
  }

  createPass(): Pass {
    this.#checkAlive();
    return new OraclePass(this.precision, () => !this.#disposed);
  }

  readBack(source: Activation, target: Float32Array, firstToken: number, tokens: number): void {
    this.#checkAlive();
    const from = activation(source);
    rows(from, integer(firstToken, 'firstToken') + integer(tokens, 'tokens'));
    equal(target.length, tokens * from.width, 'length of the target');
    target.set(from.values.subarray(firstToken * from.width, (firstToken + tokens) * from.width));
  }

  upload(target: Activation, values: Float32Array, firstToken: number): void {
    this.#checkAlive();
    const to = activation(target);
    if (values.length % to.width !== 0) {
      throw new RangeError(`${values.length} values are not whole rows of ${to.width}`);
    }
    rows(to, integer(firstToken, 'firstToken') + values.length / to.width);
    to.values.set(values, firstToken * to.width);
  }

  profile(): readonly OperationTime[] {
    return [];
  }

  memory(): BackendMemory {
    return { weights: this.#weightBytes, kvReserved: this.#kvBytes, scratch: this.#scratchBytes };
  }

  dispose(): void {
    this.#disposed = true;
  }

  #checkAlive(): void {
    if (this.#disposed) throw new BackendError('The backend was disposed.');
  }
}

/** A backend in plain TypeScript, for shapes small enough to wait for. */
export function createOracleBackend(options: OracleOptions = {}): Backend {
  return new OracleBackend(options.precision ?? 'f32');
}

function view(kv: KvView, layer: number): RecordedView {
  if (!(kv.arena instanceof OracleArena)) {
    throw new BackendError('This KV arena was not created by the oracle backend.');
  }
  const arena = usable(kv.arena, 'KV arena');
  within(layer, arena.shape.layers, 'layer');
  if (arena.format !== 'f16') throw new RangeError('new keys and values need an F16 arena');
  for (const page of kv.pageTable) within(page, arena.pages, 'page');
  return { arena, pageTable: kv.pageTable.slice(), cold: coldView(kv), sparse: kv.sparse ?? null };
}

function coldView({ arena: hot, cold }: KvView): RecordedView['cold'] {
  if (cold === undefined) return null;
  const { arena, hotPages, firstPage } = cold;
  if (!(arena instanceof OracleArena)) throw new BackendError("This KV arena is not the oracle's.");
  if (usable(arena, 'KV arena').format === 'f16') throw new RangeError('compressed pages must not be F16');
  const [a, b] = [arena.shape, hot.shape];
  if (a.layers !== b.layers || a.kvHeads !== b.kvHeads || a.headDim !== b.headDim)
    throw new RangeError('the compressed pages have another shape');
  positive(hotPages, 'hotPages');
  integer(firstPage, 'firstPage');
  for (const page of cold.pageTable) within(page, arena.pages, 'page');
  return { arena, pageTable: cold.pageTable.slice(), hotPages, firstPage };
}

function pageOf(pageTable: Int32Array, position: number): number {
  return pageTable[Math.floor(position / PAGE_POSITIONS) % pageTable.length] ?? 0;
}

/** Positions that are in use at once must not share a place: the table holds 64 per page, then wraps. */
function placesFit(pageTable: Int32Array, first: number, end: number): void {
  const places = pageTable.length * PAGE_POSITIONS;
  if (end - first > places) {
    throw new RangeError(`positions ${first} to ${end - 1} do not fit a page table of ${places} positions`);
  }
}
