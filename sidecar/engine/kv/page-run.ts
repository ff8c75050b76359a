/** Consecutive pages of a sequence in one class of layers: page `i` holds positions [64 i, 64 i + 64). */
import type { PagePool } from './page-pool.ts';

export class PageRun {
  readonly #pool: PagePool;
  #first: number;
  readonly #pages: number[] = [];

  constructor(pool: PagePool, first = 0) {
    this.#pool = pool;
    this.#first = first;
  }

  /** Index of the first page; what came before has been let go. */
  get first(): number {
    return this.#first;
  }
  /** One past the last page. */
  get end(): number {
    return this.#first + this.#pages.length;
  }

  get pages(): readonly number[] {
    return this.#pages;
  }

  /** A run of the same pages [first, end), shared. */
  slice(first: number, end: number): PageRun {
    const run = new PageRun(this.#pool, first);
    for (let i = first; i < end; i++) run.#pages.push(this.#pool.share(this.#pages[i - this.#first]!));
    return run;
  }

  /** Lets go of the pages before `first`. */
  dropBefore(first: number): void {
    const dropped = this.#pages.splice(0, Math.max(0, first - this.#first));
    for (const page of dropped) this.#pool.release(page);
    if (this.#pages.length === 0) this.#first = Math.max(this.#first, first);
    else this.#first += dropped.length;
  }

  /**
   * Makes pages [first, end) writable: shared ones are copied, missing ones added at the end. `take` gives a page, null if
   * making room has ended the need for one, or throws; the run stays consistent if it does.
   */
  makeWritable(first: number, end: number, take: (isNeeded: () => boolean) => number | null): void {
    for (let i = Math.max(first, this.#first); i < end; i++) {
      const page = this.#pages[i - this.#first];
      const isNeeded = () => page === undefined || this.#pool.isShared(page);
      if (!isNeeded()) continue;
      const own = take(isNeeded);
      if (own === null) continue;
      if (page !== undefined) {
        this.#pool.arena.copyPage(page, own);
        this.#pool.release(page);
      }
      this.#pages[i - this.#first] = own;
    }
  }

  /** Writes the pages into a table that wraps at its length. */
  fillTable(table: Int32Array): void {
    for (const [i, page] of this.#pages.entries()) table[(this.#first + i) % table.length] = page;
  }

  release(): void {
    for (const page of this.#pages.splice(0)) this.#pool.release(page);
  }
}
