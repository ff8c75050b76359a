/**
 * The KV cache of one model: pages of both layer classes, running sequences, and kept states that later prompts resume
 * from or branch off. A kept state shares pages with whoever else needs them; its local layers hold one window, which
 * is what lets a prompt branch in the middle of a conversation although windows have moved on.
 */
import { type Backend, OutOfMemory } from '../backend/backend.ts';
import { KvSequence } from './kv-sequence.ts';
import { firstLocalPage, type KvLayout, type LayerClass, type PerClass, pagesFor } from './layout.ts';
import { PagePool } from './page-pool.ts';
import type { PageRun } from './page-run.ts';
import { findLongestPrefix, type Resumable } from './prefix-index.ts';

/**
 * How long a kept state is worth keeping: 'passing' ones (the end of a completion that the next keystroke
 * replaces) make room first, then those used longest ago.
 */
export type KeepRank = 'passing' | 'lasting';

class KeptState implements Resumable {
  readonly ids: Uint32Array;
  readonly runs: PerClass<PageRun>;
  rank: KeepRank;
  lastUsed: number;

  constructor(ids: Uint32Array, runs: PerClass<PageRun>, rank: KeepRank, now: number) {
    this.ids = ids;
    this.runs = runs;
    this.rank = rank;
    this.lastUsed = now;
  }

  get firstLocalPage(): number {
    return this.runs.local.first;
  }
}

/** Beyond this many states, comparing a prompt with each would begin to cost. */
const KEPT_LIMIT = 64;

export class KvCache {
  readonly layout: KvLayout;
  readonly #pools: PerClass<PagePool>;
  readonly #kept = new Set<KeptState>();
  /** Counts uses, for "longest ago". */
  #clock = 0;

  /** Reserves `pages` on the backend. Throws OutOfMemory if the system refuses. */
  constructor(backend: Backend, layout: KvLayout, pages: PerClass<number>) {
    this.layout = layout;
    const pool = (kind: LayerClass) => new PagePool(backend.createKvArena(layout.shapes[kind], pages[kind]));
    this.#pools = { local: pool('local'), global: pool('global') };
  }

  /** Bytes of all pages, and of those in use by sequences and kept states. */
  memory(): { readonly reserved: number; readonly used: number } {
    let reserved = 0;
    let used = 0;
    for (const { arena, inUse } of Object.values(this.#pools)) {
      reserved += arena.pages * arena.pageBytes;
      used += inUse * arena.pageBytes;
    }
    return { reserved, used };
  }

  /** A sequence that holds as much of `prompt` as is in the cache, at most `most` tokens. */
  begin(prompt: Uint32Array, most: number): KvSequence {
    const match = findLongestPrefix(this.#kept, prompt, most, this.layout.window);
    const sequence = new KvSequence(this.layout, this.#pools, (kind, isNeeded) => this.#take(kind, isNeeded));
    if (match !== null) {
      match.state.lastUsed = ++this.#clock;
      sequence.resume(
        match.state.ids.subarray(0, match.length),
        this.#runsAt(match.state.runs, match.length),
      );
    }
    return sequence;
  }

  /** Keeps the state at the sequence's present length for later prompts. */
  keep(sequence: KvSequence, rank: KeepRank): void {
    const { ids, runs } = sequence;
    if (ids.length === 0) return;
    const now = ++this.#clock;
    for (const state of this.#kept) {
      if (state.ids.length === ids.length && state.ids.every((id, i) => id === ids[i])) {
        state.lastUsed = now;
        if (rank === 'lasting') state.rank = rank;
        return;
      }
    }
    this.#kept.add(new KeptState(ids, this.#runsAt(runs, ids.length), rank, now));
    if (this.#kept.size > KEPT_LIMIT) this.#evictOne();
  }

  /** Forgets every kept state; running sequences go on. */
  clear(): void {
    while (this.#evictOne());
  }

  dispose(): void {
    this.clear();
    this.#pools.local.arena.dispose();
    this.#pools.global.arena.dispose();
  }

  /** Shares what is needed to go on at `length`, or one token before it (the same prompt again). */
  #runsAt(runs: PerClass<PageRun>, length: number): PerClass<PageRun> {
    const end = pagesFor(length);
    const firstLocal = Math.max(runs.local.first, firstLocalPage(this.layout, length - 1));
    return { global: runs.global.slice(0, end), local: runs.local.slice(firstLocal, end) };
  }

  #take(kind: LayerClass, isNeeded: () => boolean): number | null {
    while (isNeeded()) {
      const page = this.#pools[kind].take();
      if (page !== null) return page;
      if (!this.#evictOne()) throw new KvFull(kind, this.#pools[kind].arena.pages);
    }
    return null;
  }

  #evictOne(): boolean {
    let victim: KeptState | null = null;
    for (const state of this.#kept) {
      if (victim === null || isCheaper(state, victim)) victim = state;
    }
    if (victim === null) return false;
    this.#kept.delete(victim);
    victim.runs.local.release();
    victim.runs.global.release();
    return true;
  }
}

function isCheaper(a: KeptState, b: KeptState): boolean {
  if (a.rank !== b.rank) return a.rank === 'passing';
  return a.lastUsed < b.lastUsed;
}

/** Every page belongs to a running sequence. */
export class KvFull extends OutOfMemory {
  constructor(kind: LayerClass, pages: number) {
    super(
      `The KV memory for ${kind} layers (${pages} pages of 64 tokens) is in use by other requests. Wait for them, or choose a larger context.`,
    );
  }
}
