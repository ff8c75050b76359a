/**
 * Drafts by looking up how the end of the text went on where it stood before, in the prompt or in what was generated. Costs
 * next to nothing, and is right for most of what rewriting, quoting and listing code repeats.
 */

import { DraftLength } from './draft-length.ts';
import type { Drafter } from './drafter.ts';
import { NO_DRAFT } from './drafter.ts';
import { SuffixAutomaton } from './suffix-automaton.ts';

/** Where a draft comes from: the longest repetition anywhere, or the place near the one that was copied from last. */
const ANYWHERE = 0;
const NEARBY = 1;

/** How far from the place copied from last an edit may have moved the text: a few inserted or deleted lines. */
const SEARCH_BACK = 16;
const SEARCH_AHEAD = 96;
/** A repetition of this many tokens is trusted over what stands nearby. */
const LONG_REPETITION = 12;
/** Tokens taken in between two steps of decoding, so that a long prompt delays none of them noticeably (about 10 ms). */
const TAKEN_IN_AT_ONCE = 8192;

interface Source {
  readonly kind: number;
  /** Index of the last token of the earlier occurrence. */
  readonly end: number;
  readonly matched: number;
}

export class SuffixDrafter implements Drafter {
  #automaton = new SuffixAutomaton();
  readonly #length = new DraftLength(2);
  /** The index that the last right draft was copied from; -1 before any. */
  #copiedTo = -1;
  #proposed: (Source & { readonly count: number }) | null = null;

  /**
   * Begins a request with this prompt. Where it goes on from the one before, what was taken in of that serves again.
   */
  begin(prompt: Uint32Array): void {
    const { ids } = this.#automaton;
    const isContinuation = ids.length <= prompt.length && ids.every((id, i) => id === prompt[i]);
    if (!isContinuation) this.#automaton = new SuffixAutomaton();
    this.#copiedTo = -1;
    this.#proposed = null;
  }

  propose(ids: Uint32Array, most: number): Uint32Array {
    this.#proposed = null;
    const automaton = this.#automaton;
    const end = Math.min(ids.length, automaton.length + TAKEN_IN_AT_ONCE);
    for (let i = automaton.length; i < end; i++) automaton.append(ids[i]!);
    if (automaton.length < ids.length || most < 1) return NO_DRAFT;
    const source = this.#source(ids);
    if (source === null) return NO_DRAFT;
    const available = Math.min(most, ids.length - 1 - source.end);
    const count = this.#length.best(source.kind, source.matched, available);
    if (count === 0) return NO_DRAFT;
    this.#proposed = { ...source, count };
    return ids.slice(source.end + 1, source.end + 1 + count);
  }

  settle(accepted: number): void {
    if (this.#proposed === null) return;
    const { kind, end, matched, count } = this.#proposed;
    this.#length.learn(kind, matched, count, accepted);
    if (accepted > 0 || this.#copiedTo === -1) this.#copiedTo = end + accepted;
    this.#proposed = null;
  }

  #source(ids: Uint32Array): Source | null {
    const { length, end } = this.#automaton.repetition;
    if (length < LONG_REPETITION) {
      const nearby = this.#nearby(ids);
      // Without a change of place a short repetition is chance; with one it is where the edit rejoins the text.
      if (
        nearby !== null &&
        this.#length.chance(NEARBY, nearby.matched) >= this.#length.chance(ANYWHERE, length)
      ) {
        return nearby;
      }
    }
    return length === 0 ? null : { kind: ANYWHERE, end, matched: length };
  }

  /** The place around the one copied from last whose tokens before it agree longest with the end of `ids`. */
  #nearby(ids: Uint32Array): Source | null {
    if (this.#copiedTo === -1) return null;
    const first = Math.max(0, this.#copiedTo - SEARCH_BACK);
    const last = Math.min(ids.length - 2, this.#copiedTo + SEARCH_AHEAD);
    let best: Source | null = null;
    for (let end = first; end <= last; end++) {
      const matched = agreement(ids, end);
      if (matched === 0) continue;
      const isCloser =
        best === null || Math.abs(end - this.#copiedTo - 1) < Math.abs(best.end - this.#copiedTo - 1);
      if (best === null || matched > best.matched || (matched === best.matched && isCloser)) {
        best = { kind: NEARBY, end, matched };
      }
    }
    return best;
  }
}

/** How many tokens up to `end` equal those at the end of `ids`. */
function agreement(ids: Uint32Array, end: number): number {
  let count = 0;
  while (count < LONG_REPETITION && end - count >= 0 && ids[end - count] === ids[ids.length - 1 - count])
    count++;
  return count;
}
