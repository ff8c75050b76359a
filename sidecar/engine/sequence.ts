/** One piece of work for the scheduler: a prompt to read and, after it, tokens to append one by one. */

import type { TopRequest } from './backend/backend.ts';
import type { KeepRank } from './kv/kv-cache.ts';
import type { KvSequence } from './kv/kv-sequence.ts';
import type { Reuse } from './kv/resume.ts';
import type { Logits } from './sampler/sampler.ts';
import type { Drafter } from './speculation/drafter.ts';
import type { PromptImage } from './vision/prompt-image.ts';

export type Priority = 'completion' | 'chat' | 'background';

/** Lower runs first. */
export const PRIORITY_ORDER: Readonly<Record<Priority, number>> = { completion: 0, chat: 1, background: 2 };

export interface Work {
  readonly prompt: Uint32Array;
  /** Images among the prompt, in order. */
  readonly images: readonly PromptImage[];
  readonly priority: Priority;
  /** Prompt lengths at which the state is kept. */
  readonly keepAt: readonly number[];
  /** Logits are wanted after this prompt token and all later ones. */
  readonly firstLogits: number;
  /** Prompt tokens in the KV cache; called at the start of reading and after every chunk. */
  onRead(done: number, cached: number): void;
  /** Which logits `onLogits` needs where the tokens `draft` may stand behind those that were appended; null: all. */
  request(draft: Uint32Array): TopRequest | null;
  /**
   * Logits after token `index`: all, or those that were requested. They are only valid during the call and may be changed. At the
   * last token, the return value is appended and run next, or null ends the work; before, it is ignored. What it throws fails
   * the work.
   */
  onLogits(index: number, logits: Logits): number | null;
  /** Proposes tokens that are verified together with the one to run; null to decode one by one. The result is the same. */
  readonly drafter: Drafter | null;
  /** How many more tokens could be appended: drafts are no longer. Asked before every draft. */
  mostToAppend(): number;
  readonly signal: AbortSignal;
  /** Whether its KV is looked for, and kept, on disk too. */
  readonly onDisk: boolean;
}

export interface WorkReport {
  readonly cancelled: boolean;
  readonly cachedTokens: number;
  /** Where they came from, and why there were not more. */
  readonly reuse: Reuse;
  /** Prompt tokens whose KV is there now, also after a cancel. */
  readonly keptTokens: number;
  /** Time spent computing for this work up to the end of the prompt, and after it. */
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** Tokens that were drafted, and those of them that the model said too. */
  readonly draftedTokens: number;
  readonly acceptedTokens: number;
  /** At most this share of any softmax was on KV pages that were not read. */
  readonly missedAtMost: number;
}

/** A piece of work under way. */
export class Sequence {
  readonly work: Work;
  readonly arrival: number;
  /** Null until its first turn, and while it has given its pages back. */
  kv: KvSequence | null = null;
  /** Prompt tokens that were there at its first turn; null before it. */
  cachedTokens: number | null = null;
  reuse: Reuse = { memory: 0, disk: 0, miss: null };
  /** The first token whose logits have not been handed over: it may have to read again what it ran before. */
  firstLogits: number;
  prefillMs = 0;
  decodeMs = 0;
  draftedTokens = 0;
  acceptedTokens = 0;
  missedAtMost = 0;
  /** Its KV is being looked for and read from disk. */
  resuming = false;
  /** Waits for KV pages of others. */
  blocked = false;
  /** Was interrupted within a chunk by more urgent work, and reads in smaller ones until one is through. */
  interrupted = false;
  readonly #resolve: (report: WorkReport) => void;
  readonly #reject: (error: unknown) => void;
  #ids: Uint32Array;
  #length: number;

  constructor(
    work: Work,
    arrival: number,
    resolve: (report: WorkReport) => void,
    reject: (error: unknown) => void,
  ) {
    this.work = work;
    this.firstLogits = work.firstLogits;
    this.arrival = arrival;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#ids = work.prompt;
    this.#length = work.prompt.length;
  }

  /** Prompt and appended tokens. */
  get ids(): Uint32Array {
    return this.#ids.subarray(0, this.#length);
  }
  get keepRank(): KeepRank {
    return this.work.priority === 'chat' ? 'lasting' : 'passing';
  }
  get isReading(): boolean {
    return (this.kv?.length ?? 0) < this.work.prompt.length;
  }

  append(id: number): void {
    if (this.#length === this.#ids.length) {
      const grown = new Uint32Array(2 * this.#length + 64);
      grown.set(this.#ids);
      this.#ids = grown;
    }
    this.#ids[this.#length++] = id;
  }

  finish(cancelled: boolean): void {
    const { cachedTokens, reuse, prefillMs, decodeMs, draftedTokens, acceptedTokens, missedAtMost } = this;
    this.#resolve({
      cancelled,
      cachedTokens: cachedTokens ?? 0,
      reuse,
      keptTokens: Math.min(this.kv?.length ?? 0, this.work.prompt.length),
      prefillMs,
      decodeMs,
      draftedTokens,
      acceptedTokens,
      missedAtMost,
    });
  }

  fail(error: unknown): void {
    this.#reject(error);
  }
}
