/**
 * Postings of some texts, never changed once made: for each word the texts that have it, with its weight there. Words stand by a
 * hash of 64 bits, so that no word is kept. In memory as on disk:
 *
 *   keys      [documents][16]  what a text and its path hash to
 *   lengths   [documents] u32  words of the text
 *   words     [words][2]  u32  high and low half of the hash, ascending
 *   ends      [words]     u32  where its postings end
 *   postings  for each text with the word: number of texts skipped, weight * 2 + (1 where it is defined there)
 */
import { createHash } from 'node:crypto';
import { wordsIn } from '../relevance.ts';
import { wordsOf } from '../words.ts';
import { ByteWriter, readPairs } from './varint.ts';

export interface Segment {
  readonly documents: number;
  readonly keys: Uint8Array;
  readonly lengths: Uint32Array;
  readonly words: Uint32Array;
  readonly ends: Uint32Array;
  readonly postings: Uint8Array;
}

export const KEY_BYTES = 16;

/** The same for the same text at the same path. */
export function keyOf(path: string, text: string): Uint8Array {
  return createHash('sha256').update(`${path}\0${text}`).digest().subarray(0, KEY_BYTES);
}

/** `visit` is called for each text that has the word, in ascending order. */
export function postingsOf(
  segment: Segment,
  word: string,
  visit: (document: number, weight: number, defined: boolean) => void,
): void {
  const at = find(segment.words, hashOf(word));
  if (at >= 0) visitPostings(segment, at, visit);
}

/** Of the word at index `at`. */
export function visitPostings(
  { ends, postings, documents }: Segment,
  at: number,
  visit: (document: number, weight: number, defined: boolean) => void,
): void {
  let next = 0;
  readPairs(postings, at === 0 ? 0 : ends[at - 1]!, ends[at]!, (skipped, value) => {
    const document = next + skipped;
    next = document + 1;
    if (document < documents) visit(document, value >>> 1, (value & 1) === 1);
  });
}

/** Texts that are looked at once; {@link finish} makes a segment of them. */
export class SegmentBuilder {
  private readonly keys: Uint8Array[] = [];
  private readonly lengths: number[] = [];
  /** Words by number, in order of their first appearance. */
  private readonly numbers = new Map<string, number>();
  private readonly ofIdentifier = new Map<string, readonly number[]>();
  /** Of the text that is looked at: weight * 2 + defined, by word. */
  private readonly values: number[] = [];
  /** Word, document, value. */
  private entries = new Uint32Array(3 * 4096);
  private count = 0;

  get postings(): number {
    return this.count;
  }

  add(key: Uint8Array, path: string, text: string): void {
    const document = this.lengths.length;
    const touched: number[] = [];
    const { values } = this;
    const add = (word: number, weight: number) => {
      if (values[word] === 0) touched.push(word);
      values[word]! += 2 * weight;
    };
    const define = (word: number) => {
      if (values[word] === 0) touched.push(word);
      values[word]! |= 1;
    };
    this.lengths.push(wordsIn(path, text, (identifier) => this.numbersOf(identifier), add, define));
    this.keys.push(key);
    for (const word of touched) {
      this.push(word, document, values[word]!);
      values[word] = 0;
    }
  }

