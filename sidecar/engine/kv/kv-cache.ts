/**
 * The KV cache of one model: pages of both layer classes, running sequences, and kept states that later prompts resume
 * from or branch off. A kept state shares pages with whoever else needs them; its local layers hold one window, which
 * is what lets a prompt branch in the middle of a conversation although windows have moved on.
 */
import { type Backend, type KvFormat, OutOfMemory, PAGE_POSITIONS } from '../backend/backend.ts';
import {
  KvSequence,
  type PoolKind,
  type Pools,
  type RunKind,
  type Runs,
  releaseRuns,
} from './kv-sequence.ts';
import {
  exactPages,
  firstHotPage,
  firstLocalPage,
  type KvLayout,
  leastHotPages,
  pagesFor,
} from './layout.ts';
import type { KvPages } from './memory-plan.ts';
import { PagePool } from './page-pool.ts';
import { PageRun } from './page-run.ts';
import { findLongestPrefix, type Resumable, sharedLength } from './prefix-index.ts';
import { explainMiss, type Miss, mostBlocks, type Reuse } from './resume.ts';
import { blockIds } from './store/block-key.ts';
import type { KvStore } from './store/kv-store.ts';

/**
 * How long a kept state is worth keeping: 'passing' ones (the end of a completion that the next keystroke
 * replaces) make room first, then those used longest ago.
 */
export type KeepRank = 'passing' | 'lasting';

/** Bytes of pages of one kind: global ones in each form, windows of running sequences, and those of kept states alone. */
export interface KvPart {
  readonly kind: KvFormat | 'local' | 'kept';
  readonly bytes: number;
}

class KeptState implements Resumable {
  readonly ids: Uint32Array;
  readonly runs: Runs;
  rank: KeepRank;
  lastUsed: number;

  constructor(ids: Uint32Array, runs: Runs, rank: KeepRank, now: number) {
    this.ids = ids;
    this.runs = runs;
    this.rank = rank;
    this.lastUsed = now;
  }

  get firstLocalPage(): number {
    return this.runs.local.first;
  }
  get firstHotPage(): number {
    return this.runs.global.first;
  }
}

/** Beyond this many states, comparing a prompt with each would begin to cost. */
const KEPT_LIMIT = 64;
/** A store whose blocks turn out damaged is asked this often before the prompt is read instead. */
const RESTORE_ATTEMPTS = 4;

/** What of a sequence was looked at for the disk. */
interface Progress {
  keys: string[];
  blocks: number;
}

export class KvCache {
  readonly layout: KvLayout;
  readonly #pools: Pools;
  readonly #kept = new Set<KeptState>();
  readonly #store: KvStore | null;
  readonly #persisted = new WeakMap<KvSequence, Progress>();
  /** Counts uses, for "longest ago". */
  #clock = 0;

