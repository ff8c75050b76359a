/**
 * The Gemma 3 forward pass (arXiv 2503.19786): what is computed, in order. Which device computes it, where keys and
 * values live and whose turn it is are others' business.
 */
import type { Activation, Backend, KvView, Pass, TopRequest } from '../backend/backend.ts';
import type { Gemma3Config, LayerKind } from './config.ts';
import type { Gemma3Weights, LayerWeights } from './weights.ts';

/** Raised whenever this file computes something else for the same tokens: KV kept on disk is then read again. */
export const FORWARD_VERSION = 1;

/** Where the tokens of a pass keep keys and values, by class of layer. */
export type KvViews = Readonly<Record<LayerKind, KvView>>;

/** Consecutive tokens of one sequence. */
export interface TokenSpan {
  readonly ids: ArrayLike<number>;
  /** Position of the first. */
  readonly position: number;
  readonly kv: KvViews;
  /** Images among the tokens, in order; each lies wholly in the prompt, and what of it is in the span is its rows to its end. */
  readonly images?: readonly SpanImage[];
}

/** Rows [row, row + count) of a span that are an image's soft tokens. They see each other. */
export interface SpanImage {
  readonly row: number;
  /** `[count][width]`; unlike embeddings of text they are not scaled. */
  readonly values: Float32Array;
}

export interface Gemma3Limits {
  /** Tokens in one pass. */
  readonly tokens: number;
  /** Rows of logits in one pass. */
  readonly logits: number;
}

/** Logits that a {@link TopRequest} can ask for, the greatest and those by id together. */
export const MOST_TOP_LOGITS = 512;

export class Gemma3 {
  readonly config: Gemma3Config;
  readonly limits: Gemma3Limits;
  /** F32 `[limits.logits][vocabulary]`, filled by {@link head}. */
  readonly logits: Activation;
  /** `[limits.logits][2 * MOST_TOP_LOGITS]`, filled by {@link topHead}. */
  readonly topLogits: Activation;
  /** F32 `[limits.tokens][heads]`: what tokens that choose among KV pages may have missed, see {@link missed}. */
  readonly #missed: Activation;
  readonly #weights: Gemma3Weights;
  readonly #backend: Backend;
  /** Index of each layer within its class. */
  readonly #indexInClass: readonly number[];
  readonly #x: Activation;
  readonly #normed: Activation;
  readonly #query: Activation;
  readonly #key: Activation;
  readonly #value: Activation;
  readonly #attended: Activation;
  readonly #projected: Activation;
  readonly #gate: Activation;
  readonly #up: Activation;
  /** Of the pass recorded last: row 0 of {@link #normed}. */
  #firstWanted = 0;

  /** Reserves scratch for `limits` on the backend that holds `weights`. */
  constructor(config: Gemma3Config, weights: Gemma3Weights, backend: Backend, limits: Gemma3Limits) {
    const { width, heads, kvHeads, headDim, feedForward, vocabulary, layers } = config;
    this.config = config;
    this.limits = limits;
    this.#weights = weights;
    this.#backend = backend;
    this.#indexInClass = layers.map((kind, i) => layers.slice(0, i).filter((k) => k === kind).length);
    const scratch = (columns: number) => backend.createActivation(limits.tokens, columns);
    this.#x = scratch(width);
    this.#normed = scratch(width);
    this.#query = scratch(heads * headDim);
    this.#key = scratch(kvHeads * headDim);
    this.#value = scratch(kvHeads * headDim);
    this.#attended = scratch(heads * headDim);
    this.#projected = scratch(width);
    this.#gate = scratch(feedForward);
    this.#up = scratch(feedForward);
    this.#missed = scratch(heads);
    this.logits = backend.createActivation(limits.logits, vocabulary);
    this.topLogits = backend.createActivation(limits.logits, 2 * MOST_TOP_LOGITS);
  }

  /** Scratch bytes that a model of this shape takes, for planning. */
  static scratchBytes(config: Gemma3Config, limits: Gemma3Limits): number {
    const { width, heads, kvHeads, headDim, feedForward, vocabulary } = config;
    const columns = 3 * width + 2 * (heads + kvHeads) * headDim + 2 * feedForward;
    return 4 * (limits.tokens * columns + limits.logits * (vocabulary + 2 * MOST_TOP_LOGITS));
  }

