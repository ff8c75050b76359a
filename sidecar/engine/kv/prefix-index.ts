/**
 * Finds where a new prompt can go on. A kept state of n tokens serves a prompt that shares its first s tokens up to any
 * length r <= min(s, n), provided the local layers still hold the window before r, and the global ones as F16 what a token
 * there reads as F16; what lies further behind global layers always hold.
 */
import { PAGE_POSITIONS } from '../backend/backend.ts';
import type { KvLayout } from './layout.ts';

export interface Resumable {
  readonly ids: Uint32Array;
  /** First page that the local layers still hold. */
  readonly firstLocalPage: number;
  /** First page, behind those that are always F16, that the global layers still hold as F16. */
  readonly firstHotPage: number;
}

export interface PrefixMatch<T> {
  readonly state: T;
  /** Tokens of the prompt whose keys and values can be used. */
  readonly length: number;
}

/** The longest match of at least one and at most `most` tokens. */
export function findLongestPrefix<T extends Resumable>(
  states: Iterable<T>,
  prompt: Uint32Array,
  most: number,
  layout: KvLayout,
): PrefixMatch<T> | null {
  let best: PrefixMatch<T> | null = null;
  for (const state of states) {
    const length = Math.min(sharedLength(state.ids, prompt), most);
    if (length >= shortestResume(state, layout) && length > (best?.length ?? 0)) {
      best = { state, length };
    }
  }
  return best;
}

/** The least length at which what is missing is no longer read: local pages before the window, hot ones before cold ones. */
function shortestResume({ firstLocalPage, firstHotPage }: Resumable, { window, cold }: KvLayout): number {
  const byWindow = firstLocalPage === 0 ? 1 : firstLocalPage * PAGE_POSITIONS + window - 1;
  const byHeat =
    firstHotPage === (cold?.exactPages ?? 0)
      ? 1
      : (firstHotPage + (cold?.hotPages ?? 0) - 1) * PAGE_POSITIONS;
  return Math.max(byWindow, byHeat);
}

export function sharedLength(a: Uint32Array, b: Uint32Array): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a[i] === b[i]) i++;
  return i;
}
