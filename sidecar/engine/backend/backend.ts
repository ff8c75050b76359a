/**
 * The interface between the model and the device that computes it.
 *
 * A backend records operations into a {@link Pass} and runs them all on `submit`. Nothing here knows about
 * Gemma, prompts, sequences or scheduling; nothing returned here exposes a device pointer.
 *
 * Numerics every backend keeps: activations, norms, residuals and accumulators are F32; one token's result
 * does not depend on how many tokens share the pass, on thread count or on how a prompt was cut into chunks.
 */
import type { WeightSource } from './tensor.ts';

/** Positions in one KV page. Pages are aligned: page `t` of a sequence holds positions [64t, 64t + 64). */
export const PAGE_POSITIONS = 64;

/** Raised whenever the layout or rounding of a page's bytes changes; pages kept on disk are then read again. */
export const KV_PAGE_VERSION = 1;

/**
 * How matrix products read activations: rounded to int8 in blocks of 32 (the fast path), as F32, or, with matrices that may be
 * rounded, as BF16 (F32 where the processor has no BF16 dot products).
 */
export type ActivationPrecision = 'int8' | 'bf16' | 'f32';

declare const handle: unique symbol;
/** A matrix on the device, packed for its kernels: `rows` x `columns`; y = W x maps columns to rows. */
export interface Matrix {
  readonly [handle]?: 'matrix';
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  /** Frees it; a pass under way keeps it alive. Idempotent. */
  dispose(): void;
}
/** A vector of F32 on the device. */
export interface Vector {
  readonly [handle]?: 'vector';
  readonly name: string;
  readonly length: number;
  dispose(): void;
}
/** Scratch for activations on the device: F32 `[tokens][width]`, row-major. */
export interface Activation {
  readonly [handle]?: 'activation';
  readonly tokens: number;
  readonly width: number;
  dispose(): void;
}

/** What one class of layers (all sliding-window layers, or all global ones) keeps for each position. */
export interface KvShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * How a page keeps keys and values: F16, or int8 or int4 codes with scales. Codes of int8 are those of a whole head and
 * position under one scale; of int4, of 32 dimensions.
 */
export type KvFormat = 'f16' | 'int8' | 'int4';

/**
 * Memory for KV pages of one layer class. A page holds K and V of {@link PAGE_POSITIONS} positions for every
 * layer of the class. Memory is reserved at once and taken from the system only as pages are written. The bytes of a page
 * are the same on every instruction set.
 */
export interface KvArenaOptions {
  /** Default: f16. */
  readonly format?: KvFormat;
  /** Whether tokens may choose among its pages ({@link SparseReading}); takes 1/64 of F16 more. Default: false. */
  readonly bounded?: boolean;
}

export interface KvArena {
  readonly [handle]?: 'kvArena';
  readonly shape: KvShape;
  readonly format: KvFormat;
  readonly pages: number;
  readonly pageBytes: number;
  /**
   * Rounds page `page` of `from`, an F16 arena of the same shape, into page `to` of this int8 or int4 arena. A pass may run
   * meanwhile if it writes neither and does not read `to`.
   */
  compressPage(from: KvArena, page: number, to: number): void;
  /**
   * Notes the range of the page's keys, by which tokens choose. Once it is complete, in the form in which they read it; a
   * pass may run that does neither.
   */
  boundPage(page: number): void;
  /** Copies page `from` to page `to` (both < `pages`), for copy-on-write of a half-filled page. Only between passes. */
  copyPage(from: number, to: number): void;
  /** Bytes of one whole page, the same on every instruction set; `target` has `pageBytes`. Only between passes. */
  readPage(page: number, target: Uint8Array): void;
  /**
   * The reverse. Any bytes are safe to attend to, if possibly wrong. A pass may run meanwhile if it does not touch this page.
   */
  writePage(page: number, source: Uint8Array): void;
  dispose(): void;
}

/**
 * A sequence's view of an arena: position `p` lives in page `pageTable[floor(p / 64) % pageTable.length]`.
 * A sliding-window class uses a table as long as its ring; a global class one that never wraps.
 */
export interface KvView {
  readonly arena: KvArena;
  readonly pageTable: Int32Array;
  /** Of a global class that compresses what is far behind. */
  readonly cold?: ColdKvView;
  /** Absent: tokens read every page that they may see. */
  readonly sparse?: SparseReading;
}

/**
 * A token of a global layer reads its last `recentPages` pages (its own included), the first page, and of the others
 * `topPages`: for each KV head those whose keys' ranges allow its queries the largest scores. The choice depends on the token
 * and the pages before it alone. All pages to choose from must have been bounded ({@link KvArena.boundPage}); where pages are
 * compressed, `recentPages` is at least `hotPages`.
 */
export interface SparseReading {
  readonly topPages: number;
  readonly recentPages: number;
}

