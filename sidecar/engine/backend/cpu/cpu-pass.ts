/**
 * Records operations as one flat list of numbers, which program.cc reads and checks once more:
 * an operation's number, then its arguments in the order in which the methods below write them.
 */
import {
  type Activation,
  type AttentionOptions,
  BackendError,
  coldPages,
  type KvView,
  type Matrix,
  PAGE_POSITIONS,
  type Pass,
  PassCancelled,
  type TopRequest,
  type Vector,
} from '../backend.ts';
import { CpuActivation, CpuKvArena, CpuMatrix, CpuVector, type Owner } from './cpu-objects.ts';
import { toBackendError } from './native.ts';

/** `OpCode` of program.cc. */
const OP = {
  embed: 1,
  rmsNorm: 2,
  matmul: 3,
  rope: 4,
  kvWrite: 5,
  attention: 6,
  geluMul: 7,
  add: 8,
  layerNorm: 9,
  addBias: 10,
  averagePool: 11,
  mutualAttention: 12,
  topLogits: 13,
  discard: 14,
} as const;

/** Positions that the engine accepts; far beyond any Gemma's context. */
const MAX_POSITION = 1 << 24;
/** Half of `kTokenBlock` of kernels.h: screening takes two rows for a token. */
const MAX_TOP_TOKENS = 64;
/** `kMaxMutualHeadDim` of kernels.h. */
const MAX_HEAD = 256;

/** Messages that hold figures are made when they are needed: a pass over one token checks thousands of values. */
function require(holds: boolean, message: string | (() => string)): asserts holds {
  if (!holds) throw new RangeError(typeof message === 'string' ? message : message());
}

function requireCount(value: number, least: number, most: number, what: string): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`${what} must be an integer in [${least}, ${most}], not ${value}`);
}

/** Every one of `values` is an integer in [0, limit). */
function requireEach(values: ArrayLike<number>, limit: number, what: string): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!(Number.isInteger(value) && value >= 0 && value < limit))
      requireCount(value, 0, limit - 1, `${what} ${i}`);
  }
}

/** {@link AttentionOptions.visibleUntil} is what it says it is. */
function requireBounds(visibleUntil: Int32Array, position: number, tokens: number): void {
  requireCount(visibleUntil.length, tokens, tokens, 'attention: length of visibleUntil');
  let least = position + 1;
  for (const [i, until] of visibleUntil.entries()) {
    least = Math.max(least, position + i + 1);
    requireCount(until, least, position + tokens, `attention: visibleUntil of token ${i}`);
    least = until;
  }
}

export class CpuPass implements Pass {
  readonly #owner: Owner;
  readonly #number: number;
  #words = new Float64Array(1024);
  #count = 0;
  #submitted = false;

  /** `number` names the pass to the addon; unique among passes that have not settled. */
  constructor(owner: Owner, number: number) {
    this.#owner = owner;
    this.#number = number;
  }

  embed(out: Activation, table: Matrix, ids: ArrayLike<number>, scale: number, firstToken = 0): void {
    const to = this.#activation(out, 'embed: out');
    const matrix = this.#matrix(table, 'embed: table');
    requireCount(firstToken, 0, to.tokens, 'embed: firstToken');
    requireCount(ids.length, 1, to.tokens - firstToken, 'embed: number of ids');
    require(to.width === matrix.columns, () =>
      `embed: out has width ${to.width}, ${matrix.name} has ${matrix.columns} columns`);
    requireEach(ids, matrix.rows, 'embed: id');
    this.#write(OP.embed, to.id, matrix.id, scale, firstToken);
    this.#writeList(ids);
  }

  rmsNorm(out: Activation, x: Activation, weight: Vector, tokens: number, eps: number, firstToken = 0): void {
    const from = this.#activation(x, 'rmsNorm: x');
    requireCount(firstToken, 0, from.tokens, 'rmsNorm: firstToken');
    requireCount(tokens, 1, from.tokens - firstToken, 'rmsNorm: tokens');
    require(firstToken === 0 || out !== x, 'rmsNorm: out must not be x where rows move');
    this.#norm(out, x, weight, tokens, 1, eps, 'rmsNorm', firstToken);
  }

