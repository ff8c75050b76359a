/**
 * Notices text that goes round in circles. Small models, and large ones decoded greedily, sometimes fall into a loop
 * that has no end of its own and would fill the whole context with it.
 */

/** Longest loop that is looked for, in tokens. */
const LONGEST_PERIOD = 64;
/** Longer than any table or list of zeros in an answer that is worth reading. */
const LEAST_TOKENS = 96;
const LEAST_ROUNDS = 4;

export class RepetitionWatch {
  readonly #leastTokens: number;
  readonly #ids: number[] = [];
  /** For each period: how many of the latest tokens equal the one a period earlier. */
  readonly #runs = new Uint32Array(LONGEST_PERIOD + 1);

  /** A loop counts once it has run for `leastTokens` tokens and four rounds. */
  constructor(leastTokens = LEAST_TOKENS) {
    this.#leastTokens = leastTokens;
  }

  /** True once the text has been repeating itself for too long. */
  push(id: number): boolean {
    const ids = this.#ids;
    ids.push(id);
    let looping = false;
    for (let period = 1; period <= LONGEST_PERIOD; period++) {
      const run = ids[ids.length - 1 - period] === id ? this.#runs[period]! + 1 : 0;
      this.#runs[period] = run;
      if (run >= Math.max(this.#leastTokens, LEAST_ROUNDS * period)) looping = true;
    }
    return looping;
  }
}