/**
 * Compressed pages between F16 ones. A token at position p reads page t from here if firstPage <= t <
 * {@link coldPages}(hotPages, p), else as F16: a function of positions, never of how a prompt was cut. Here `pageTable[t]`
 * is page t; entries before `firstPage` are any page.
 */
export interface ColdKvView {
  readonly arena: KvArena;
  readonly pageTable: Int32Array;
  /** Pages up to and with the token's own that are read as F16. */
  readonly hotPages: number;
  /** Those before it stay F16. 0 where tokens choose among pages. */
  readonly firstPage: number;
}

/** How many pages, from the first on, lie behind the `hotPages` last ones of a token at `position`. */
export function coldPages(hotPages: number, position: number): number {
  return Math.max(0, Math.floor(position / PAGE_POSITIONS) + 1 - hotPages);
}

/** The greatest products of a matrix with an activation: {@link count} of them, and those of the rows {@link also}. */
export interface TopRequest {
  readonly count: number;
  readonly also: ArrayLike<number>;
}

export interface AttentionOptions {
  /** Layer index within the arena's class. */
  readonly layer: number;
  /** Position of the first token of the pass; token i attends as position + i. */
  readonly position: number;
  readonly tokens: number;
  /** Query heads; a multiple of the arena's kvHeads (grouped-query attention). */
  readonly heads: number;
  /** Sliding window in positions, self included: attends to (p - window, p]. null attends to [0, p]. */
  readonly window: number | null;
  /** Multiplies q.k before the softmax. */
  readonly scale: number;
  /**
   * Where tokens see ahead (those of an image see all of it): for each token of the pass the position before which it
   * attends, from its own position + 1 to position + tokens, never falling from one token to the next. Absent: each token
   * sees up to itself. The window still holds.
   */
  readonly visibleUntil?: Int32Array;
  /**
   * With {@link KvView.sparse}: `[tokens][heads]`, each raised to the largest share of its softmax that pages which were not
   * read may have had, if it is larger than what stands there.
   */
  readonly missed?: Activation;
}

/**
 * A list of operations in order. Every `tokens` argument must fit the activations it touches; a bad argument
 * throws RangeError at record time. Operations on the first `tokens` rows unless `firstToken` is given.
 */
export interface Pass {
  /**
   * out[firstToken + i] = scale * row ids[i] of table, dequantised. `ids` is copied. Throws RangeError on an id >= rows.
   * `firstToken` is 0 by default.
   */
  embed(out: Activation, table: Matrix, ids: ArrayLike<number>, scale: number, firstToken?: number): void;
  /**
   * out[i] = x / sqrt(mean(x^2) + eps) * weight with x = x[firstToken + i], row by row (the GGUF weight has Gemma's +1 already
   * added). `firstToken` is 0 by default; then out may be x.
   */
  rmsNorm(
    out: Activation,
    x: Activation,
    weight: Vector,
    tokens: number,
    eps: number,
    firstToken?: number,
  ): void;
  /** The same over each of `heads` slices of width weight.length in every row, in place (QK-norm). */
  rmsNormHeads(x: Activation, weight: Vector, tokens: number, heads: number, eps: number): void;
  /**
   * For every target: out[i] = W x[firstToken + i], i < tokens. All targets read the same x, which
   * a backend may quantise once.
   */
  matmul(
    x: Activation,
    targets: readonly { readonly weight: Matrix; readonly out: Activation }[],
    tokens: number,
    firstToken?: number,
  ): void;
  /**
   * The greatest products of `weight`'s rows with x[firstToken + i], i < tokens (at most 64), each the bits that `matmul`
   * gives: out[i] is `width / 2` values, then the rows of `weight` they belong to. The first `count` are the greatest, greatest first,
   * equal ones by row, and whatever is no finite number in front of all; then those of the rows `also`. What is left over
   * is NaN, with row -1. A matrix with a shadow is read only where they may be.
   */
  topLogits(
    x: Activation,
    weight: Matrix,
    out: Activation,
    request: TopRequest,
    tokens: number,
    firstToken?: number,
  ): void;
  /** Rotary embedding in place, NeoX pairing (i with i + headDim/2): angle = (position / factor) * base^(-2i/headDim). */
  rope(
    x: Activation,
    tokens: number,
    heads: number,
    headDim: number,
    position: number,
    base: number,
    factor: number,
  ): void;
  /** Stores k and v (`[tokens][kvHeads * headDim]`) at positions position.. as F16, round to nearest even. */
  kvWrite(kv: KvView, layer: number, k: Activation, v: Activation, position: number, tokens: number): void;
  /** out = softmax(scale * q K^T + mask) V; q and out are `[tokens][heads * headDim]`. Reads `kv` after this pass's kvWrite. */
  attention(out: Activation, q: Activation, kv: KvView, options: AttentionOptions): void;
  /** out = gelu_tanh(gate) * up. out may be gate. */
  geluMul(out: Activation, gate: Activation, up: Activation, tokens: number): void;
  /** out[firstToken + i] += x[i], i < tokens. `firstToken` is 0 by default. */
  add(out: Activation, x: Activation, tokens: number, firstToken?: number): void;
  /** out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, row by row. out may be x. */
  layerNorm(out: Activation, x: Activation, weight: Vector, bias: Vector, tokens: number, eps: number): void;
  /** x = x + bias in every row, in place; with 'gelu' gelu_tanh(x + bias). */
  addBias(x: Activation, bias: Vector, tokens: number, then?: 'gelu'): void;
  /** x is a grid `[side][side]` of rows; out `[side / factor][side / factor]`, each the mean of a factor x factor square. */
  averagePool(out: Activation, x: Activation, side: number, factor: number): void;
  /**
   * out = softmax(scale * q k^T) v with every row seeing every row; all are `[tokens][heads * headDim]`, any headDim up to
   * 256, out may be q. But for F32 precision a backend may round q, k, v and weights to BF16 (relative error about
   * 3e-3) or, in int8 precision and among many rows, to codes (about 1e-2 of what differs from row to row).
   */
  mutualAttention(
    out: Activation,
    q: Activation,
    k: Activation,
    v: Activation,
    options: { readonly tokens: number; readonly heads: number; readonly scale: number },
  ): void;
  /** Nobody needs what `x` holds when the pass has ended, so the backend may leave some of it unwritten. */
  discard(x: Activation): void;
  /**
   * Runs the recorded operations. The event loop stays free meanwhile. Rejects with {@link PassCancelled} once
   * `signal` fires (checked between operations, well under 250 ms); KV written by a cancelled pass is garbage
   * beyond the caller's committed length. A pass is submitted once.
   */
  submit(signal?: AbortSignal): Promise<void>;
}

