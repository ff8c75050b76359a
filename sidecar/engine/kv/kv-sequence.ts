/** Keys and values of one running sequence, growing at its end. */
import { PAGE_POSITIONS } from '../backend/backend.ts';
import {
  firstLocalPage,
  type KvLayout,
  type KvViews,
  type LayerClass,
  type PerClass,
  pagesFor,
  ringPages,
} from './layout.ts';
import type { PagePool } from './page-pool.ts';
import { PageRun } from './page-run.ts';

/** Gives a free page, evicting kept states as long as `isNeeded`; null if it no longer is. Throws KvFull. */
export type TakePage = (kind: LayerClass, isNeeded: () => boolean) => number | null;

export class KvSequence {
  readonly #layout: KvLayout;
  readonly #pools: PerClass<PagePool>;
  readonly #take: TakePage;
  #runs: PerClass<PageRun>;
  #ids = new Uint32Array(256);
  #length = 0;
  /** The ring never changes its length, so that a position keeps its place. */
  readonly #ring: Int32Array;
  #table = new Int32Array(16);

  constructor(layout: KvLayout, pools: PerClass<PagePool>, take: TakePage) {
    this.#layout = layout;
    this.#pools = pools;
    this.#take = take;
    this.#runs = { local: new PageRun(pools.local), global: new PageRun(pools.global) };
    this.#ring = new Int32Array(ringPages(layout));
  }

  /** Tokens whose keys and values are complete. */
  get length(): number {
    return this.#length;
  }
  /** Those tokens. Stays valid, and unchanged, while the sequence goes on. */
  get ids(): Uint32Array {
    return this.#ids.subarray(0, this.#length);
  }
  get runs(): PerClass<PageRun> {
    return this.#runs;
  }

  /** Takes over pages that hold `ids`; only at the beginning. */
  resume(ids: Uint32Array, runs: PerClass<PageRun>): void {
    if (this.#length > 0) throw new RangeError('A sequence resumes only at its beginning.');
    this.#runs = runs;
    this.commit(ids);
  }

  /**
   * Room for `tokens` more, and the views through which a pass writes and reads them. Throws KvFull.
   * What local layers no longer need is let go; pages that others share are copied before they are written.
   */
  prepare(tokens: number): KvViews {
    if (tokens < 1 || tokens > this.#layout.chunk) {
      throw new RangeError(`A pass has 1 to ${this.#layout.chunk} tokens, not ${tokens}.`);
    }
    const { local, global } = this.#runs;
    const first = Math.floor(this.#length / PAGE_POSITIONS);
    const end = pagesFor(this.#length + tokens);
    local.dropBefore(firstLocalPage(this.#layout, this.#length));
    local.makeWritable(first, end, (isNeeded) => this.#take('local', isNeeded));
    global.makeWritable(first, end, (isNeeded) => this.#take('global', isNeeded));
    // A longer pass whose last tokens were not committed has left pages behind the present end.
    const tableEnd = Math.max(end, global.end);
    if (tableEnd > this.#table.length) this.#table = new Int32Array(2 * tableEnd);
    const table = this.#table.subarray(0, tableEnd);
    local.fillTable(this.#ring);
    global.fillTable(table);
    return {
      local: { arena: this.#pools.local.arena, pageTable: this.#ring },
      global: { arena: this.#pools.global.arena, pageTable: table },
    };
  }

  /** The pass over `ids` has completed. */
  commit(ids: ArrayLike<number>): void {
    const length = this.#length + ids.length;
    if (length > this.#ids.length) {
      // Kept states hold on to the old array, whose entries never change.
      const grown = new Uint32Array(2 * length);
      grown.set(this.#ids.subarray(0, this.#length));
      this.#ids = grown;
    }
    this.#ids.set(ids, this.#length);
    this.#length = length;
  }

  release(): void {
    this.#runs.local.release();
    this.#runs.global.release();
  }
}