  rmsNormHeads(x: Activation, weight: Vector, tokens: number, heads: number, eps: number): void {
    requireCount(heads, 1, x.width, 'rmsNormHeads: heads');
    this.#norm(x, x, weight, tokens, heads, eps, 'rmsNormHeads');
  }

  matmul(
    x: Activation,
    targets: readonly { readonly weight: Matrix; readonly out: Activation }[],
    tokens: number,
    firstToken = 0,
  ): void {
    const from = this.#activation(x, 'matmul: x');
    requireCount(tokens, 1, from.tokens, 'matmul: tokens');
    requireCount(firstToken, 0, from.tokens - tokens, 'matmul: firstToken');
    requireCount(targets.length, 1, 64, 'matmul: number of targets');
    const ids: number[] = [];
    for (const { weight, out } of targets) {
      const matrix = this.#matrix(weight, 'matmul: weight');
      const to = this.#activation(out, 'matmul: out');
      require(matrix.columns === from.width, () =>
        `matmul: ${matrix.name} has ${matrix.columns} columns, x has width ${from.width}`);
      require(matrix.rows === to.width, () =>
        `matmul: ${matrix.name} has ${matrix.rows} rows, its out has width ${to.width}`);
      require(to !== from, 'matmul: out must not be x');
      requireCount(tokens, 1, to.tokens, 'matmul: tokens');
      ids.push(matrix.id, to.id);
    }
    this.#write(OP.matmul, from.id, tokens, firstToken, targets.length, ...ids);
  }

  topLogits(
    x: Activation,
    weight: Matrix,
    out: Activation,
    { count, also }: TopRequest,
    tokens: number,
    firstToken = 0,
  ): void {
    const from = this.#activation(x, 'topLogits: x');
    const matrix = this.#matrix(weight, 'topLogits: weight');
    const to = this.#activation(out, 'topLogits: out');
    require(matrix.columns === from.width, () =>
      `topLogits: ${matrix.name} has ${matrix.columns} columns, x has width ${from.width}`);
    require(to !== from && to.width % 2 === 0, 'topLogits: out must be another activation of an even width');
    requireCount(tokens, 1, Math.min(from.tokens, to.tokens, MAX_TOP_TOKENS), 'topLogits: tokens');
    requireCount(firstToken, 0, from.tokens - tokens, 'topLogits: firstToken');
    requireCount(count, 1, to.width / 2 - also.length, 'topLogits: count');
    requireEach(also, matrix.rows, 'topLogits: id');
    this.#write(OP.topLogits, from.id, matrix.id, to.id, tokens, firstToken, count);
    this.#writeList(also);
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
    const to = this.#activation(x, 'rope: x');
    requireCount(tokens, 1, to.tokens, 'rope: tokens');
    requireCount(heads, 1, to.width, 'rope: heads');
    require(Number.isInteger(headDim) && headDim >= 2 && headDim % 2 === 0, () =>
      `rope: headDim must be even, not ${headDim}`);
    require(heads * headDim === to.width, () =>
      `rope: ${heads} heads of ${headDim} do not fill a width of ${to.width}`);
    requireCount(position, 0, MAX_POSITION - tokens, 'rope: position');
    require(base > 0 && Number.isFinite(base), () => `rope: base must be positive, not ${base}`);
    require(factor > 0 && Number.isFinite(factor), () => `rope: factor must be positive, not ${factor}`);
    this.#write(OP.rope, to.id, tokens, heads, headDim, position, base, factor);
  }

  kvWrite(kv: KvView, layer: number, k: Activation, v: Activation, position: number, tokens: number): void {
    const arena = this.#arena(kv, layer, 'kvWrite');
    const keys = this.#activation(k, 'kvWrite: k');
    const values = this.#activation(v, 'kvWrite: v');
    const width = arena.shape.kvHeads * arena.shape.headDim;
    require(keys.width === width && values.width === width, () =>
      `kvWrite: k and v have widths ${keys.width} and ${values.width}, the arena ${width}`);
    requireCount(
      tokens,
      1,
      Math.min(keys.tokens, values.tokens, kv.pageTable.length * PAGE_POSITIONS),
      'kvWrite: tokens',
    );
    requireCount(position, 0, MAX_POSITION - tokens, 'kvWrite: position');
    this.#write(OP.kvWrite, arena.id, layer, keys.id, values.id, tokens, position);
    this.#writeList(kv.pageTable);
  }

