/** How well a piece of text answers a question: BM25 over stems, with more for paths, definitions and breadth. */
import type { Query } from './question.ts';
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
  const averageLength = passages.reduce((sum, p) => sum + p.length, 0) / Math.max(1, passages.length);
  const scores = new Float64Array(passages.length);
  const breadth = new Float64Array(passages.length);
  let whole = 0;
  for (const [word, weight] of query.words) {
    const holding = passages.reduce((count, p) => count + (p.frequencies.has(word) ? 1 : 0), 0);
    if (holding === 0) continue;
    const rarity = weight * Math.log(1 + (passages.length - holding + 0.5) / (holding + 0.5));
    const named = query.identifiers.has(word);
    whole += rarity;
    passages.forEach(({ frequencies, defines, length }, i) => {
      const f = frequencies.get(word);
      if (f === undefined) return;
      const norm = K1 * (1 - B + (B * length) / Math.max(1, averageLength));
      breadth[i]! += rarity;
      scores[i]! += (rarity * f * (K1 + 1)) / (f + norm);
      if (named && defines.has(word)) scores[i]! += rarity * NAMED_DEFINITION;
    });
  }
  return scores.map((score, i) => score * (1 - BREADTH + (BREADTH * breadth[i]!) / Math.max(whole, 1e-9)));
}
