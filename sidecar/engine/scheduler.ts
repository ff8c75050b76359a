/**
 * Whose turn it is. One model, many sequences: typing before chat before background work, first come first served within
 * a class. A turn is one pass: a chunk of a prompt, or one token with the draft of what may follow it. More urgent work
 * interrupts a chunk, which is then read again later; results do not depend on how a prompt was cut, nor on drafts.
 */
import {
  type Backend,
  PAGE_POSITIONS,
  type Pass,
  PassCancelled,
  type TopRequest,
} from './backend/backend.ts';
import { type KvCache, KvFull } from './kv/kv-cache.ts';
import type { KvSequence } from './kv/kv-sequence.ts';
import type { KvViews } from './kv/layout.ts';
import type { Reuse } from './kv/resume.ts';
import { type Gemma3, MOST_TOP_LOGITS } from './model/gemma3.ts';
import { topLogitsOfRow } from './sampler/top-k.ts';
import { PRIORITY_ORDER, Sequence, type Work, type WorkReport } from './sequence.ts';
import { type Drafter, NO_DRAFT } from './speculation/drafter.ts';
import { imagesWithin, uncutEnd } from './vision/prompt-image.ts';

/** Tokens of a chunk after an interruption: short enough to get through between two keystrokes. */
const CHUNK_AFTER_INTERRUPTION = PAGE_POSITIONS;

/** A pass of work that is no sequence. */
export interface Errand {
  /** Called when no pass is running, so it may touch the backend's memory too. */
  record(pass: Pass): void;
  /** Called when the pass has run, before another one does. */
  readonly finish?: () => void;
}

interface WaitingErrand extends Errand {
  readonly signal: AbortSignal;
  resolve(): void;
  reject(error: unknown): void;
}

export class Scheduler {
  readonly #backend: Backend;
  readonly #model: Gemma3;
  readonly #kv: KvCache;
  readonly #waiting = new Set<Sequence>();
  readonly #row: Float32Array;
  readonly #topRow = new Float32Array(2 * MOST_TOP_LOGITS);
  readonly #errands: WaitingErrand[] = [];
  #arrivals = 0;
  #current: { readonly sequence: Sequence; readonly pass: AbortController } | null = null;
  #running: Promise<void> | null = null;
  readonly #resuming = new Set<Promise<void>>();
  readonly #closing = new AbortController();

  constructor(backend: Backend, model: Gemma3, kv: KvCache) {
    this.#backend = backend;
    this.#model = model;
    this.#kv = kv;
    this.#row = new Float32Array(model.config.vocabulary);
  }

