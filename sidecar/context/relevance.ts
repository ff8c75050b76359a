/** How well a piece of text answers a question: BM25 over stems, with more for paths, definitions and breadth. */
import type { Query } from './question.ts';
import { inSlices } from './slices.ts';
import { identifiersOf, wordsOf } from './words.ts';

/** Usual values of Okapi BM25: how fast repeated words saturate, and how much length matters. */
const K1 = 1.2;
const B = 0.75;
/** A word in a path, or in the line that defines it, says more than one in passing. */
const PATH_WEIGHT = 2;
const DEFINITION_WEIGHT = 4;
/** What is said of the whole file says something of each of its parts. */
const HEADING_WEIGHT = 0.5;
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

/**
 * Tells of each word that can be found in `text` or by its path, with its weight, several times where it stands several times, and
 * of each that is defined in it. `termsOf` gives the words of an identifier, the whole one first. Returns the words of the text.
 */
export function wordsIn<T>(
  path: string,
  text: string,
  termsOf: (identifier: string) => readonly T[],
  add: (term: T, weight: number) => void,
  define: (term: T) => void,
): number {
  let length = 0;
  for (const identifier of identifiersOf(text)) {
    const terms = termsOf(identifier);
    length += terms.length;
    for (const term of terms) add(term, 1);
  }
  for (const identifier of identifiersOf(path))
    for (const term of termsOf(identifier)) add(term, PATH_WEIGHT);
  for (const match of text.matchAll(DEFINITION)) {
    const terms = termsOf(match.groups?.['name'] ?? '');
    if (terms.length > 0) define(terms[0]!);
    for (const term of terms) add(term, DEFINITION_WEIGHT);
  }
  return length;
}

/** `heading`: what the file that the text is from says of itself. */
export function passageOf(path: string, text: string, heading = ''): Passage {
  const frequencies = new Map<string, number>();
  const defines = new Set<string>();
  const add = (word: string, weight: number) => frequencies.set(word, (frequencies.get(word) ?? 0) + weight);
  const length = wordsIn(path, text, wordsOf, add, (word) => defines.add(word));
  for (const word of wordsOf(heading)) add(word, HEADING_WEIGHT);
  return { frequencies, defines, length };
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
  private ready: Scoring | null = null;

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
    this.ready ??= new Scoring(this.query, this.passages, this.length, this.holding);
    const norm = this.ready.norm(length);
    let score = 0;
    let breadth = 0;
    for (const term of this.ready.terms) {
      const frequency = frequencies.get(term.word);
      if (frequency === undefined) continue;
      breadth += term.rarity;
      score += termScore(term, frequency, defines.has(term.word), norm);
    }
    return this.ready.total(score, breadth);
  }
}

export interface ScoredTerm {
  readonly word: string;
  readonly rarity: number;
  /** An identifier of the question, whose definition counts for more. */
  readonly named: boolean;
}

/** What a term adds to the score of a passage that has it so many times. */
export function termScore(
  { rarity, named }: ScoredTerm,
  frequency: number,
  defined: boolean,
  norm: number,
): number {
  const bm25 = (rarity * frequency * (K1 + 1)) / (frequency + norm);
  return named && defined ? bm25 + rarity * NAMED_DEFINITION : bm25;
}

/** The part of the score that is the same for all passages. */
export class Scoring {
  /** In the order of the question; only those that some passage has. */
  readonly terms: readonly ScoredTerm[];
  private readonly averageLength: number;
  private readonly whole: number;

  /** `holding`: how many of the `passages`, of `length` words together, have each word. */
  constructor(query: Query, passages: number, length: number, holding: ReadonlyMap<string, number>) {
    this.averageLength = Math.max(1, length / Math.max(1, passages));
    this.terms = [...query.words].flatMap(([word, weight]) => {
      const having = holding.get(word) ?? 0;
      if (having === 0) return [];
      const rarity = weight * Math.log(1 + (passages - having + 0.5) / (having + 0.5));
      return [{ word, rarity, named: query.identifiers.has(word) }];
    });
    this.whole = this.terms.reduce((sum, { rarity }) => sum + rarity, 0);
  }

  norm(length: number): number {
    return K1 * (1 - B + (B * length) / this.averageLength);
  }

  /** `score` and `breadth` are the sums of {@link termScore} and of rarities over the terms that a passage has. */
  total(score: number, breadth: number): number {
    return score * (1 - BREADTH + (BREADTH * breadth) / Math.max(this.whole, 1e-9));
  }
}