  /** Reserves `pages` on the backend. Throws OutOfMemory if the system refuses. */
  constructor(backend: Backend, layout: KvLayout, pages: KvPages, store: KvStore | null = null) {
    this.layout = layout;
    this.#store = store;
    const { shapes, cold } = layout;
    const bounded = layout.sparse !== undefined;
    if (cold !== undefined && cold.hotPages < leastHotPages(layout.chunk)) {
      throw new RangeError(`Passes of ${layout.chunk} tokens need ${leastHotPages(layout.chunk)} hot pages.`);
    }
    if (bounded && exactPages(layout) > 0) {
      throw new RangeError('Tokens choose among pages of one form: none stays F16 before compressed ones.');
    }
    this.#pools = {
      local: new PagePool(backend.createKvArena(shapes.local, pages.local)),
      global: new PagePool(backend.createKvArena(shapes.global, pages.global, { bounded: bounded && !cold })),
      cold: cold
        ? new PagePool(
            backend.createKvArena(shapes.global, pages.cold ?? 0, { format: cold.format, bounded }),
          )
        : null,
    };
  }

  /** Bytes of all pages, and of those in use by sequences and kept states. */
  memory(): { readonly reserved: number; readonly used: number; readonly parts: readonly KvPart[] } {
    const { local, global, cold } = this.#pools;
    const bytes = ({ arena }: PagePool, pages: number) => pages * arena.pageBytes;
    const kept = local.inUse - this.#runningLocalPages();
    const parts: KvPart[] = [
      { kind: 'f16', bytes: bytes(global, global.inUse) },
      ...(cold ? [{ kind: cold.arena.format, bytes: bytes(cold, cold.inUse) }] : []),
      { kind: 'local', bytes: bytes(local, local.inUse - kept) },
      { kind: 'kept', bytes: bytes(local, kept) },
    ];
    return {
      reserved: [local, global, cold].reduce(
        (sum, pool) => sum + (pool ? bytes(pool, pool.arena.pages) : 0),
        0,
      ),
      used: parts.reduce((sum, part) => sum + part.bytes, 0),
      parts,
    };
  }

  /** Local pages that belong to more than kept states. */
  #runningLocalPages(): number {
    const keptBy = new Map<number, number>();
    for (const { runs } of this.#kept) {
      for (const page of runs.local.pages) keptBy.set(page, (keptBy.get(page) ?? 0) + 1);
    }
    const { local } = this.#pools;
    let running = local.inUse - keptBy.size;
    for (const [page, states] of keptBy) if (local.references(page) > states) running++;
    return running;
  }

  /**
   * Tokens of `prompt`, at most `most`, that {@link resume} would find in memory, and further ones on disk. Reads no block
   * and moves none.
   */
  async lookUp(
    prompt: Uint32Array,
    most: number,
  ): Promise<{ readonly memory: number; readonly disk: number }> {
    const store = this.#store;
    await store?.refresh();
    const memory = findLongestPrefix(this.#kept, prompt, most, this.layout)?.length ?? 0;
    if (store === null) return { memory, disk: 0 };
    const { blocks } = this.#planRestore(store, prompt, store.keys(prompt.subarray(0, most)));
    return { memory, disk: Math.max(0, blocks * PAGE_POSITIONS - memory) };
  }

  /** A sequence that holds as much of `prompt` as is in the cache, at most `most` tokens. */
  begin(prompt: Uint32Array, most: number): KvSequence {
    const match = findLongestPrefix(this.#kept, prompt, most, this.layout);
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

  /**
   * As {@link begin}, from memory and disk together, and says where the tokens came from. Ends early, with what memory has,
   * once `signal` fires. Passes of other sequences may run meanwhile: it fills pages that are nobody else's.
   */
  async resume(
    prompt: Uint32Array,
    most: number,
    signal: AbortSignal,
  ): Promise<{ readonly sequence: KvSequence; readonly reuse: Reuse }> {
    const store = this.#store;
    await store?.refresh();
    const keys = store?.keys(prompt.subarray(0, most)) ?? [];
    for (let attempt = 0; store !== null && attempt < RESTORE_ATTEMPTS && !signal.aborted; attempt++) {
      const inMemory = findLongestPrefix(this.#kept, prompt, most, this.layout)?.length ?? 0;
      const plan = this.#planRestore(store, prompt, keys);
      if (plan.blocks * PAGE_POSITIONS <= inMemory) break;
      const sequence = await this.#restore(store, prompt, keys, plan, signal);
      if (sequence === null) continue;
      const fromMemory = Math.min(plan.sharedPages, plan.blocks) * PAGE_POSITIONS;
      const miss = await this.#explain(prompt, most, sequence.length, keys);
      return { sequence, reuse: { memory: fromMemory, disk: sequence.length - fromMemory, miss } };
    }
    const miss = await this.#explain(prompt, most, null, keys);
    const sequence = this.begin(prompt, most);
    return { sequence, reuse: { memory: sequence.length, disk: 0, miss } };
  }

  /** Hands the sequence's whole blocks that are not on disk yet to the store, which writes them in the background. */
  persist(sequence: KvSequence): void {
    const store = this.#store;
    if (store === null) return;
    const progress = this.#persisted.get(sequence) ?? { keys: [], blocks: 0 };
    this.#persisted.set(sequence, progress);
    const { ids, runs } = sequence;
    progress.keys = store.keys(ids, progress.keys);
    for (; progress.blocks < progress.keys.length && store.accepts; progress.blocks++) {
      const index = progress.blocks;
      const key = progress.keys[index]!;
      const parent = index === 0 ? Buffer.from(store.rootKey).toString('hex') : progress.keys[index - 1]!;
      for (const kind of ['global', 'local'] as const) {
        const run = kind === 'global' && index < exactPages(this.layout) ? runs.exact : runs[kind];
        const page = run.pages[index - run.first];
        if (page === undefined || store.has(kind, key)) continue;
        const { arena } = this.#pools[kind];
        const payload = new Uint8Array(arena.pageBytes);
        arena.readPage(page, payload);
        store.write(kind, { index, key, parent, ids: blockIds(ids, index).slice() }, payload);
      }
    }
  }

  #planRestore(store: KvStore, prompt: Uint32Array, keys: readonly string[]) {
    let best: KeptState | null = null;
    let sharedPages = 0;
    for (const state of this.#kept) {
      const pages = Math.floor(sharedLength(state.ids, prompt) / PAGE_POSITIONS);
      if (pages > sharedPages) {
        sharedPages = pages;
        best = state;
      }
    }
    let globalBlocks = Math.min(sharedPages, keys.length);
    while (globalBlocks < keys.length && store.has('global', keys[globalBlocks]!)) globalBlocks++;
    const hasLocal = (block: number) => store.has('local', keys[block]!);
    const blocks = mostBlocks(this.layout, { globalBlocks, hasLocal });
    return { blocks, state: best, sharedPages: Math.min(sharedPages, blocks) };
  }

  /** Null if a block could not be read (the store has forgotten it then), there is no room, or `signal` fired. */
  async #restore(
    store: KvStore,
    prompt: Uint32Array,
    keys: readonly string[],
    plan: { readonly blocks: number; readonly state: KeptState | null; readonly sharedPages: number },
    signal: AbortSignal,
  ): Promise<KvSequence | null> {
    const { blocks, state, sharedPages } = plan;
    const bounded = this.layout.sparse !== undefined;
    const firstLocal = firstLocalPage(this.layout, blocks * PAGE_POSITIONS);
    const runs = this.#sharedRuns(blocks, state, sharedPages);
    const exactEnd = Math.min(exactPages(this.layout), blocks);
    const firstHot = firstHotPage(this.layout, blocks * PAGE_POSITIONS);
    const missing: Readonly<Record<RunKind, readonly [first: number, end: number]>> = {
      exact: [runs.exact.end, exactEnd],
      cold: [runs.cold?.end ?? firstHot, firstHot],
      global: [runs.global.end, blocks],
      local: [firstLocal, blocks],
    };
    const wanted = (['exact', 'cold', 'global', 'local'] as const).flatMap((kind) => {
      const [first, end] = missing[kind];
      return Array.from({ length: Math.max(0, end - first) }, (_, i) => [kind, first + i] as const);
    });
    // The disk holds F16: pages that are read as codes are rounded here once more, to the same bytes.
    const staging = new PageRun(this.#pools.global);
    let complete = false;
    try {
      for (const kind of ['local', 'exact', 'global', 'cold'] as const) {
        runs[kind]?.makeWritable(...missing[kind], (isNeeded) => this.#take(poolOf(kind), isNeeded));
      }
      if (missing.cold[0] < missing.cold[1])
        staging.makeWritable(0, 1, (isNeeded) => this.#take('global', isNeeded));
      complete = await store.read(
        wanted.map(([kind, index]) => ({
          kind: kind === 'local' ? kind : 'global',
          block: {
            index,
            key: keys[index]!,
            parent: index === 0 ? Buffer.from(store.rootKey).toString('hex') : keys[index - 1]!,
            ids: blockIds(prompt, index),
          },
        })),
        (payload, i) => {
          const [kind, index] = wanted[i]!;
          const run = runs[kind]!;
          const page = run.pages[index - run.first]!;
          if (kind !== 'cold') {
            this.#pools[kind === 'local' ? kind : 'global'].arena.writePage(page, payload);
            if (kind === 'global' && this.#pools.cold === null && bounded) this.#pools.global.bound(page);
            return;
          }
          const { arena } = this.#pools.global;
          arena.writePage(staging.pages[0]!, payload);
          this.#pools.cold!.arena.compressPage(arena, staging.pages[0]!, page);
          if (bounded) this.#pools.cold!.bound(page);
        },
        signal,
      );
    } catch (error) {
      if (!(error instanceof KvFull)) throw error;
    } finally {
      staging.release();
      if (!complete) releaseRuns(runs);
    }
    if (!complete) return null;
    const sequence = new KvSequence(this.layout, this.#pools, (kind, isNeeded) => this.#take(kind, isNeeded));
    sequence.resume(prompt.slice(0, blocks * PAGE_POSITIONS), runs);
    return sequence;
  }

  /** Runs for `blocks` pages that hold what memory shares of them, from the first page on that each needs. */
  #sharedRuns(blocks: number, state: KeptState | null, sharedPages: number): Runs {
    const { global: hotPool, cold: coldPool } = this.#pools;
    const local = new PageRun(this.#pools.local, firstLocalPage(this.layout, blocks * PAGE_POSITIONS));
    const exactEnd = Math.min(exactPages(this.layout), blocks, sharedPages);
    const exact = state?.runs.exact.slice(0, exactEnd) ?? new PageRun(hotPool);
    if (coldPool === null) {
      const global = state?.runs.global.slice(0, sharedPages) ?? new PageRun(hotPool);
      return { local, exact, global, cold: null };
    }
    // Hot pages are few: they come from the disk even where memory has them.
    const firstHot = firstHotPage(this.layout, blocks * PAGE_POSITIONS);
    const global = new PageRun(hotPool, firstHot);
    const first = exactPages(this.layout);
    const coldEnd = Math.max(first, Math.min(sharedPages, firstHot, state?.runs.cold?.end ?? 0));
    const cold = state?.runs.cold?.slice(first, coldEnd) ?? new PageRun(coldPool, first);
    return { local, exact, global, cold };
  }

  async #explain(
    prompt: Uint32Array,
    most: number,
    reusedOrNull: number | null,
    keys: readonly string[],
  ): Promise<Miss | null> {
    const reused = reusedOrNull ?? findLongestPrefix(this.#kept, prompt, most, this.layout)?.length ?? 0;
    let shared = 0;
    let differs: Miss['differs'] | null = null;
    for (const { ids } of this.#kept) {
      const length = sharedLength(ids, prompt);
      if (length < shared || (length === shared && differs)) continue;
      shared = length;
      differs =
        length < ids.length && length < prompt.length
          ? { position: length, before: ids[length]!, now: prompt[length]! }
          : null;
    }
    const store = this.#store;
    if (store !== null && reused < most) {
      let blocks = 0;
      while (blocks < keys.length && store.has('global', keys[blocks]!)) blocks++;
      const from = blocks * PAGE_POSITIONS;
      const parent = blocks === 0 ? Buffer.from(store.rootKey).toString('hex') : keys[blocks - 1]!;
      const next = await store.divergence(parent, prompt.subarray(from));
      const position = from + (next?.offset ?? 0);
      if (position > shared || (position === shared && differs === null)) {
        shared = position;
        differs = next ? { position, before: next.id, now: prompt[position]! } : null;
      }
    }
    return explainMiss({ most, reused, fromDisk: reusedOrNull !== null, shared, differs });
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
    this.#pools.cold?.arena.dispose();
  }

  /** Shares what is needed to go on at `length`, or one token before it (the same prompt again). */
  #runsAt(runs: Runs, length: number): Runs {
    const end = pagesFor(length);
    const firstLocal = Math.max(runs.local.first, firstLocalPage(this.layout, length - 1));
    const firstHot = Math.max(runs.global.first, firstHotPage(this.layout, length - 1));
    const first = exactPages(this.layout);
    const exact = runs.exact.slice(0, Math.min(first, end));
    const global = runs.global.slice(firstHot, Math.max(firstHot, end));
    // Pages may be there in compressed form that tokens from here on still read as F16.
    const cold = runs.cold?.slice(first, Math.max(first, Math.min(runs.cold.end, firstHot))) ?? null;
    return { exact, global, local: runs.local.slice(firstLocal, end), cold };
  }

  #take(kind: PoolKind, isNeeded: () => boolean): number | null {
    while (isNeeded()) {
      const pool = this.#pools[kind]!;
      const page = pool.take();
      if (page !== null) return page;
      if (!this.#evictOne()) throw new KvFull(kind, pool.arena.pages);
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
    releaseRuns(victim.runs);
    return true;
  }
}

function poolOf(kind: RunKind): PoolKind {
  return kind === 'exact' ? 'global' : kind;
}

function isCheaper(a: KeptState, b: KeptState): boolean {
  if (a.rank !== b.rank) return a.rank === 'passing';
  return a.lastUsed < b.lastUsed;
}

/** Every page belongs to a running sequence. */
export class KvFull extends OutOfMemory {
  constructor(kind: PoolKind, pages: number) {
    super(
      `The KV memory for ${kind === 'local' ? 'local' : 'global'} layers (${pages} pages of 64 tokens) is in use by other requests. Wait for them, or choose a larger context.`,
    );
  }
}
