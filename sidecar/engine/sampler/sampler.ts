/**
 * Chooses the next token. Order of steps: repetition penalty, temperature, top-k, top-p, min-p, draw; the same seed and
 * logits give the same tokens.
 */
import type { TopRequest } from '../backend/backend.ts';
import { Random } from './random.ts';
import { type TopLogits, topLogits } from './top-k.ts';

export interface SamplingParameters {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 is no limit. */
  readonly topK: number;
  /** 1 is no limit. */
  readonly topP: number;
  /** Least probability relative to the most likely token; 0 is no limit. */
  readonly minP: number;
  /** Divides positive logits of recent tokens, multiplies negative ones (arXiv 1909.05858); 1 is none. */
  readonly repetitionPenalty: number;
  readonly seed: number;
}

/** Gemma's own recommendation, without a seed. */
export const GEMMA_SAMPLING: Omit<SamplingParameters, 'seed'> = {
  temperature: 1,
  topK: 64,
  topP: 0.95,
  minP: 0,
  repetitionPenalty: 1,
};

/** Tokens that the repetition penalty looks back on. */
export const PENALTY_SPAN = 64;

/** Without top-k, this many candidates are tried before more are sorted. */
const FIRST_CANDIDATES = 1024;

/**
 * Every logit, or those of a {@link TopRequest}: the greatest, greatest first and equal ones by id, then others in any order.
 */
export type Logits = Float32Array | TopLogits;

/** The model computed NaN or an infinity: damaged weights, or a fault of a kernel. */
export class NonFiniteLogits extends Error {
  override readonly name = 'NonFiniteLogits';
  constructor(id: number) {
    super(
      `The model produced a value that is no number (logit of token ${id}). The model file is probably damaged; download or copy it again.`,
    );
  }
}

export class Sampler {
  readonly #parameters: SamplingParameters;
  readonly #random: Random;

  /** @throws RangeError that names the parameter. */
  constructor(parameters: SamplingParameters) {
    check(parameters);
    this.#parameters = parameters;
    this.#random = new Random(parameters.seed);
  }

  /**
   * Which logits {@link next} needs to choose as it would from all of them; null if it needs all. `recent` holds at least the
   * tokens that will be recent then; there are `vocabulary` tokens.
   */
  request(recent: Uint32Array, vocabulary: number): TopRequest | null {
    const { temperature, topK, repetitionPenalty } = this.#parameters;
    if (temperature !== 0 && topK === 0) return null;
    const also = repetitionPenalty === 1 ? [] : [...new Set(recent)].filter((id) => id < vocabulary);
    // Each token with a penalty may fall behind one that was weaker.
    return { count: Math.min((temperature === 0 ? 1 : topK) + also.length, vocabulary), also };
  }

  /**
   * The next token after `recent`, whose end is the newest. `logits` may be changed.
   * @throws NonFiniteLogits
   */
  next(logits: Logits, recent: Uint32Array): number {
    const { temperature, repetitionPenalty, topK } = this.#parameters;
    const penalised = new Set(repetitionPenalty === 1 ? [] : recent.subarray(-PENALTY_SPAN));
    if (!(logits instanceof Float32Array)) {
      checkFinite(logits.values, logits.ids);
      const { ids, values } = penalisedTop(logits, penalised, repetitionPenalty);
      return temperature === 0 ? ids[0]! : this.#drawTop({ ids, values: values.subarray(0, topK) });
    }
    checkFinite(logits);
    penalise(logits, penalised, repetitionPenalty);
    if (temperature === 0) return largest(logits);
    if (topK > 0) return this.#drawTop(topLogits(logits, topK));
    return this.#drawFromAll(logits);
  }

