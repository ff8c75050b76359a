/** Byte-pair merges from an ordered list (`tokenizer.ggml.merges`, "left right" each): the earliest merge first. */
import { GgufError, quoted } from '../model/gguf-error.ts';
import type { PackedStrings } from '../model/gguf-metadata.ts';
import type { MergeTable } from './merge-table.ts';
import type { PieceIndex } from './vocabulary.ts';

const SPACE = 0x20;
/** Merges whose parts or result lie outside the vocabulary (a truncated array) cannot happen and are left out. */
export function bytePairMerges(merges: PackedStrings, index: PieceIndex): MergeTable {
  const count = merges.length;
  const results = new Int32Array(count);
  const byPair = new PairMap(count);
  const joined = new Uint8Array(2048);
  for (let rank = 0; rank < count; rank++) {
    const text = merges.at(rank);
    // A merge may itself start with a space-like piece, so the separator is looked for from the second byte.
    const separator = text.indexOf(SPACE, 1);
    if (separator < 0 || separator === text.length - 1) {
      throw new GgufError(
        'invalid',
        'tokenizer.ggml.merges',
        0,
        `tokenizer.ggml.merges[${rank}] is ${quoted(merges.text(rank))}, not two pieces with a space between.`,
      );
    }
    joined.set(text.subarray(0, separator));
    joined.set(text.subarray(separator + 1), separator);
    const left = index.find(text, 0, separator);
    const right = index.find(text, separator + 1, text.length);
    const result = index.find(joined, 0, text.length - 1);
    if (left < 0 || right < 0 || result < 0) continue;
    results[rank] = result;
    byPair.addFirst(left, right, rank);
  }
  return {
    find: (left, right) => (left < 0 || right < 0 ? -1 : byPair.get(left, right)),
    ranks: Int32Array.from({ length: count }, (_, rank) => rank),
    results,
  };
}

/** A pair of ids to a number, open-addressed: half a million entries in typed arrays instead of boxed keys. */
class PairMap {
  readonly #lefts: Int32Array;
  readonly #rights: Int32Array;
  readonly #values: Int32Array;
  readonly #mask: number;

  constructor(count: number) {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(16, count * 2)));
    this.#lefts = new Int32Array(capacity).fill(-1);
    this.#rights = new Int32Array(capacity);
    this.#values = new Int32Array(capacity);
    this.#mask = capacity - 1;
  }

  /** The slot of the pair, or the free one where it belongs. */
  #slot(left: number, right: number): number {
    const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    let slot = (mixed ^ (mixed >>> 15)) & this.#mask;
    while (this.#lefts[slot]! >= 0 && (this.#lefts[slot] !== left || this.#rights[slot] !== right)) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  /** Keeps the first value of a pair that comes twice, which has the better rank, as llama.cpp does. */
  addFirst(left: number, right: number, value: number): void {
    const slot = this.#slot(left, right);
    if (this.#lefts[slot]! >= 0) return;
    this.#lefts[slot] = left;
    this.#rights[slot] = right;
    this.#values[slot] = value;
  }

  get(left: number, right: number): number {
    const slot = this.#slot(left, right);
    return this.#lefts[slot]! < 0 ? -1 : this.#values[slot]!;
  }
}
