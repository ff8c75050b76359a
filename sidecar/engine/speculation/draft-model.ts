/**
 * Drafts by a smaller Gemma 3 with the same vocabulary (Leviathan et al., "Fast inference from transformers via speculative
 * decoding", arXiv 2211.17192), which says what it holds likeliest. The large model decides every token, so the text is
 * exactly its own.
 */
import { type Backend, PAGE_POSITIONS, type TopRequest } from '../backend/backend.ts';
import { type KvCache, KvFull } from '../kv/kv-cache.ts';
import type { KvSequence } from '../kv/kv-sequence.ts';
import { type Gemma3, MOST_TOP_LOGITS } from '../model/gemma3.ts';
import { topLogitsOfRow } from '../sampler/top-k.ts';
import { DraftLength, passCost } from './draft-length.ts';
import { type Drafter, NO_DRAFT } from './drafter.ts';

/** Drafts are judged together, whatever came before: as if behind a repetition of this many tokens. */
const MATCHED = 4;
const LIKELIEST: TopRequest = { count: 1, also: [] };

export interface DraftModelParts {
  readonly backend: Backend;
  readonly model: Gemma3;
  readonly kv: KvCache;
  readonly contextLength: number;
  /** Time of one of its passes over one of the large model's. */
  readonly relativeCost: number;
}

export class DraftModel {
  readonly #backend: Backend;
  readonly #model: Gemma3;
  readonly #kv: KvCache;
  readonly #contextLength: number;
  readonly #length: DraftLength;
  readonly #row: Float32Array;

  constructor({ backend, model, kv, contextLength, relativeCost }: DraftModelParts) {
    this.#backend = backend;
    this.#model = model;
    this.#kv = kv;
    this.#contextLength = contextLength;
    this.#length = new DraftLength(1, (tokens) => passCost(tokens) + (tokens - 1) * relativeCost);
    this.#row = new Float32Array(2 * MOST_TOP_LOGITS);
  }

  /** A drafter for one request; `end` lets go of its KV pages. */
  begin(): Drafter & { end(): void } {
    let kv: KvSequence | null = null;
    let proposed = 0;
    return {
      propose: async (ids, most, signal) => {
        proposed = 0;
        const count = this.#length.best(0, MATCHED, Math.min(most, this.#contextLength - ids.length));
        if (count === 0) return NO_DRAFT;
        try {
          kv ??= this.#kv.begin(ids, ids.length - 1);
          const draft = await this.#draft(kv, ids, count, signal);
          proposed = draft.length;
          return draft;
        } catch (error) {
          // Other requests hold the pages: this one goes on without drafts for now.
          if (error instanceof KvFull) return NO_DRAFT;
          throw error;
        }
      },
      settle: (accepted) => this.#length.learn(0, MATCHED, proposed, accepted),
      end: () => {
        if (kv === null) return;
        this.#kv.keep(kv, 'lasting');
        kv.release();
        kv = null;
      },
    };
  }

  /** Of its output matrix, most of what drafting reads. */
  addShadow(): Promise<void> {
    return this.#model.addShadow();
  }

  dispose(): void {
    this.#kv.dispose();
    this.#model.dispose();
  }

  async #draft(kv: KvSequence, ids: Uint32Array, count: number, signal: AbortSignal): Promise<Uint32Array> {
    while (kv.length < ids.length) {
      const end = Math.min(ids.length, nextBoundary(kv.length, this.#model.limits.tokens));
      const chunk = ids.slice(kv.length, end);
      await this.#run(kv, kv.length, chunk, end === ids.length, signal);
      kv.commit(chunk);
    }
    // Drafted tokens are never committed: the next draft writes over them.
    const draft = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      this.#backend.readBack(this.#model.topLogits, this.#row, 0, 1);
      draft[i] = topLogitsOfRow(this.#row, LIKELIEST).ids[0]!;
      if (i + 1 < count) await this.#run(kv, kv.length + i, draft.slice(i, i + 1), true, signal);
    }
    return draft;
  }

  async #run(
    kv: KvSequence,
    position: number,
    ids: Uint32Array,
    wantsLogits: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const views = kv.prepare(position + ids.length - kv.length);
    const pass = this.#backend.createPass();
    this.#model.body(pass, { ids, position, kv: views }, wantsLogits ? ids.length - 1 : ids.length);
    if (wantsLogits) this.#model.topHead(pass, LIKELIEST, ids.length - 1, 1);
    await pass.submit(signal);
  }
}

/** The furthest end of a chunk of at most `most` tokens from `position`, at a page boundary where one is in reach. */
function nextBoundary(position: number, most: number): number {
  const end = Math.floor((position + most) / PAGE_POSITIONS) * PAGE_POSITIONS;
  return end > position ? end : position + most;
}