export interface BackendMemory {
  /** Bytes held for packed weights, reserved KV arenas (and the part of them touched so far), scratch. */
  readonly weights: number;
  readonly kvReserved: number;
  readonly scratch: number;
}

export interface OperationTime {
  /** Its name in {@link Pass}, followed by the arithmetic where there is a choice: "matmul int8". */
  readonly name: string;
  readonly runs: number;
  readonly wallSeconds: number;
  /** Of all threads; steadier on a busy machine. */
  readonly cpuSeconds: number;
  /** Multiplications and additions of products and attention; 0 elsewhere. */
  readonly operations: number;
}

export interface Backend {
  /** For example "cpu". */
  readonly name: string;
  /** For a person: instruction set and threads, for example "CPU, AVX-512 VNNI, 2 threads". */
  readonly description: string;
  readonly precision: ActivationPrecision;
  /** Equal for two backends only if they give the same bits: build, instruction set, precision. */
  readonly numerics: string;
  /**
   * `rounded`: the matrix is only multiplied, with whole images, and a product may have a relative error of about 5e-3.
   * For int8 precision the backend may keep codes and multiply what those leave over by means of 16 neighbouring rows, for
   * BF16 precision round to BF16. Such a matrix is no table for `embed`, and shares no matmul with others.
   */
  loadMatrix(source: WeightSource, rounded?: boolean): Promise<Matrix>;
  /**
   * Keeps a smaller copy of `matrix` beside it ({@link shadowBytes}), from which {@link Pass.topLogits} tells where to read;
   * its results are the same. Nothing happens where that would not pay. Not while a pass of it is under way.
   */
  addShadow(matrix: Matrix): Promise<void>;
  loadVector(source: WeightSource): Promise<Vector>;
  createActivation(tokens: number, width: number): Activation;
  /** Throws {@link OutOfMemory} if the system refuses the reservation. */
  createKvArena(shape: KvShape, pages: number, options?: KvArenaOptions): KvArena;
  createPass(): Pass;
  /** Copies rows [firstToken, firstToken + tokens) into `target`, which holds tokens * width values. Between passes. */
  readBack(source: Activation, target: Float32Array, firstToken: number, tokens: number): void;
  /** Fills rows from the host (image embeddings, tests). Between passes. */
  upload(target: Activation, values: Float32Array, firstToken: number): void;
  memory(): BackendMemory;
  /** What each kind of operation took since the call before; measured from the first call on. A backend may know nothing. */
  profile(): readonly OperationTime[];
  /** Frees everything; idempotent. Rejects outstanding passes. */
  dispose(): void;
}

export class PassCancelled extends Error {
  override readonly name = 'PassCancelled';
  constructor() {
    super('The pass was cancelled.');
  }
}

/** The device has no memory for what was asked. The message gives the numbers. */
export class OutOfMemory extends Error {
  override readonly name = 'OutOfMemory';
}

/** A backend cannot run this operation or type; the message names operation, type and backend. */
export class BackendError extends Error {
  override readonly name = 'BackendError';
}
