/**
 * Notices an answer that goes round in circles. Small models, and large ones decoded greedily, sometimes fall into a loop
 * that has no end of its own and would fill the whole context with it.
 */

/** Longest loop that is looked for, in tokens. */
const LONGEST_PERIOD = 64;
/** A loop counts once it has run for this many tokens and this many rounds: longer than any table or list of zeros worth reading. */
const LEAST_TOKENS = 96;
const LEAST_ROUNDS = 4;

export class RepetitionWatch {
  readonly #ids: number[] = [];
  /** For each period: how many of the latest tokens equal the one a period earlier. */
  readonly #runs = new Uint32Array(LONGEST_PERIOD + 1);

  /** True once the answer has been repeating itself for too long. */
  push(id: number): boolean {
    const ids = this.#ids;
    ids.push(id);
    let looping = false;
    for (let period = 1; period <= LONGEST_PERIOD; period++) {
      const run = ids[ids.length - 1 - period] === id ? this.#runs[period]! + 1 : 0;
      this.#runs[period] = run;
      if (run >= Math.max(LEAST_TOKENS, LEAST_ROUNDS * period)) looping = true;
    }
    return looping;
  }
}
