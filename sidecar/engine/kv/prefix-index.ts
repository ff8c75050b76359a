/**
 * Finds where a new prompt can go on. A kept state of n tokens serves a prompt that shares its first s tokens up to any
 * length r <= min(s, n), provided the local layers still hold the window before r; global layers always do.
 */
import { PAGE_POSITIONS } from '../backend/backend.ts';

export interface Resumable {
  readonly ids: Uint32Array;
  /** First page that the local layers still hold. */
  readonly firstLocalPage: number;
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
  window: number,
): PrefixMatch<T> | null {
  let best: PrefixMatch<T> | null = null;
  for (const state of states) {
    const length = Math.min(sharedLength(state.ids, prompt), most);
    if (length >= shortestResume(state.firstLocalPage, window) && length > (best?.length ?? 0)) {
      best = { state, length };
    }
  }
  return best;
}

/** The least length at which the local window before it begins in page `firstLocalPage` or later. */
function shortestResume(firstLocalPage: number, window: number): number {
  return firstLocalPage === 0 ? 1 : firstLocalPage * PAGE_POSITIONS + window - 1;
}

export function sharedLength(a: Uint32Array, b: Uint32Array): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a[i] === b[i]) i++;
  return i;
}
