/** How often the sidecar may crash before it stays down, and how long to wait before each new start. */

const MAX_CRASHES = 5;
const WINDOW_MS = 3 * 60_000;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;

export class CrashBudget {
  #crashes: number[] = [];

  /**
   * Records a crash at `now` (ms). Returns the delay in ms before the next start, or null when the budget is spent:
   * five crashes in three minutes.
   */
  crashed(now: number): number | null {
    this.#crashes = [...this.#crashes.filter((time) => now - time < WINDOW_MS), now];
    if (this.#crashes.length >= MAX_CRASHES) return null;
    return Math.min(FIRST_DELAY_MS * 2 ** (this.#crashes.length - 1), LONGEST_DELAY_MS);
  }

  /** A person asked for a restart: earlier crashes no longer count. */
  reset(): void {
    this.#crashes = [];
  }
}