  /**
   * Records the layers over `span`: keys and values are written, rows from `firstWanted` on are left for {@link head}. Of
   * the others, which are only read by later tokens, the last layer computes keys and values alone.
   */
  body(pass: Pass, span: TokenSpan, firstWanted = 0): void {
    const tokens = span.ids.length;
    const wanted = tokens - firstWanted;
    if (span.kv.global.sparse !== undefined) {
      this.#backend.upload(this.#missed, new Float32Array(tokens * this.config.heads), 0);
    }
    this.#embed(pass, span);
    for (const [i, weights] of this.#weights.layers.entries()) {
      const first = i + 1 < this.#weights.layers.length ? 0 : firstWanted;
      this.#attention(pass, weights, i, span, first);
      if (first < tokens) this.#feedForward(pass, weights, first, tokens - first);
    }
    pass.discard(this.#gate);
    pass.discard(this.#up);
    this.#firstWanted = firstWanted;
    if (wanted === 0) return;
    const { outputNorm } = this.#weights;
    pass.rmsNorm(this.#normed, this.#x, outputNorm, wanted, this.config.epsilon, firstWanted);
  }

  /**
   * Records logits of `tokens` rows of the last {@link body}, from row `firstToken`, which it was told to want, into rows 0...
   * of {@link logits}.
   */
  head(pass: Pass, firstToken: number, tokens: number): void {
    const { head } = this.#weights;
    pass.matmul(this.#normed, [{ weight: head, out: this.logits }], tokens, firstToken - this.#firstWanted);
  }

  /** The same, of what `request` asks for only, into {@link topLogits}: the values are those that {@link head} gives. */
  topHead(pass: Pass, request: TopRequest, firstToken: number, tokens: number): void {
    const first = firstToken - this.#firstWanted;
    pass.topLogits(this.#normed, this.#weights.head, this.topLogits, request, tokens, first);
  }

  /** Makes {@link topHead} faster, at the price of `headShadowBytes`; passes may run meanwhile. */
  addShadow(): Promise<void> {
    return this.#backend.addShadow(this.#weights.head);
  }

  /** The largest share of a softmax that any of the first `tokens` rows of the last pass may have missed. */
  missed(tokens: number): number {
    const shares = new Float32Array(tokens * this.config.heads);
    this.#backend.readBack(this.#missed, shares, 0, tokens);
    return shares.reduce((most, share) => Math.max(most, share), 0);
  }

  dispose(): void {
    for (const activation of [
      this.#missed,
      this.#x,
      this.#normed,
      this.#query,
      this.#key,
      this.#value,
      this.#attended,
      this.#projected,
      this.#gate,
      this.#up,
      this.logits,
      this.topLogits,
    ]) {
      activation.dispose();
    }
  }

  /** Text by its ids; images from the host, into rows that no operation of the pass writes before. */
  #embed(pass: Pass, { ids, images = [] }: TokenSpan): void {
    const { width } = this.config;
    const text = (from: number, end: number) => {
      const run = Array.prototype.slice.call(ids, from, end);
      if (run.length > 0) pass.embed(this.#x, this.#weights.embedding, run, Math.sqrt(width), from);
    };
    let done = 0;
    for (const { row, values } of images) {
      text(done, row);
      this.#backend.upload(this.#x, values, row);
      done = row + values.length / width;
    }
    text(done, ids.length);
  }

  /** Keys and values of every token of the span; attention of those from row `first` on. */
  #attention(pass: Pass, weights: LayerWeights, index: number, span: TokenSpan, first: number): void {
    const { heads, kvHeads, headDim, epsilon, window, attentionScale: scale } = this.config;
    const kind = this.config.layers[index]!;
    const layer = this.#indexInClass[index]!;
    const { base, factor } = this.config.rope[kind];
    const { position } = span;
    const kv = span.kv[kind];
    const tokens = span.ids.length;
    const wanted = tokens - first;
    pass.rmsNorm(this.#normed, this.#x, weights.attentionNorm, tokens, epsilon);
    const query = { weight: weights.query, out: this.#query };
    const keyAndValue = [
      { weight: weights.key, out: this.#key },
      { weight: weights.value, out: this.#value },
    ];
    pass.matmul(this.#normed, first === 0 ? [query, ...keyAndValue] : keyAndValue, tokens);
    if (first > 0 && wanted > 0) pass.matmul(this.#normed, [query], wanted, first);
    if (wanted > 0) {
      pass.rmsNormHeads(this.#query, weights.queryNorm, wanted, heads, epsilon);
      pass.rope(this.#query, wanted, heads, headDim, position + first, base, factor);
    }
    pass.rmsNormHeads(this.#key, weights.keyNorm, tokens, kvHeads, epsilon);
    pass.rope(this.#key, tokens, kvHeads, headDim, position, base, factor);
    pass.kvWrite(kv, layer, this.#key, this.#value, position, tokens);
    if (wanted === 0) return;
    pass.attention(this.#attended, this.#query, kv, {
      layer,
      position: position + first,
      tokens: wanted,
      heads,
      window: kind === 'local' ? window : null,
      scale,
      ...(kv.sparse && { missed: this.#missed }),
      ...visibility(span, this.config.width, first),
    });
    pass.matmul(this.#attended, [{ weight: weights.attentionOutput, out: this.#projected }], wanted);
    pass.rmsNorm(this.#projected, this.#projected, weights.postAttentionNorm, wanted, epsilon);
    pass.add(this.#x, this.#projected, wanted, first);
  }

  /** Of rows [first, first + tokens). */
  #feedForward(pass: Pass, weights: LayerWeights, first: number, tokens: number): void {
    const { epsilon } = this.config;
    pass.rmsNorm(this.#normed, this.#x, weights.feedForwardNorm, tokens, epsilon, first);
    pass.matmul(
      this.#normed,
      [
        { weight: weights.gate, out: this.#gate },
        { weight: weights.up, out: this.#up },
      ],
      tokens,
    );
    pass.geluMul(this.#gate, this.#gate, this.#up, tokens);
    pass.matmul(this.#gate, [{ weight: weights.down, out: this.#projected }], tokens);
    pass.rmsNorm(this.#projected, this.#projected, weights.postFeedForwardNorm, tokens, epsilon);
    pass.add(this.#x, this.#projected, tokens, first);
  }
}

/** Of rows from `first` on: those of an image see to its end; where there is none, nobody sees ahead. */
function visibility(
  { ids, position, images = [] }: TokenSpan,
  width: number,
  first: number,
): { readonly visibleUntil?: Int32Array } {
  if (images.length === 0) return {};
  const visibleUntil = Int32Array.from({ length: ids.length }, (_, i) => position + i + 1);
  for (const { row, values } of images) {
    const end = row + values.length / width;
    visibleUntil.fill(position + end, row, end);
  }
  return { visibleUntil: visibleUntil.subarray(first) };
}