  finish(): Segment {
    const words = this.numbers.size;
    const hashes = [...this.numbers.keys()].map(hashOf);
    const order = Uint32Array.from({ length: words }, (_, i) => i).sort((a, b) =>
      compare(hashes[a]!, hashes[b]!),
    );
    const rank = new Uint32Array(words);
    for (const [i, word] of order.entries()) rank[word] = i;
    // Entries of a word stand in order of their texts already: counting sort keeps that.
    const starts = new Uint32Array(words + 1);
    for (let i = 0; i < this.count; i++) starts[rank[this.entries[3 * i]!]! + 1]!++;
    for (let i = 0; i < words; i++) starts[i + 1]! += starts[i]!;
    const places = starts.slice();
    const sorted = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) sorted[places[rank[this.entries[3 * i]!]!]!++] = i;
    const ends = new Uint32Array(words);
    const postings = new ByteWriter();
    for (let word = 0; word < words; word++) {
      let next = 0;
      for (let i = starts[word]!; i < starts[word + 1]!; i++) {
        const document = this.entries[3 * sorted[i]! + 1]!;
        postings.number(document - next);
        postings.number(this.entries[3 * sorted[i]! + 2]!);
        next = document + 1;
      }
      ends[word] = postings.length;
    }
    return {
      documents: this.lengths.length,
      keys: joined(this.keys),
      lengths: Uint32Array.from(this.lengths),
      words: Uint32Array.from(Array.from(order).flatMap((word) => hashes[word]!)),
      ends,
      postings: postings.finish(),
    };
  }

  private numbersOf(identifier: string): readonly number[] {
    const known = this.ofIdentifier.get(identifier);
    if (known) return known;
    const numbers = wordsOf(identifier).map((word) => {
      const number = this.numbers.get(word) ?? this.numbers.size;
      if (number === this.numbers.size) {
        this.numbers.set(word, number);
        this.values.push(0);
      }
      return number;
    });
    this.ofIdentifier.set(identifier, numbers);
    return numbers;
  }

  private push(word: number, document: number, value: number): void {
    if (3 * (this.count + 1) > this.entries.length) {
      const larger = new Uint32Array(2 * this.entries.length);
      larger.set(this.entries);
      this.entries = larger;
    }
    const at = 3 * this.count++;
    this.entries[at] = word;
    this.entries[at + 1] = document;
    this.entries[at + 2] = value;
  }
}

export interface MergePart {
  readonly segment: Segment;
  /** For each text its number in the merged segment, ascending over all parts; -1 for one that is left out. */
  readonly numbers: Int32Array;
}

/** One segment with the texts of several. */
export function merged(parts: readonly MergePart[]): Segment {
  const keys: Uint8Array[] = [];
  const lengths: number[] = [];
  for (const { segment, numbers } of parts) {
    for (let i = 0; i < segment.documents; i++) {
      if (numbers[i]! < 0) continue;
      keys.push(segment.keys.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES));
      lengths.push(segment.lengths[i]!);
    }
  }
  const at = parts.map(() => 0);
  const words: number[] = [];
  const ends: number[] = [];
  const postings = new ByteWriter();
  for (;;) {
    let high = -1;
    let low = -1;
    for (let p = 0; p < parts.length; p++) {
      const { segment } = parts[p]!;
      if (at[p]! >= segment.ends.length) continue;
      const h = segment.words[2 * at[p]!]!;
      const l = segment.words[2 * at[p]! + 1]!;
      if (high < 0 || h < high || (h === high && l < low)) {
        high = h;
        low = l;
      }
    }
    if (high < 0) break;
    const before = postings.length;
    let next = 0;
    for (let p = 0; p < parts.length; p++) {
      const { segment, numbers } = parts[p]!;
      const i = at[p]!;
      if (i >= segment.ends.length || segment.words[2 * i] !== high || segment.words[2 * i + 1] !== low)
        continue;
      at[p] = i + 1;
      visitPostings(segment, i, (document, weight, defined) => {
        const number = numbers[document]!;
        if (number < 0) return;
        postings.number(number - next);
        postings.number(2 * weight + (defined ? 1 : 0));
        next = number + 1;
      });
    }
    if (postings.length === before) continue;
    words.push(high, low);
    ends.push(postings.length);
  }
  return {
    documents: lengths.length,
    keys: joined(keys),
    lengths: Uint32Array.from(lengths),
    words: Uint32Array.from(words),
    ends: Uint32Array.from(ends),
    postings: postings.finish(),
  };
}

function joined(keys: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(keys.length * KEY_BYTES);
  for (const [i, key] of keys.entries()) all.set(key, i * KEY_BYTES);
  return all;
}

type Hash = readonly [high: number, low: number];

/** cyrb53 with all of its 64 bits: two rounds of multiplication that see every character, mixed at the end. */
function hashOf(word: string): Hash {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < word.length; i++) {
    const unit = word.charCodeAt(i);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return [b >>> 0, a >>> 0];
}

function compare(a: Hash, b: Hash): number {
  return a[0] - b[0] || a[1] - b[1];
}

/** Index of `hash` in ascending pairs; -1 where it is not among them. */
function find(words: Uint32Array, [high, low]: Hash): number {
  let first = 0;
  let last = words.length / 2 - 1;
  while (first <= last) {
    const middle = (first + last) >>> 1;
    const difference = words[2 * middle]! - high || words[2 * middle + 1]! - low;
    if (difference === 0) return middle;
    if (difference < 0) first = middle + 1;
    else last = middle - 1;
  }
  return -1;
}