  /** Probabilities are relative to these candidates. */
  #drawTop({ ids, values }: TopLogits): number {
    const weights = this.#weights(values);
    const nucleus = nucleusSize(weights, this.#parameters.topP * sum(weights)) ?? weights.length;
    return ids[this.#choose(weights.subarray(0, this.#above(weights, nucleus)))]!;
  }

  /** Probabilities are relative to the whole vocabulary. */
  #drawFromAll(logits: Float32Array): number {
    for (
      let count = Math.min(FIRST_CANDIDATES, logits.length);
      ;
      count = Math.min(8 * count, logits.length)
    ) {
      const { ids, values } = topLogits(logits, count);
      const weights = this.#weights(values);
      const nucleus = nucleusSize(weights, this.#parameters.topP * this.#totalWeight(logits, values[0]!));
      if (nucleus !== null || count === logits.length) {
        return ids[this.#choose(weights.subarray(0, this.#above(weights, nucleus ?? count)))]!;
      }
    }
  }

  /** Unnormalised probabilities; the largest is 1. */
  #weights(values: Float32Array): Float64Array {
    return Float64Array.from(values, (v) => Math.exp((v - values[0]!) / this.#parameters.temperature));
  }

  #totalWeight(logits: Float32Array, most: number): number {
    let total = 0;
    for (let i = 0; i < logits.length; i++) {
      total += Math.exp((logits[i]! - most) / this.#parameters.temperature);
    }
    return total;
  }

  /** How many of the first `count` weights reach min-p. */
  #above(weights: Float64Array, count: number): number {
    let above = 1;
    while (above < count && weights[above]! >= this.#parameters.minP) above++;
    return above;
  }

  #choose(weights: Float64Array): number {
    let rest = this.#random.next() * sum(weights);
    for (let i = 0; i < weights.length - 1; i++) {
      rest -= weights[i]!;
      if (rest < 0) return i;
    }
    return weights.length - 1;
  }
}

/** The fewest leading weights that sum to `target`, or null if all together do not. */
function nucleusSize(weights: Float64Array, target: number): number | null {
  let reached = 0;
  for (let i = 0; i < weights.length; i++) {
    reached += weights[i]!;
    if (reached >= target) return i + 1;
  }
  return null;
}

function sum(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0);
}

function checkFinite(logits: Float32Array, ids?: Uint32Array): void {
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i]!;
    // Zero for every finite number, NaN otherwise.
    if (value - value !== 0) throw new NonFiniteLogits(ids?.[i] ?? i);
  }
}

function largest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

function penalise(logits: Float32Array, ids: Iterable<number>, penalty: number): void {
  for (const id of ids) {
    const value = logits[id];
    if (value !== undefined) logits[id] = withPenalty(value, penalty);
  }
}

function withPenalty(value: number, penalty: number): number {
  return value > 0 ? value / penalty : value * penalty;
}

/** Each id once, in the order that the penalty leaves. */
function penalisedTop(
  { ids, values }: TopLogits,
  penalised: ReadonlySet<number>,
  penalty: number,
): TopLogits {
  if (penalised.size === 0) return { ids, values };
  const logits = new Map<number, number>();
  for (const [i, id] of ids.entries()) {
    const value = values[i]!;
    logits.set(id, penalised.has(id) ? Math.fround(withPenalty(value, penalty)) : value);
  }
  const order = [...logits].sort(([a, x], [b, y]) => y - x || a - b);
  return {
    ids: Uint32Array.from(order, ([id]) => id),
    values: Float32Array.from(order, ([, value]) => value),
  };
}

function check(parameters: SamplingParameters): void {
  const limits: readonly (readonly [keyof SamplingParameters, number, number])[] = [
    ['temperature', 0, 100],
    ['topK', 0, Number.MAX_SAFE_INTEGER],
    ['topP', 0, 1],
    ['minP', 0, 1],
    ['repetitionPenalty', 0.01, 100],
    ['seed', 0, Number.MAX_SAFE_INTEGER],
  ];
  for (const [name, least, most] of limits) {
    const value = parameters[name];
    const whole = name === 'topK' || name === 'seed';
    if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
      throw new RangeError(
        `Sampling: ${name} is ${value}; it must be ${whole ? 'a whole number ' : ''}from ${least} to ${most}.`,
      );
    }
  }
}