  /** Resolves when the work is done or its signal has fired; rejects with what the backend, KV cache or `onLogits` threw. */
  run(work: Work): Promise<WorkReport> {
    return new Promise((resolve, reject) => {
      if (this.#closing.signal.aborted) throw new Error('The model has been unloaded.');
      const sequence = new Sequence(work, this.#arrivals++, resolve, reject);
      work.signal.addEventListener('abort', () => this.#cancel(sequence), { once: true });
      this.#waiting.add(sequence);
      if (work.signal.aborted) this.#cancel(sequence);
      this.#interruptFor(sequence);
      this.#running ??= this.#loop();
    });
  }

  /**
   * Runs one pass of background work that is no sequence (a layer of the image tower) when neither typing nor chat wants
   * the backend. Rejects with PassCancelled once `signal` fires, also while it waits.
   */
  async runPass(errand: Errand, signal: AbortSignal): Promise<void> {
    let waiting: WaitingErrand | null = null;
    const cancel = () => {
      const at = waiting === null ? -1 : this.#errands.indexOf(waiting);
      if (at >= 0) this.#errands.splice(at, 1)[0]!.reject(new PassCancelled());
    };
    signal.addEventListener('abort', cancel);
    try {
      await new Promise<void>((resolve, reject) => {
        if (this.#closing.signal.aborted) throw new Error('The model has been unloaded.');
        waiting = { ...errand, signal, resolve, reject };
        this.#errands.push(waiting);
        this.#running ??= this.#loop();
      });
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /** Fails what is waiting, and resolves when the pass under way has ended. */
  async dispose(): Promise<void> {
    this.#closing.abort();
    this.#current?.pass.abort();
    await Promise.all([this.#running, ...this.#resuming]);
    for (const sequence of this.#waiting)
      this.#end(sequence, () => sequence.fail(new Error('The model was unloaded.')));
  }

  async #loop(): Promise<void> {
    // Requests of the same moment are compared with each other before the first one starts.
    await Promise.resolve();
    for (;;) {
      const next = this.#next();
      const isUrgent = next !== null && next.work.priority !== 'background';
      const errand = isUrgent ? undefined : this.#errands.shift();
      if (errand !== undefined) await this.#runErrand(errand);
      else if (next !== null) await this.#turn(next);
      else break;
    }
    this.#running = null;
  }

  async #runErrand({ record, finish, signal, resolve, reject }: WaitingErrand): Promise<void> {
    try {
      if (this.#closing.signal.aborted) throw new PassCancelled();
      const pass = this.#backend.createPass();
      record(pass);
      await pass.submit(signal);
      finish?.();
      resolve();
    } catch (error) {
      reject(error);
    }
  }

  #next(): Sequence | null {
    if (this.#closing.signal.aborted) return null;
    let best: Sequence | null = null;
    for (const sequence of this.#waiting) {
      if (!sequence.blocked && (best === null || isMoreUrgent(sequence, best))) best = sequence;
    }
    // Nobody overtakes it: who comes later may find what it has read in memory.
    return best?.resuming === true ? null : best;
  }

  async #turn(sequence: Sequence): Promise<void> {
    const pass = new AbortController();
    this.#current = { sequence, pass };
    try {
      if (await this.#step(sequence, pass.signal)) {
        this.#kv.keep(sequence.kv!, sequence.keepRank);
        this.#end(sequence, () => sequence.finish(false));
      }
    } catch (error) {
      if (error instanceof PassCancelled) {
        if (sequence.work.signal.aborted) this.#endCancelled(sequence);
        else sequence.interrupted = true;
      } else if (!(error instanceof KvFull && this.#makeRoom(sequence))) {
        this.#end(sequence, () => sequence.fail(error));
      }
    } finally {
      this.#current = null;
    }
    if (sequence.work.signal.aborted && this.#waiting.has(sequence)) this.#endCancelled(sequence);
  }

  /**
   * `sequence` found no page. It waits for a sequence that holds some and can run; where all of those wait too, the least
   * urgent gives its pages back and reads again later. False if no other sequence holds any.
   */
  #makeRoom(sequence: Sequence): boolean {
    const holders = [...this.#waiting].filter((s) => s !== sequence && (s.kv !== null || s.resuming));
    if (holders.length === 0) return false;
    if (holders.some((s) => !s.blocked)) {
      sequence.blocked = true;
      return true;
    }
    const yielding = [sequence, ...holders].reduce((least, s) => (isMoreUrgent(least, s) ? s : least));
    this.#kv.keep(yielding.kv!, 'passing');
    yielding.kv!.release();
    yielding.kv = null;
    for (const holder of holders) holder.blocked = holder === yielding;
    sequence.blocked = sequence === yielding;
    return true;
  }

  /** One pass. True when the work is complete. */
  async #step(sequence: Sequence, signal: AbortSignal): Promise<boolean> {
    const started = performance.now();
    const { work } = sequence;
    if (sequence.kv === null && work.onDisk) {
      this.#resume(sequence);
      return false;
    }
    const wasReading = sequence.isReading;
    const kv = sequence.kv ?? this.#begin(sequence, this.#kv.begin(sequence.ids, sequence.firstLogits));
    if (!wasReading && work.drafter !== null && sequence.ids.length - kv.length === 1) {
      const isComplete = await this.#decode(sequence, kv, work.drafter, signal);
      sequence.decodeMs += performance.now() - started;
      return isComplete;
    }
    const end = this.#chunkEnd(sequence, kv.length);
    const position = kv.length;
    const ids = sequence.ids.slice(position, end);
    const firstLogits = Math.max(position, sequence.firstLogits);
    const views = kv.prepare(ids.length);

    const pass = this.#backend.createPass();
    const images = imagesWithin(work.images, position, end);
    this.#model.body(pass, { ids, position, kv: views, images }, Math.min(firstLogits, end) - position);
    const rows = Math.min(this.#model.limits.logits, end - firstLogits);
    const request = rows > 0 ? this.#head(pass, work, NO_DRAFT, firstLogits - position, rows) : null;
    await pass.submit(signal);
    this.#noteMissed(sequence, views, ids.length);
    kv.commit(ids);
    sequence.interrupted = false;
    if (work.onDisk) this.#kv.persist(kv);
    if (wasReading) {
      if (work.keepAt.includes(end)) this.#kv.keep(kv, 'lasting');
      else if (end === work.prompt.length) this.#kv.keep(kv, sequence.keepRank);
      work.onRead(Math.min(end, work.prompt.length), sequence.cachedTokens ?? 0);
    }
    const next = rows > 0 ? await this.#readLogits(work, request, firstLogits, end, position) : undefined;
    sequence.firstLogits = Math.max(firstLogits, end);
    const elapsed = performance.now() - started;
    if (wasReading) sequence.prefillMs += elapsed;
    else sequence.decodeMs += elapsed;
    if (end < sequence.ids.length || next === undefined) return false;
    if (next === null) return true;
    sequence.append(next);
    return false;
  }

  /** One pass over the newest token and a draft of what follows it. True when the work is complete. */
  async #decode(sequence: Sequence, kv: KvSequence, drafter: Drafter, signal: AbortSignal): Promise<boolean> {
    const { work } = sequence;
    const position = kv.length;
    const proposal = await this.#propose(sequence, drafter, signal);
    const { views, draft } = prepareWithDraft(kv, proposal);
    const tokens = Uint32Array.of(sequence.ids[position]!, ...draft);
    const pass = this.#backend.createPass();
    this.#model.body(pass, { ids: tokens, position, kv: views });
    const request = this.#head(pass, work, draft, 0, tokens.length);
    await pass.submit(signal);

    let accepted = 0;
    let next = this.#decideAfter(work, request, position, 0);
    while (accepted < draft.length && next === draft[accepted]) {
      accepted++;
      next = this.#decideAfter(work, request, position + accepted, accepted);
    }
    this.#noteMissed(sequence, views, 1 + accepted);
    // What was written beyond this for wrong tokens is overwritten by the next pass.
    kv.commit(tokens.subarray(0, 1 + accepted));
    if (work.onDisk) this.#kv.persist(kv);
    for (let i = 0; i < accepted; i++) sequence.append(draft[i]!);
    if (draft.length > 0) drafter.settle(accepted);
    sequence.draftedTokens += draft.length;
    sequence.acceptedTokens += accepted;
    sequence.firstLogits = Math.max(sequence.firstLogits, kv.length);
    if (next === null) return true;
    sequence.append(next);
    return false;
  }

  #noteMissed(sequence: Sequence, { global }: KvViews, tokens: number): void {
    if (global.sparse === undefined) return;
    sequence.missedAtMost = Math.max(sequence.missedAtMost, this.#model.missed(tokens));
  }

  async #propose(sequence: Sequence, drafter: Drafter, signal: AbortSignal): Promise<Uint32Array> {
    // The token after the last draft comes with it, so a draft is one shorter than what is wanted.
    const most = Math.min(sequence.work.mostToAppend(), this.#model.limits.logits) - 1;
    return most < 1 ? NO_DRAFT : await drafter.propose(sequence.ids, most, signal);
  }

  /** Records the logits of `tokens` rows that `work` needs; returns which those are, null for all. */
  #head(pass: Pass, work: Work, draft: Uint32Array, first: number, tokens: number): TopRequest | null {
    const request = work.request(draft);
    if (request === null || request.count + request.also.length > MOST_TOP_LOGITS) {
      this.#model.head(pass, first, tokens);
      return null;
    }
    this.#model.topHead(pass, request, first, tokens);
    return request;
  }

  /** Hands over row `row` of the pass that has run, the logits after token `index`. */
  #decideAfter(work: Work, request: TopRequest | null, index: number, row: number): number | null {
    if (request === null) {
      this.#backend.readBack(this.#model.logits, this.#row, row, 1);
      return work.onLogits(index, this.#row);
    }
    this.#backend.readBack(this.#model.topLogits, this.#topRow, row, 1);
    return work.onLogits(index, topLogitsOfRow(this.#topRow, request));
  }

  /** Looks for the sequence's KV in memory and on disk. More urgent work computes meanwhile. */
  #resume(sequence: Sequence): void {
    const { ids, firstLogits, work } = sequence;
    const started = performance.now();
    sequence.resuming = true;
    const resuming = this.#kv
      .resume(ids, firstLogits, AbortSignal.any([work.signal, this.#closing.signal]))
      .then(
        ({ sequence: kv, reuse }) => {
          // Cancelled, or the model is being unloaded.
          if (!this.#waiting.has(sequence)) return kv.release();
          this.#begin(sequence, kv, reuse);
          sequence.prefillMs += performance.now() - started;
        },
        (error: unknown) => this.#end(sequence, () => sequence.fail(error)),
      )
      .finally(() => {
        sequence.resuming = false;
        this.#resuming.delete(resuming);
        for (const other of this.#waiting) other.blocked = false;
        this.#running ??= this.#loop();
      });
    this.#resuming.add(resuming);
  }

  #begin(sequence: Sequence, kv: KvSequence, reuse?: Reuse): KvSequence {
    if (sequence.cachedTokens === null) {
      sequence.cachedTokens = kv.length;
      sequence.reuse = reuse ?? { memory: kv.length, disk: 0, miss: null };
    }
    sequence.kv = kv;
    if (sequence.isReading) sequence.work.onRead(kv.length, sequence.cachedTokens);
    return kv;
  }

  /** Chunks end at page boundaries, at the states to keep and at the end. */
  #chunkEnd(sequence: Sequence, from: number): number {
    const { ids, work } = sequence;
    const most = sequence.interrupted ? CHUNK_AFTER_INTERRUPTION : this.#model.limits.tokens;
    let end = Math.min(ids.length, from + most);
    if (end < ids.length) {
      const boundary = Math.floor(end / PAGE_POSITIONS) * PAGE_POSITIONS;
      if (boundary > from) end = boundary;
    }
    for (const length of work.keepAt) if (length > from && length < end) end = length;
    return uncutEnd(work.images, from, end);
  }

  /** Hands over the logits after tokens [first, end); the last pass left the first rows of them. */
  async #readLogits(
    work: Work,
    firstRequest: TopRequest | null,
    first: number,
    end: number,
    position: number,
  ): Promise<number | null> {
    const { limits } = this.#model;
    let request = firstRequest;
    let next: number | null = null;
    for (let from = first; from < end; from += limits.logits) {
      const rows = Math.min(limits.logits, end - from);
      if (from > first) {
        const pass = this.#backend.createPass();
        request = this.#head(pass, work, NO_DRAFT, from - position, rows);
        // Not interrupted by urgent work: the chunk is in the cache already and would not be read again.
        await pass.submit(work.signal);
      }
      for (let i = 0; i < rows; i++) {
        next = this.#decideAfter(work, request, from + i, i);
      }
    }
    return next;
  }

  #interruptFor(arrived: Sequence): void {
    const running = this.#current;
    if (
      running?.sequence.isReading &&
      PRIORITY_ORDER[arrived.work.priority] < PRIORITY_ORDER[running.sequence.work.priority]
    ) {
      running.pass.abort();
    }
  }

  #cancel(sequence: Sequence): void {
    if (this.#current?.sequence === sequence) this.#current.pass.abort();
    else if (this.#waiting.has(sequence)) this.#endCancelled(sequence);
  }

  /** What was read so far stays for the next prompt. */
  #endCancelled(sequence: Sequence): void {
    if (sequence.kv !== null) this.#kv.keep(sequence.kv, sequence.keepRank);
    this.#end(sequence, () => sequence.finish(true));
  }

  #end(sequence: Sequence, settle: () => void): void {
    sequence.kv?.release();
    this.#waiting.delete(sequence);
    for (const other of this.#waiting) other.blocked = false;
    settle();
  }
}

/** Pages for one token and the draft; where there are none for the draft, it is left out. Throws KvFull. */
function prepareWithDraft(kv: KvSequence, draft: Uint32Array): { views: KvViews; draft: Uint32Array } {
  try {
    return { views: kv.prepare(1 + draft.length), draft };
  } catch (error) {
    if (!(error instanceof KvFull) || draft.length === 0) throw error;
    return { views: kv.prepare(1), draft: NO_DRAFT };
  }
}

function isMoreUrgent(a: Sequence, b: Sequence): boolean {
  const difference = PRIORITY_ORDER[a.work.priority] - PRIORITY_ORDER[b.work.priority];
  return difference === 0 ? a.arrival < b.arrival : difference < 0;
}
