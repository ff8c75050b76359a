/**
 * The lexical index of a workspace: which texts have the words of a question, scored as relevance.ts scores passages. Segments as in
 * a log-structured merge tree: what changed becomes a small one, small ones are merged, and texts that are gone are only marked until
 * they are many. A text that comes back, or that an index on disk knows, is not looked at again.
 */
import type { Query } from '../question.ts';
import { Scoring, termScore } from '../relevance.ts';
import { KEY_BYTES, keyOf, merged, postingsOf, type Segment, SegmentBuilder } from './segment.ts';

export interface IndexedText {
  /** Chosen by the caller; small, since scores are told by it. */
  readonly id: number;
  readonly path: string;
  readonly text: string;
}

/** Postings looked at before they become a segment: bounds what is held meanwhile. */
const POSTINGS_OF_SEGMENT = 1_000_000;
/** Texts that are gone are dropped when they are more than this share of all, and not just a few. */
const MOST_GONE = 1 / 4;
const FEW = 256;

interface Part {
  readonly segment: Segment;
  /** For each text its id; -1 where it is gone. */
  readonly ids: Int32Array;
}

export class LexicalIndex {
  private parts: Part[] = [];
  /** By id: where a text stands. */
  private readonly places = new Map<number, { part: Part; document: number }>();
  /** Texts that are gone, by key. */
  private gone = new Map<string, { readonly part: Part; readonly document: number }>();
  /** Texts looked at since the last segment was made, and their ids. */
  private builder = new SegmentBuilder();
  private building: number[] = [];
  private length = 0;
  private unsaved = 0;

  /** Begins with the texts of `stored`, all gone until they are added. */
  constructor(stored: Segment | null = null) {
    if (!stored) return;
    const part = { segment: stored, ids: new Int32Array(stored.documents).fill(-1) };
    this.parts.push(part);
    for (let i = 0; i < stored.documents; i++) this.gone.set(keyAt(stored, i), { part, document: i });
  }

  /** Characters of texts looked at since {@link whole} was last asked for. */
  get unsavedCharacters(): number {
    return this.unsaved;
  }

  get texts(): number {
    return this.places.size + this.building.length;
  }

  /** First takes away, then adds. */
  update(removed: readonly number[], added: readonly IndexedText[]): void {
    for (const id of removed) this.remove(id);
    for (const { id, path, text } of added) {
      const key = keyOf(path, text);
      const name = Buffer.from(key).toString('base64');
      const before = this.gone.get(name);
      if (before) {
        this.gone.delete(name);
        this.place(before.part, before.document, id);
        continue;
      }
      this.builder.add(key, path, text);
      this.building.push(id);
      this.unsaved += text.length;
      if (this.builder.postings > POSTINGS_OF_SEGMENT) this.flush();
    }
  }

  /** By id, as scorePassages scores the same texts; 0 where no word occurs. */
  search(query: Query): Float64Array<ArrayBuffer> {
    this.flush();
    if (this.gone.size > FEW + this.places.size * MOST_GONE) this.merge(0);
    const found = [...query.words.keys()].map((word) => this.parts.map((part) => living(part, word)));
    const holding = new Map(
      [...query.words.keys()].map((word, w) => [
        word,
        found[w]!.reduce((sum, { documents }) => sum + documents.length, 0),
      ]),
    );
    const scoring = new Scoring(query, this.places.size, this.length, holding);
    const of = new Map([...query.words.keys()].map((word, w) => [word, found[w]!]));
    const scores = new Float64Array(this.most() + 1);
    for (const [p, { segment, ids }] of this.parts.entries()) {
      const score = new Float64Array(segment.documents);
      const breadth = new Float64Array(segment.documents);
      for (const term of scoring.terms) {
        const { documents, values } = of.get(term.word)![p]!;
        for (const [i, document] of documents.entries()) {
          const value = values[i]!;
          breadth[document]! += term.rarity;
          const norm = scoring.norm(segment.lengths[document]!);
          score[document]! += termScore(term, value >>> 1, (value & 1) === 1, norm);
        }
      }
      for (let i = 0; i < ids.length; i++) {
        if (score[i]! > 0) scores[ids[i]!] = scoring.total(score[i]!, breadth[i]!);
      }
    }
    return scores;
  }

  /** All texts as one segment, for keeping. */
  whole(): Segment {
    this.flush();
    if (this.parts.length !== 1 || this.gone.size > 0) this.merge(0);
    this.unsaved = 0;
    return this.parts[0]?.segment ?? new SegmentBuilder().finish();
  }

  private most(): number {
    let most = -1;
    for (const id of this.places.keys()) if (id > most) most = id;
    return most;
  }

  private flush(): void {
    if (this.building.length === 0) return;
    const part = { segment: this.builder.finish(), ids: Int32Array.from(this.building) };
    this.builder = new SegmentBuilder();
    this.building = [];
    this.append(part);
  }

  private remove(id: number): void {
    if (!this.places.has(id)) this.flush();
    const place = this.places.get(id);
    if (!place) return;
    const { part, document } = place;
    part.ids[document] = -1;
    this.places.delete(id);
    this.length -= part.segment.lengths[document]!;
    this.gone.set(keyAt(part.segment, document), { part, document });
  }

  private place(part: Part, document: number, id: number): void {
    part.ids[document] = id;
    this.places.set(id, { part, document });
    this.length += part.segment.lengths[document]!;
  }

  /** Merges the last segments while each is at least half as large as the one before it. */
  private append(part: Part): void {
    this.parts.push(part);
    for (const [document, id] of part.ids.entries()) this.place(part, document, id);
    let from = this.parts.length - 1;
    while (from > 0 && sizeFrom(this.parts, from) * 2 >= this.parts[from - 1]!.segment.postings.length)
      from--;
    if (from < this.parts.length - 1) this.merge(from);
  }

  /** The segments from `from` on become one, without the texts that are gone. */
  private merge(from: number): void {
    const last = this.parts.slice(from);
    const ids: number[] = [];
    const numbered = last.map(({ segment, ids: own }) => ({
      segment,
      numbers: Int32Array.from(own, (id) => (id < 0 ? -1 : ids.push(id) - 1)),
    }));
    const part = { segment: merged(numbered), ids: Int32Array.from(ids) };
    this.parts = [...this.parts.slice(0, from), part];
    for (const [document, id] of ids.entries()) this.places.set(id, { part, document });
    const dropped = new Set(last);
    this.gone = new Map([...this.gone].filter(([, place]) => !dropped.has(place.part)));
  }
}

function living({ segment, ids }: Part, word: string): { documents: number[]; values: number[] } {
  const documents: number[] = [];
  const values: number[] = [];
  postingsOf(segment, word, (document, weight, defined) => {
    if (ids[document]! < 0) return;
    documents.push(document);
    values.push(2 * weight + (defined ? 1 : 0));
  });
  return { documents, values };
}

function sizeFrom(parts: readonly Part[], from: number): number {
  return parts.slice(from).reduce((sum, { segment }) => sum + segment.postings.length, 0);
}

function keyAt({ keys }: Segment, document: number): string {
  return Buffer.from(keys.subarray(document * KEY_BYTES, (document + 1) * KEY_BYTES)).toString('base64');
}