  attention(out: Activation, q: Activation, kv: KvView, options: AttentionOptions): void {
    const { layer, position, tokens, heads, window, scale } = options;
    const arena = this.#arena(kv, layer, 'attention');
    const to = this.#activation(out, 'attention: out');
    const queries = this.#activation(q, 'attention: q');
    requireCount(tokens, 1, Math.min(queries.tokens, to.tokens), 'attention: tokens');
    requireCount(position, 0, MAX_POSITION - tokens, 'attention: position');
    requireCount(heads, 1, queries.width, 'attention: heads');
    require(heads % arena.shape.kvHeads === 0, () =>
      `attention: ${heads} heads are no multiple of ${arena.shape.kvHeads} KV heads`);
    require(queries.width === heads * arena.shape.headDim && to.width === queries.width, () =>
      `attention: q and out must have width ${heads * arena.shape.headDim}`);
    require(to !== queries, 'attention: out must not be q');
    require(Number.isFinite(scale), () => `attention: scale must be finite, not ${scale}`);
    if (window !== null) requireCount(window, 1, MAX_POSITION, 'attention: window');
    const visibleUntil = options.visibleUntil ?? new Int32Array(0);
    if (options.visibleUntil !== undefined) requireBounds(visibleUntil, position, tokens);
    const end = position + tokens;
    const span = window === null ? end : Math.min(end, window + tokens - 1);
    require(span <= kv.pageTable.length * PAGE_POSITIONS, () =>
      `attention: a page table of ${kv.pageTable.length} pages does not hold the ${span} positions attended to`);
    this.#write(
      OP.attention,
      to.id,
      queries.id,
      arena.id,
      layer,
      tokens,
      position,
      heads,
      window ?? 0,
      scale,
    );
    this.#writeList(visibleUntil);
    this.#writeList(kv.pageTable);
    this.#writeColdPages(arena, kv, options);
    this.#writeChoice(arena, kv, options);
  }

  geluMul(out: Activation, gate: Activation, up: Activation, tokens: number): void {
    const to = this.#activation(out, 'geluMul: out');
    const left = this.#activation(gate, 'geluMul: gate');
    const right = this.#activation(up, 'geluMul: up');
    require(to.width === left.width && right.width === left.width, 'geluMul: widths do not agree');
    requireCount(tokens, 1, Math.min(to.tokens, left.tokens, right.tokens), 'geluMul: tokens');
    this.#write(OP.geluMul, to.id, left.id, right.id, tokens);
  }

  discard(x: Activation): void {
    this.#write(OP.discard, this.#activation(x, 'discard: x').id);
  }

  add(out: Activation, x: Activation, tokens: number, firstToken = 0): void {
    const to = this.#activation(out, 'add: out');
    const from = this.#activation(x, 'add: x');
    require(to.width === from.width, 'add: widths do not agree');
    requireCount(firstToken, 0, to.tokens, 'add: firstToken');
    requireCount(tokens, 1, Math.min(to.tokens - firstToken, from.tokens), 'add: tokens');
    this.#write(OP.add, to.id, from.id, tokens, firstToken);
  }

  layerNorm(out: Activation, x: Activation, weight: Vector, bias: Vector, tokens: number, eps: number): void {
    const to = this.#activation(out, 'layerNorm: out');
    const from = this.#activation(x, 'layerNorm: x');
    const [scale, shift] = [this.#vector(weight, 'layerNorm: weight'), this.#vector(bias, 'layerNorm: bias')];
    require(from.width === scale.length && from.width === shift.length && from.width === to.width, () =>
      `layerNorm: widths do not agree with x's ${from.width}`);
    requireCount(tokens, 1, Math.min(to.tokens, from.tokens), 'layerNorm: tokens');
    require(Number.isFinite(eps) && eps >= 0, () =>
      `layerNorm: eps must be a small positive number, not ${eps}`);
    this.#write(OP.layerNorm, to.id, from.id, scale.id, shift.id, tokens, eps);
  }

  addBias(x: Activation, bias: Vector, tokens: number, then?: 'gelu'): void {
    const to = this.#activation(x, 'addBias: x');
    const shift = this.#vector(bias, 'addBias: bias');
    require(to.width === shift.length, 'addBias: widths do not agree');
    requireCount(tokens, 1, to.tokens, 'addBias: tokens');
    this.#write(OP.addBias, to.id, shift.id, tokens, then === 'gelu' ? 1 : 0);
  }

  averagePool(out: Activation, x: Activation, side: number, factor: number): void {
    const to = this.#activation(out, 'averagePool: out');
    const from = this.#activation(x, 'averagePool: x');
    requireCount(side, 1, Math.floor(Math.sqrt(from.tokens)), 'averagePool: side');
    requireCount(factor, 1, side, 'averagePool: factor');
    require(side % factor === 0, () => `averagePool: ${side} is no multiple of ${factor}`);
    require((side / factor) ** 2 <= to.tokens &&
      to.width === from.width &&
      to !== from, 'averagePool: out does not fit');
    this.#write(OP.averagePool, to.id, from.id, side, factor);
  }

  mutualAttention(
    out: Activation,
    q: Activation,
    k: Activation,
    v: Activation,
    { tokens, heads, scale }: { readonly tokens: number; readonly heads: number; readonly scale: number },
  ): void {
    const ids = [out, q, k, v].map((value, i) => {
      const part = this.#activation(value, `mutualAttention: ${['out', 'q', 'k', 'v'][i]}`);
      require(part.width === q.width, 'mutualAttention: widths do not agree');
      requireCount(tokens, 1, part.tokens, 'mutualAttention: tokens');
      return part.id;
    });
    requireCount(heads, 1, q.width, 'mutualAttention: heads');
    require(q.width % heads === 0 && q.width / heads <= MAX_HEAD, () =>
      `mutualAttention: ${heads} heads do not fill a width of ${q.width} with at most ${MAX_HEAD} each`);
    require(out !== k && out !== v, 'mutualAttention: out must not be k or v');
    require(Number.isFinite(scale), () => `mutualAttention: scale must be finite, not ${scale}`);
    const [to, queries, keys, values] = ids as [number, number, number, number];
    this.#write(OP.mutualAttention, to, queries, keys, values, tokens, heads, scale);
  }

  async submit(signal?: AbortSignal): Promise<void> {
    if (this.#submitted) throw new BackendError('A pass is submitted once.');
    this.#submitted = true;
    if (signal?.aborted) throw new PassCancelled();
    const { native, engine } = this.#owner;
    const cancel = () => native.cancel(engine, this.#number);
    try {
      const done = native.submit(engine, this.#number, this.#words, this.#count);
      signal?.addEventListener('abort', cancel, { once: true });
      await done;
    } catch (error) {
      throw toBackendError(error);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  #norm(
    out: Activation,
    x: Activation,
    weight: Vector,
    tokens: number,
    heads: number,
    eps: number,
    name: string,
    firstToken = 0,
  ): void {
    const to = this.#activation(out, `${name}: out`);
    const from = this.#activation(x, `${name}: x`);
    require(weight instanceof CpuVector && weight.owner === this.#owner, () =>
      `${name}: weight is no vector of this backend`);
    require(from.width === heads * weight.length, () =>
      `${name}: ${heads} x ${weight.name} (${weight.length}) is not x's width ${from.width}`);
    require(to.width === from.width, () => `${name}: out has width ${to.width}, x has ${from.width}`);
    requireCount(tokens, 1, Math.min(to.tokens, from.tokens), `${name}: tokens`);
    require(Number.isFinite(eps) && eps >= 0, () =>
      `${name}: eps must be a small positive number, not ${eps}`);
    this.#write(OP.rmsNorm, to.id, from.id, weight.id, tokens, heads, eps, firstToken);
  }

  #activation(value: Activation, what: string): CpuActivation {
    require(value instanceof CpuActivation && value.owner === this.#owner, () =>
      `${what} is no activation of this backend`);
    return value;
  }

  #vector(value: Vector, what: string): CpuVector {
    require(value instanceof CpuVector && value.owner === this.#owner, () =>
      `${what} is no vector of this backend`);
    return value;
  }

  #matrix(value: Matrix, what: string): CpuMatrix {
    require(value instanceof CpuMatrix && value.owner === this.#owner, () =>
      `${what} is no matrix of this backend`);
    return value;
  }

  #arena(kv: KvView, layer: number, what: string): CpuKvArena {
    const { arena, pageTable } = kv;
    require(arena instanceof CpuKvArena && arena.owner === this.#owner, () =>
      `${what}: the arena is not this backend's`);
    require(arena.format === 'f16', () => `${what}: the arena of new keys and values must be F16`);
    requireCount(layer, 0, arena.shape.layers - 1, `${what}: layer`);
    requireCount(pageTable.length, 1, MAX_POSITION / PAGE_POSITIONS, `${what}: length of the page table`);
    requireEach(pageTable, arena.pages, 'Page');
    return arena;
  }

  #writeColdPages(hot: CpuKvArena, { cold }: KvView, { position, tokens, window }: AttentionOptions): void {
    if (cold === undefined || cold.pageTable.length === 0) {
      const behind = cold === undefined ? 0 : coldPages(cold.hotPages, position + tokens - 1);
      const needed = Math.max(0, behind - (cold?.firstPage ?? 0));
      require(needed === 0, () => `attention: ${needed} compressed pages are missing`);
      this.#write(0);
      return;
    }
    const { arena, hotPages, firstPage, pageTable } = cold;
    require(window === null, 'attention: only global layers have compressed pages');
    require(arena instanceof CpuKvArena &&
      arena.owner === this.#owner, 'attention: the compressed pages are not of this backend');
    require(arena.format !== 'f16', 'attention: the compressed pages are F16');
    const [a, b] = [arena.shape, hot.shape];
    require(a.layers === b.layers &&
      a.kvHeads === b.kvHeads &&
      a.headDim === b.headDim, 'attention: the compressed pages have another shape');
    requireCount(hotPages, 1, MAX_POSITION, 'attention: hotPages');
    requireCount(firstPage, 0, MAX_POSITION, 'attention: firstPage');
    const needed = coldPages(hotPages, position + tokens - 1);
    require(needed <= pageTable.length, () =>
      `attention: ${needed - pageTable.length} compressed pages are missing`);
    requireEach(pageTable, arena.pages, 'Compressed page');
    this.#write(1, arena.id, hotPages, firstPage);
    this.#writeList(pageTable);
  }

  #writeChoice(hot: CpuKvArena, { sparse, cold }: KvView, options: AttentionOptions): void {
    const { position, tokens, window, heads, missed } = options;
    if (sparse === undefined || coldPages(sparse.recentPages, position + tokens - 1) === 0) {
      this.#write(0);
      return;
    }
    const arena = cold !== undefined && cold.pageTable.length > 0 ? cold.arena : hot;
    require(window === null, 'attention: tokens choose among pages of global layers only');
    require(arena instanceof CpuKvArena && arena.bounded, 'attention: the pages have no bounds of keys');
    require((cold?.firstPage ?? 0) ===
      0, 'attention: tokens choose among compressed pages only, where there are any');
    requireCount(sparse.topPages, 1, MAX_POSITION, 'attention: topPages');
    requireCount(sparse.recentPages, cold?.hotPages ?? 1, MAX_POSITION, 'attention: recentPages');
    require(coldPages(sparse.recentPages, position + tokens - 1) * PAGE_POSITIONS <= position, () =>
      `attention: ${sparse.recentPages} recent pages are too few for a pass of ${tokens} tokens`);
    this.#write(1, sparse.recentPages, sparse.topPages);
    if (missed === undefined) {
      this.#write(0);
      return;
    }
    const bound = this.#activation(missed, 'attention: missed');
    require(bound.width === heads, () =>
      `attention: missed has width ${bound.width}, not one for each of ${heads} heads`);
    requireCount(tokens, 1, bound.tokens, 'attention: tokens of missed');
    this.#write(1, bound.id);
  }

  #write(...words: number[]): void {
    const start = this.#reserve(words.length);
    // `set` looks every element up by name: three times as long for these few.
    for (let i = 0; i < words.length; i++) this.#words[start + i] = words[i]!;
  }

  #writeList(values: ArrayLike<number>): void {
    const start = this.#reserve(values.length + 1);
    this.#words[start] = values.length;
    for (let i = 0; i < values.length; i++) this.#words[start + 1 + i] = values[i]!;
  }

  #reserve(count: number): number {
    require(!this.#submitted, 'A submitted pass takes no more operations');
    const start = this.#count;
    if (start + count > this.#words.length) {
      const grown = new Float64Array(Math.max(2 * this.#words.length, start + count));
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#count = start + count;
    return start;
  }
}
