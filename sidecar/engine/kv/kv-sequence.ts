/** Keys and values of one running sequence, growing at its end. */
import { type ColdKvView, coldPages, PAGE_POSITIONS } from '../backend/backend.ts';
import {
  exactPages,
  firstHotPage,
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

/** Local pages, global F16 pages, and global pages in compressed form where the layout has them. */
export interface Pools extends PerClass<PagePool> {
  readonly cold: PagePool | null;
}

/**
 * Pages of one sequence. Global ones come in up to three runs: `exact`, the first pages where those stay F16; behind them
 * `cold`, compressed ones; and `global`, from the first page on that is still read as F16.
 */
export interface Runs extends PerClass<PageRun> {
  readonly exact: PageRun;
  readonly cold: PageRun | null;
}

export type RunKind = LayerClass | 'exact' | 'cold';
export type PoolKind = keyof Pools;

export function releaseRuns({ local, exact, global, cold }: Runs): void {
  for (const run of [local, exact, global, cold]) run?.release();
}

/** Gives a free page, evicting kept states as long as `isNeeded`; null if it no longer is. Throws KvFull. */
export type TakePage = (kind: PoolKind, isNeeded: () => boolean) => number | null;

export class KvSequence {
  readonly #layout: KvLayout;
  readonly #pools: Pools;
  readonly #take: TakePage;
  #runs: Runs;
  #ids = new Uint32Array(256);
  #length = 0;
  /** Global pages whose keys have bounds, where tokens choose. */
  #bounded = 0;
  /** The ring never changes its length, so that a position keeps its place. */
  readonly #ring: Int32Array;
  #table = new Int32Array(16);
  #coldTable = new Int32Array(16);

  constructor(layout: KvLayout, pools: Pools, take: TakePage) {
    this.#layout = layout;
    this.#pools = pools;
    this.#take = take;
    this.#runs = {
      local: new PageRun(pools.local),
      exact: new PageRun(pools.global),
      global: new PageRun(pools.global, exactPages(layout)),
      cold: pools.cold && new PageRun(pools.cold, exactPages(layout)),
    };
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
  get runs(): Runs {
    return this.#runs;
  }

  /** Takes over pages that hold `ids`; only at the beginning. */
  resume(ids: Uint32Array, runs: Runs): void {
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
    const { local, exact, global } = this.#runs;
    const first = Math.floor(this.#length / PAGE_POSITIONS);
    const end = pagesFor(this.#length + tokens);
    local.dropBefore(firstLocalPage(this.#layout, this.#length));
    // First, as it makes room.
    const cold = this.#compress(tokens);
    local.makeWritable(first, end, (isNeeded) => this.#take('local', isNeeded));
    const takeGlobal = (isNeeded: () => boolean) => this.#take('global', isNeeded);
    exact.makeWritable(first, Math.min(end, exactPages(this.#layout)), takeGlobal);
    global.makeWritable(first, end, takeGlobal);
    // A longer pass whose last tokens were not committed has left pages behind the present end.
    const tableEnd = Math.max(end, exact.end, global.pages.length > 0 ? global.end : 0);
    if (tableEnd > this.#table.length) this.#table = new Int32Array(2 * tableEnd);
    const table = this.#table.subarray(0, tableEnd);
    local.fillTable(this.#ring);
    exact.fillTable(table);
    global.fillTable(table);
    this.#bound(tokens);
    const { sparse } = this.#layout;
    return {
      local: { arena: this.#pools.local.arena, pageTable: this.#ring },
      global: {
        arena: this.#pools.global.arena,
        pageTable: table,
        ...(cold && { cold }),
        ...(sparse && { sparse }),
      },
    };
  }

  /**
   * Rounds the pages that turn cold for any of the next tokens. Their F16 form stays until every token to come reads them
   * cold: a pass may be cancelled, a draft rolled back.
   */
  #compress(tokens: number): ColdKvView | null {
    const { global, cold } = this.#runs;
    if (cold === null || this.#layout.cold === undefined) return null;
    const { arena } = this.#pools.cold!;
    const firstHot = firstHotPage(this.#layout, this.#length);
    global.dropBefore(Math.min(firstHot, cold.end));
    for (let end = firstHotPage(this.#layout, this.#length + tokens - 1); cold.end < end; ) {
      const page = cold.end;
      cold.makeWritable(page, page + 1, (isNeeded) => this.#take('cold', isNeeded));
      arena.compressPage(this.#pools.global.arena, global.pages[page - global.first]!, cold.pages.at(-1)!);
    }
    global.dropBefore(firstHot);
    const tableEnd = cold.pages.length > 0 ? cold.end : 0;
    if (tableEnd > this.#coldTable.length) this.#coldTable = new Int32Array(2 * tableEnd);
    const pageTable = this.#coldTable.subarray(0, tableEnd);
    cold.fillTable(pageTable);
    const { hotPages, exactPages: firstPage } = this.#layout.cold;
    return { arena, pageTable, hotPages, firstPage };
  }

  /** Bounds the keys of the pages that any of the next tokens chooses among. */
  #bound(tokens: number): void {
    const { sparse } = this.#layout;
    if (sparse === undefined) return;
    const end = coldPages(sparse.recentPages, this.#length + tokens - 1);
    const run = this.#runs.cold ?? this.#runs.global;
    const pool = this.#pools.cold ?? this.#pools.global;
    for (; this.#bounded < end; this.#bounded++) pool.bound(run.pages[this.#bounded - run.first]!);
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
    releaseRuns(this.#runs);
  }
}
