/** Merges the characters of one word into pieces: always the best-ranked neighbouring pair, the leftmost of equals. */
import type { MergeTable } from './merge-table.ts';
import type { PieceIndex, Vocabulary } from './vocabulary.ts';

/** Up to here looking through all pairs for the best one beats keeping a heap. */
const SCAN_LIMIT = 48;
const NO_MERGE = -1;

/** Ids so far; grows. */
export class IdBuffer {
  #ids = new Uint32Array(1024);
  length = 0;

  push(id: number): void {
    if (this.length === this.#ids.length) this.#grow();
    this.#ids[this.length++] = id;
  }

  at(index: number): number {
    return this.#ids[index]!;
  }

  #grow(): void {
    const larger = new Uint32Array(this.#ids.length * 2);
    larger.set(this.#ids);
    this.#ids = larger;
  }

  take(): Uint32Array {
    return this.#ids.slice(0, this.length);
  }
}

export class WordMerger {
  readonly #vocabulary: Vocabulary;
  readonly #index: PieceIndex;
  readonly #merges: MergeTable;
  /** Symbol i is bytes [start[i], end[i]) with piece id[i]; merge[i] joins it with next[i]. */
  #start = new Int32Array(0);
  #end = new Int32Array(0);
  #id = new Int32Array(0);
  #merge = new Int32Array(0);
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  #heap = new MergeHeap();

  constructor(vocabulary: Vocabulary, index: PieceIndex, merges: MergeTable) {
    this.#vocabulary = vocabulary;
    this.#index = index;
    this.#merges = merges;
  }

  /** Appends the pieces of `bytes[0, length)`, valid UTF-8 with spaces written as U+2581. */
  append(bytes: Uint8Array, length: number, out: IdBuffer): void {
    const count = this.#split(bytes, length);
    for (let i = 0; i + 1 < count; i++) this.#merge[i] = this.#pair(bytes, i, i + 1);
    if (count <= SCAN_LIMIT) this.#mergeByScan(bytes, count);
    else this.#mergeByHeap(bytes, count);

    for (let i = 0; i !== count; i = this.#next[i]!) {
      const id = this.#id[i]!;
      if (id >= 0) out.push(id);
      else
        for (let b = this.#start[i]!; b < this.#end[i]!; b++) out.push(this.#vocabulary.byteIds[bytes[b]!]!);
    }
  }

  /** One symbol per character; returns how many. The last one's `next` is that count. */
  #split(bytes: Uint8Array, length: number): number {
    if (this.#start.length < length) this.#reserve(length);
    let count = 0;
    for (let at = 0; at < length; ) {
      const first = bytes[at]!;
      const width = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
      const end = Math.min(length, at + width);
      this.#start[count] = at;
      this.#end[count] = end;
      this.#id[count] = this.#index.find(bytes, at, end);
      this.#previous[count] = count - 1;
      this.#next[count] = count + 1;
      this.#merge[count] = NO_MERGE;
      count++;
      at = end;
    }
    return count;
  }

  #reserve(length: number): void {
    const size = Math.max(256, length * 2);
    this.#start = new Int32Array(size);
    this.#end = new Int32Array(size);
    this.#id = new Int32Array(size);
    this.#merge = new Int32Array(size);
    this.#next = new Int32Array(size);
    this.#previous = new Int32Array(size);
  }

  #pair(bytes: Uint8Array, left: number, right: number): number {
    return this.#merges.find(this.#id[left]!, this.#id[right]!, bytes, this.#start[left]!, this.#end[right]!);
  }

  /** Joins symbol `left` with its neighbour and looks at the two pairs this makes. */
  #join(bytes: Uint8Array, left: number, count: number): void {
    const right = this.#next[left]!;
    const after = this.#next[right]!;
    this.#id[left] = this.#merges.results[this.#merge[left]!]!;
    this.#end[left] = this.#end[right]!;
    this.#next[left] = after;
    this.#merge[right] = NO_MERGE;
    // An empty symbol: entries of the heap that still name it are stale.
    this.#end[right] = this.#start[right]!;
    if (after < count) {
      this.#previous[after] = left;
      this.#merge[left] = this.#pair(bytes, left, after);
    } else {
      this.#merge[left] = NO_MERGE;
    }
    const before = this.#previous[left]!;
    if (before >= 0) this.#merge[before] = this.#pair(bytes, before, left);
  }

  #mergeByScan(bytes: Uint8Array, count: number): void {
    const { ranks } = this.#merges;
    for (;;) {
      let best = -1;
      let bestRank = 0x7fffffff;
      for (let i = 0; i < count; i = this.#next[i]!) {
        const merge = this.#merge[i]!;
        if (merge !== NO_MERGE && ranks[merge]! < bestRank) {
          best = i;
          bestRank = ranks[merge]!;
        }
      }
      if (best < 0) return;
      this.#join(bytes, best, count);
    }
  }

  #mergeByHeap(bytes: Uint8Array, count: number): void {
    const heap = this.#heap;
    heap.clear();
    const add = (left: number): void => {
      const merge = this.#merge[left]!;
      if (merge === NO_MERGE) return;
      const width = this.#end[this.#next[left]!]! - this.#start[left]!;
      heap.push(this.#merges.ranks[merge]!, left, width);
    };
    for (let i = 0; i + 1 < count; i++) add(i);
    while (heap.pop()) {
      const left = heap.position;
      // Symbols only grow: if either side has changed since, the widths differ and a newer entry exists.
      const stale =
        this.#merge[left] === NO_MERGE || this.#end[this.#next[left]!]! - this.#start[left]! !== heap.width;
      if (stale) continue;
      this.#join(bytes, left, count);
      add(left);
      const before = this.#previous[left]!;
      if (before >= 0) add(before);
    }
  }
}

/** A binary heap of (rank, position), lowest first, on typed arrays. */
class MergeHeap {
  #keys = new Float64Array(256);
  #widths = new Int32Array(256);
  #length = 0;
  /** Of the entry that `pop` took. */
  position = 0;
  width = 0;

  clear(): void {
    this.#length = 0;
  }

  push(rank: number, position: number, width: number): void {
    if (this.#length === this.#keys.length) {
      const keys = new Float64Array(this.#length * 2);
      keys.set(this.#keys);
      this.#keys = keys;
      const widths = new Int32Array(this.#length * 2);
      widths.set(this.#widths);
      this.#widths = widths;
    }
    // Both parts are below 2^31 and ranks below 2^20: exact in a double.
    const key = rank * 2 ** 32 + position;
    let at = this.#length++;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (this.#keys[parent]! <= key) break;
      this.#keys[at] = this.#keys[parent]!;
      this.#widths[at] = this.#widths[parent]!;
      at = parent;
    }
    this.#keys[at] = key;
    this.#widths[at] = width;
  }

  /** Takes the lowest entry into `position` and `width`; false if there is none. */
  pop(): boolean {
    if (this.#length === 0) return false;
    this.position = this.#keys[0]! % 2 ** 32;
    this.width = this.#widths[0]!;
    const last = --this.#length;
    const key = this.#keys[last]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && this.#keys[child + 1]! < this.#keys[child]!) child++;
      if (this.#keys[child]! >= key) break;
      this.#keys[at] = this.#keys[child]!;
      this.#widths[at] = this.#widths[child]!;
      at = child;
    }
    this.#keys[at] = key;
    this.#widths[at] = this.#widths[last]!;
    return true;
  }
}
