/** How long reading the rest of a prompt will take, from the speed of this very reading once it is known. */

/** Shorter observations swing too much to show. */
const MEASURE_MS = 500;

export class TimeLeft {
  private readonly usualSpeed: number | undefined;
  private measured: number | undefined;
  private start: { readonly done: number; readonly time: number } | null = null;

  /** `usualSpeed` in tokens per second, from earlier runs, serves until this run has its own. */
  constructor(usualSpeed: number | undefined) {
    this.usualSpeed = usualSpeed;
  }

  /** Seconds, or undefined while nothing is known; `now` in milliseconds. */
  after(done: number, total: number, cached: number, now: number): number | undefined {
    this.start ??= { done: Math.max(done, cached), time: now };
    const elapsed = now - this.start.time;
    const read = done - this.start.done;
    if (elapsed >= MEASURE_MS && read > 0) this.measured = (1000 * read) / elapsed;
    return this.speed === undefined ? undefined : Math.max(0, total - done) / this.speed;
  }

  /** Tokens per second: of this reading, or the usual ones; undefined while nothing is known. */
  get speed(): number | undefined {
    return this.measured ?? this.usualSpeed;
  }
}
