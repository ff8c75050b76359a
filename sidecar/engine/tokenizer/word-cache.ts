/**
 * Remembers the pieces of short words. Direct-mapped: a word that falls on another's slot takes its place, so the
 * size is fixed and nothing needs to be evicted. What is cached never changes a result.
 */
import type { IdBuffer } from './word-merger.ts';

const SLOT_BITS = 15;
const SLOTS = 1 << SLOT_BITS;
export const CACHED_WORD_BYTES = 40;
const CACHED_IDS = 16;

export class WordCache {
  readonly #words = new Uint8Array(SLOTS * CACHED_WORD_BYTES);
  readonly #wordLengths = new Uint8Array(SLOTS);
  readonly #ids = new Uint32Array(SLOTS * CACHED_IDS);
  readonly #idCounts = new Uint8Array(SLOTS);
  /** Slot of the last word that `append` did not find. */
  #missed = 0;

  /** Appends the pieces of `bytes[start, end)`, at most {@link CACHED_WORD_BYTES} long; false if they are unknown. */
  append(bytes: Uint8Array, start: number, end: number, out: IdBuffer): boolean {
    const length = end - start;
    let h = length;
    for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
    const slot = (h ^ (h >>> SLOT_BITS)) & (SLOTS - 1);
    this.#missed = slot;
    if (this.#wordLengths[slot] !== length) return false;
    const word = slot * CACHED_WORD_BYTES;
    for (let i = 0; i < length; i++) if (this.#words[word + i] !== bytes[start + i]) return false;
    const ids = slot * CACHED_IDS;
    for (let i = 0; i < this.#idCounts[slot]!; i++) out.push(this.#ids[ids + i]!);
    return true;
  }

  /** Keeps what was appended to `out` since it had `from` ids, as the pieces of the word last missed. */
  keep(bytes: Uint8Array, start: number, end: number, out: IdBuffer, from: number): void {
    const count = out.length - from;
    if (count > CACHED_IDS) return;
    const slot = this.#missed;
    const word = slot * CACHED_WORD_BYTES;
    this.#wordLengths[slot] = end - start;
    for (let i = start; i < end; i++) this.#words[word + i - start] = bytes[i]!;
    this.#idCounts[slot] = count;
    for (let i = 0; i < count; i++) this.#ids[slot * CACHED_IDS + i] = out.at(from + i);
  }
}
