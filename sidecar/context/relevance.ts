/** BM25 over words as programmers write them: identifiers count whole and in their parts, and so do the words of a path. */

/** Usual values of Okapi BM25: how fast repeated words saturate, and how much length matters. */
const K1 = 1.2;
const B = 0.75;
/** A word in a path, or in the line that defines it, says more than one in passing. */
const PATH_WEIGHT = 2;
const DEFINITION_WEIGHT = 4;
/** Words in `backticks` are what the question is about. */
const QUOTED_WEIGHT = 2;
/** The question before the current one still matters: "and where is it called?" */
const EARLIER_QUESTION_WEIGHT = 0.3;

const WORD = /[\p{L}\p{N}_$]+/gu;
const DEFINITION =
  /\b(?:function|class|interface|type|enum|struct|trait|impl|def|fn|func|const|let|var|val|module|namespace|macro_rules!|define|record|object|package)(?:\s{1,8}|\s?\*\s?)(?<name>[\p{L}_$][\p{L}\p{N}_$]*)/gu;

/** Too common in questions to tell files apart. */
const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a about all an and any are as at be by can do does explain for from give has have how i if in into is it its list ' +
    'me my of on or our please show so tell than that the their them then there these this those to us use used uses ' +
    'was we were what when where which who why will with work works you your'
  )
    .split(' ')
    .map(stem),
);

/** Lower-case words: each identifier whole, then its camelCase, snake_case and digit-separated parts. */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const [identifier] of text.matchAll(WORD)) {
    const whole = identifier.toLowerCase();
    words.push(whole);
    const parts = identifier
      .replace(/(\p{Ll}|\p{N})(\p{Lu})/gu, '$1 $2')
      .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
      .split(/[\s_$]+/)
      .filter((part) => part !== '');
    if (parts.length > 1) words.push(...parts.map((part) => part.toLowerCase()));
  }
  return words.map(stem);
}

/** Plural and singular, "resolves" and "resolve" meet; nothing cleverer. */
function stem(word: string): string {
  if (word.length > 4 && word.endsWith('ies')) return `${word.slice(0, -3)}y`;
  if (word.length > 3 && word.endsWith('s') && !word.endsWith('ss')) return word.slice(0, -1);
  return word;
}

/** The words of a piece of text that can be found, with their weight. */
export interface Passage {
  readonly frequencies: ReadonlyMap<string, number>;
  readonly length: number;
}

export function passageOf(path: string, text: string): Passage {
  const frequencies = new Map<string, number>();
  const add = (word: string, weight: number) => frequencies.set(word, (frequencies.get(word) ?? 0) + weight);
  const words = wordsOf(text);
  for (const word of words) add(word, 1);
  for (const word of wordsOf(path)) add(word, PATH_WEIGHT);
  for (const match of text.matchAll(DEFINITION)) {
    for (const word of wordsOf(match.groups?.['name'] ?? '')) add(word, DEFINITION_WEIGHT);
  }
  return { frequencies, length: words.length };
}

/** A score for each passage; 0 where no word of the questions occurs. `questions` begins with the current one. */
export function scorePassages(passages: readonly Passage[], questions: readonly string[]): Float64Array {
  const query = new Map<string, number>();
  questions.forEach((question, index) => {
    const weight = EARLIER_QUESTION_WEIGHT ** index;
    const quoted = new Set(question.match(/`[^`]+`/g)?.flatMap(wordsOf));
    for (const word of new Set(wordsOf(question))) {
      if (STOP_WORDS.has(word) && !quoted.has(word)) continue;
      query.set(word, Math.max(weight * (quoted.has(word) ? QUOTED_WEIGHT : 1), query.get(word) ?? 0));
    }
  });
  const averageLength = passages.reduce((sum, p) => sum + p.length, 0) / Math.max(1, passages.length);
  const scores = new Float64Array(passages.length);
  for (const [word, weight] of query) {
    const holding = passages.reduce((count, p) => count + (p.frequencies.has(word) ? 1 : 0), 0);
    if (holding === 0) continue;
    const rarity = Math.log(1 + (passages.length - holding + 0.5) / (holding + 0.5));
    passages.forEach(({ frequencies, length }, i) => {
      const f = frequencies.get(word);
      if (f === undefined) return;
      const norm = K1 * (1 - B + (B * length) / Math.max(1, averageLength));
      scores[i]! += (weight * rarity * f * (K1 + 1)) / (f + norm);
    });
  }
  return scores;
}
