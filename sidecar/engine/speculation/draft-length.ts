/**
 * How many tokens to draft: as many as make the expected time per token least, given how often drafts like this one were
 * right so far and what a pass over several tokens costs.
 */

/** What a pass over `tokens` tokens costs, relative to one over a single token. */
export type PassCost = (tokens: number) => number;

/**
 * Weights are read once for up to eight tokens, so a few more cost little until arithmetic outweighs memory; beyond eight the
 * kernels for prompts take over, which pay only with many more. Measured on the 1B and 4B shapes, Q4_0, two cores, memory of
 * 55 GB/s: the two differ by 0.06 at most up to eight (`node bench/speculation.ts 1b 4b --costs` asks again).
 */
const MEASURED_COST: readonly (readonly [tokens: number, cost: number])[] = [
  [1, 1],
  [2, 1.12],
  [3, 1.27],
  [4, 1.42],
  [6, 1.83],
  [8, 2.23],
  [9, 3.25],
  [16, 5.1],
];

export function passCost(tokens: number): number {
  const above = MEASURED_COST.findIndex(([count]) => count >= tokens);
  if (above === -1) {
    const [count, cost] = MEASURED_COST.at(-1)!;
    return (cost * tokens) / count;
  }
  const [high, highCost] = MEASURED_COST[above]!;
  if (high === tokens) return highCost;
  const [low, lowCost] = MEASURED_COST[above - 1]!;
  return lowCost + ((highCost - lowCost) * (tokens - low)) / (high - low);
}

/** Drafts of a longer match are judged together. */
const LONGEST_MATCH = 32;
/** Chance that the next token of a draft is right, before anything is known: by match length 1, 2-3, 4-7, 8-15, 16-31, 32+. */
const FIRST_GUESS: readonly number[] = [0.2, 0.4, 0.6, 0.8, 0.9, 0.95];
/** How many observations the first guess counts for, and after how many old ones are half forgotten. */
const GUESS_WEIGHT = 4;
const FORGET = 0.97;

/** Learns how far drafts can be trusted. `kinds` separates sources of drafts that are judged apart. */
export class DraftLength {
  readonly #right: Float64Array[];
  readonly #seen: Float64Array[];
  readonly #cost: PassCost;

  constructor(kinds: number, cost: PassCost = passCost) {
    this.#cost = cost;
    this.#right = Array.from({ length: kinds }, () =>
      Float64Array.from(FIRST_GUESS, (p) => p * GUESS_WEIGHT),
    );
    this.#seen = Array.from({ length: kinds }, () => new Float64Array(FIRST_GUESS.length).fill(GUESS_WEIGHT));
  }

  /** Chance that a token drafted behind a match of `matched` tokens is right. */
  chance(kind: number, matched: number): number {
    const bucket = bucketOf(matched);
    return this.#right[kind]![bucket]! / this.#seen[kind]![bucket]!;
  }

  /** Tokens to draft, at most `most`; 0 where plain decoding is as fast. */
  best(kind: number, matched: number, most: number): number {
    let length = 0;
    let leastTime = this.#cost(1);
    let expected = 1;
    let allRight = 1;
    for (let count = 1; count <= most; count++) {
      // Each token that proves right makes the match longer, and the next one surer.
      allRight *= this.chance(kind, matched + count - 1);
      expected += allRight;
      const time = this.#cost(count + 1) / expected;
      if (time < leastTime) {
        leastTime = time;
        length = count;
      }
    }
    return length;
  }

  /** Of `drafted` tokens behind a match of `matched`, the first `accepted` were right. */
  learn(kind: number, matched: number, drafted: number, accepted: number): void {
    // What came after the first wrong token says nothing.
    for (let i = 0; i < Math.min(drafted, accepted + 1); i++) {
      const bucket = bucketOf(matched + i);
      const right = this.#right[kind]!;
      const seen = this.#seen[kind]!;
      right[bucket] = right[bucket]! * FORGET + (i < accepted ? 1 : 0);
      seen[bucket] = seen[bucket]! * FORGET + 1;
    }
  }
}

function bucketOf(matched: number): number {
  return Math.floor(Math.log2(Math.max(1, Math.min(matched, LONGEST_MATCH))));
}
