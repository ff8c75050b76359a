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
    this.logits = backend.createActivation(limits.logits, vocabulary);
    this.topLogits = backend.createActivation(limits.logits, 2 * MOST_TOP_LOGITS);
  }

  /** Scratch bytes that a model of this shape takes, for planning. */
  static scratchBytes(config: Gemma3Config, limits: Gemma3Limits): number {
    const { width, heads, kvHeads, headDim, feedForward, vocabulary } = config;
    const columns = 3 * width + 2 * (heads + kvHeads) * headDim + 2 * feedForward;
    return 4 * (limits.tokens * columns + limits.logits * (vocabulary + 2 * MOST_TOP_LOGITS));
  }

  /** Records the layers over `span`: keys and values are written, the residual stream is left for {@link head}. */
  body(pass: Pass, span: TokenSpan): void {
    const tokens = span.ids.length;
    this.#embed(pass, span);
    for (const [i, weights] of this.#weights.layers.entries()) {
      this.#attention(pass, weights, i, span, tokens);
      this.#feedForward(pass, weights, tokens);
    }
    pass.rmsNorm(this.#normed, this.#x, this.#weights.outputNorm, tokens, this.config.epsilon);
  }

  /** Records logits of `tokens` rows of the last {@link body}, from row `firstToken`, into rows 0... of {@link logits}. */
  head(pass: Pass, firstToken: number, tokens: number): void {
    pass.matmul(this.#normed, [{ weight: this.#weights.head, out: this.logits }], tokens, firstToken);
  }

  /** The same, of what `request` asks for only, into {@link topLogits}: the values are those that {@link head} gives. */
  topHead(pass: Pass, request: TopRequest, firstToken: number, tokens: number): void {
    pass.topLogits(this.#normed, this.#weights.head, this.topLogits, request, tokens, firstToken);
  }

  /** Makes {@link topHead} faster, at the price of `headShadowBytes`; passes may run meanwhile. */
  addShadow(): Promise<void> {
    return this.#backend.addShadow(this.#weights.head);
  }

  dispose(): void {
    for (const activation of [
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

  #attention(pass: Pass, weights: LayerWeights, index: number, span: TokenSpan, tokens: number): void {
    const { heads, kvHeads, headDim, epsilon, window, attentionScale: scale } = this.config;
    const kind = this.config.layers[index]!;
    const layer = this.#indexInClass[index]!;
    const { base, factor } = this.config.rope[kind];
    const { position } = span;
    const kv = span.kv[kind];
    pass.rmsNorm(this.#normed, this.#x, weights.attentionNorm, tokens, epsilon);
    pass.matmul(
      this.#normed,
      [
        { weight: weights.query, out: this.#query },
        { weight: weights.key, out: this.#key },
        { weight: weights.value, out: this.#value },
      ],
      tokens,
    );
    pass.rmsNormHeads(this.#query, weights.queryNorm, tokens, heads, epsilon);
    pass.rmsNormHeads(this.#key, weights.keyNorm, tokens, kvHeads, epsilon);
    pass.rope(this.#query, tokens, heads, headDim, position, base, factor);
    pass.rope(this.#key, tokens, kvHeads, headDim, position, base, factor);
    pass.kvWrite(kv, layer, this.#key, this.#value, position, tokens);
    pass.attention(this.#attended, this.#query, kv, {
      layer,
      position,
      tokens,
      heads,
      window: kind === 'local' ? window : null,
      scale,
      ...visibility(span, this.config.width),
    });
    pass.matmul(this.#attended, [{ weight: weights.attentionOutput, out: this.#projected }], tokens);
    pass.rmsNorm(this.#projected, this.#projected, weights.postAttentionNorm, tokens, epsilon);
    pass.add(this.#x, this.#projected, tokens);
  }

  #feedForward(pass: Pass, weights: LayerWeights, tokens: number): void {
    const { epsilon } = this.config;
    pass.rmsNorm(this.#normed, this.#x, weights.feedForwardNorm, tokens, epsilon);
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
    pass.add(this.#x, this.#projected, tokens);
  }
}

/** Rows of an image see to its end; where there is none, nobody sees ahead. */
function visibility(
  { ids, position, images = [] }: TokenSpan,
  width: number,
): { readonly visibleUntil?: Int32Array } {
  if (images.length === 0) return {};
  const visibleUntil = Int32Array.from({ length: ids.length }, (_, i) => position + i + 1);
  for (const { row, values } of images) {
    const end = row + values.length / width;
    visibleUntil.fill(position + end, row, end);
  }
  return { visibleUntil };
}
