/** How well a piece of text answers a question: BM25 over stems, with more for paths, definitions and breadth. */
import type { Query } from './question.ts';
import { inSlices } from './slices.ts';
import { identifiersOf, stem, wholeOf, wordsOf } from './words.ts';

/** Usual values of Okapi BM25: how fast repeated words saturate, and how much length matters. */
const K1 = 1.2;
const B = 0.75;
/** A word in a path, or in the line that defines it, says more than one in passing. */
const PATH_WEIGHT = 2;
const DEFINITION_WEIGHT = 4;
/** Share of a score that depends on how much of the question occurs at all: two words once beat one word twice. */
const BREADTH = 0.5;
/** The definition of an identifier that the question names, in units of that word's rarity. */
const NAMED_DEFINITION = 3;

const DEFINITION =
  /\b(?:function|class|interface|type|enum|struct|trait|impl|def|fn|func|const|let|var|val|module|namespace|macro_rules!|define|record|object|package)(?:\s{1,8}|\s?\*\s?)(?<name>[\p{L}_$][\p{L}\p{N}_$]*)/gu;

/** The words of a piece of text that can be found, with their weight. */
export interface Passage {
  readonly frequencies: ReadonlyMap<string, number>;
  /** Stems of the identifiers that are defined in it. */
  readonly defines: ReadonlySet<string>;
  readonly length: number;
}

export function passageOf(path: string, text: string): Passage {
  const frequencies = new Map<string, number>();
  const defines = new Set<string>();
  const add = (word: string, weight: number) => frequencies.set(word, (frequencies.get(word) ?? 0) + weight);
  const words = wordsOf(text);
  for (const word of words) add(word, 1);
  for (const word of wordsOf(path)) add(word, PATH_WEIGHT);
  for (const match of text.matchAll(DEFINITION)) {
    const name = match.groups?.['name'] ?? '';
    defines.add(stem(wholeOf(name)));
    for (const word of wordsOf(name)) add(word, DEFINITION_WEIGHT);
  }
  return { frequencies, defines, length: words.length };
}

/** Identifiers remembered; texts of one workspace share most of theirs. */
const MOST_REMEMBERED = 500_000;

/** {@link passageOf} with the words of one query alone: what else a text holds is counted but not kept. */
export function passageMaker(query: Query): (path: string, text: string) => Passage {
  const remembered = new Map<string, { readonly count: number; readonly hits: readonly string[] }>();
  const lookAt = (identifier: string) => {
    let known = remembered.get(identifier);
    if (!known) {
      const words = wordsOf(identifier);
      known = { count: words.length, hits: words.filter((word) => query.words.has(word)) };
      if (remembered.size < MOST_REMEMBERED) remembered.set(identifier, known);
    }
    return known;
  };
  return (path, text) => {
    const frequencies = new Map<string, number>();
    const add = (word: string, weight: number) =>
      frequencies.set(word, (frequencies.get(word) ?? 0) + weight);
    let length = 0;
    for (const identifier of identifiersOf(text)) {
      const { count, hits } = lookAt(identifier);
      length += count;
      for (const word of hits) add(word, 1);
    }
    const inText = frequencies.size > 0;
    for (const identifier of identifiersOf(path))
      for (const word of lookAt(identifier).hits) add(word, PATH_WEIGHT);
    const defines = new Set<string>();
    if (inText) {
      for (const match of text.matchAll(DEFINITION)) {
        const name = match.groups?.['name'] ?? '';
        const { hits } = lookAt(name);
        if (hits.length === 0) continue;
        defines.add(stem(wholeOf(name)));
        for (const word of hits) add(word, DEFINITION_WEIGHT);
      }
    }
    return { frequencies, defines, length };
  };
}

/** A score for each passage; 0 where no word of the question occurs. */
export function scorePassages(passages: readonly Passage[], query: Query): Float64Array {
  const scorer = new Scorer(query);
  for (const passage of passages) scorer.count(passage);
  return Float64Array.from(passages, (passage) => scorer.score(passage));
}

/** The same for many passages, letting other work in between. */
export async function scoreInSlices(
  passages: readonly Passage[],
  query: Query,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const scorer = new Scorer(query);
  await inSlices(passages, (passage) => scorer.count(passage), signal);
  const scores = new Float64Array(passages.length);
  await inSlices(
    passages,
    (passage, i) => {
      scores[i] = scorer.score(passage);
    },
    signal,
  );
  return scores;
}

/** Counts all passages first, then scores each. */
class Scorer {
  private readonly query: Query;
  private readonly holding: Map<string, number>;
  private passages = 0;
  private length = 0;
  private rarities: Map<string, number> | null = null;
  private whole = 0;

  constructor(query: Query) {
    this.query = query;
    this.holding = new Map([...query.words.keys()].map((word) => [word, 0]));
  }

  count({ frequencies, length }: Passage): void {
    this.passages++;
    this.length += length;
    for (const [word, count] of this.holding) if (frequencies.has(word)) this.holding.set(word, count + 1);
  }

  score({ frequencies, defines, length }: Passage): number {
    this.rarities ??= this.raritiesOf();
    const norm = K1 * (1 - B + (B * length) / Math.max(1, this.length / Math.max(1, this.passages)));
    let score = 0;
    let breadth = 0;
    for (const [word, rarity] of this.rarities) {
      const f = frequencies.get(word);
      if (f === undefined) continue;
      breadth += rarity;
      score += (rarity * f * (K1 + 1)) / (f + norm);
      if (this.query.identifiers.has(word) && defines.has(word)) score += rarity * NAMED_DEFINITION;
    }
    return score * (1 - BREADTH + (BREADTH * breadth) / Math.max(this.whole, 1e-9));
  }

  private raritiesOf(): Map<string, number> {
    const rarities = new Map<string, number>();
    for (const [word, weight] of this.query.words) {
      const holding = this.holding.get(word)!;
      if (holding === 0) continue;
      const rarity = weight * Math.log(1 + (this.passages - holding + 0.5) / (holding + 0.5));
      rarities.set(word, rarity);
      this.whole += rarity;
    }
    return rarities;
  }
}
