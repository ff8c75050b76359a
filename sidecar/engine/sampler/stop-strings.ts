/** Ends a stream of text at the first of several strings, holding back what could become the beginning of one. */

export interface StoppedText {
  /** Text that is certain to belong to the answer. */
  readonly text: string;
  /** Whether a stop string was reached; it is not part of `text`, and nothing may be pushed any more. */
  readonly stopped: boolean;
}

export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';

  /** Empty strings are ignored. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
  }

  push(text: string): StoppedText {
    const pending = this.#held + text;
    const ends = this.#stops.map((stop) => pending.indexOf(stop)).filter((at) => at >= 0);
    if (ends.length > 0) {
      this.#held = '';
      return { text: pending.slice(0, Math.min(...ends)), stopped: true };
    }
    const certain = pending.length - this.#undecided(pending);
    this.#held = pending.slice(certain);
    return { text: pending.slice(0, certain), stopped: false };
  }

  /** The stream has ended: what was held back. */
  end(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #undecided(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
