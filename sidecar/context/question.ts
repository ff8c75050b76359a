/** A question as words to look for, each with its weight. */
import { partsOf, stem, wholeOf, wordsOf } from './words.ts';

export interface Query {
  /** Stems to look for. */
  readonly words: ReadonlyMap<string, number>;
  /** Stems of identifiers the question names, whose definitions it is likely about. */
  readonly identifiers: ReadonlySet<string>;
}

/** Words in `backticks` are what the question is about. */
const QUOTED_WEIGHT = 2;
/** "line numbers" may stand in code as lineNumbers. */
const PAIR_WEIGHT = 0.7;
/** The question before the current one still matters: "and where is it called?" */
const EARLIER_QUESTION_WEIGHT = 0.3;

/** Too common in questions to tell files apart. */
const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a about after all an and any are as at be been before by can could did do does each explain for from give get gets ' +
    'had happen has have how i if in into is it its just keep kept let list many may me mean more much must my new no not ' +
    'of on or our out please put show so some tell than that the their them then there these they this those to us use ' +
    'used user uses using was way we were what when where which while who whose why will with without work would you your'
  )
    .split(' ')
    .map(stem),
);

/** `questions` begins with the current one. */
export function queryOf(questions: readonly string[]): Query {
  const words = new Map<string, number>();
  const identifiers = new Set<string>();
  const add = (word: string, weight: number) => words.set(word, Math.max(weight, words.get(word) ?? 0));
  questions.forEach((question, index) => {
    const weight = EARLIER_QUESTION_WEIGHT ** index;
    const quoted = [...question.matchAll(/`([^`]+)`/g)].flatMap(([, text]) => identifiersIn(text!));
    for (const identifier of quoted) {
      identifiers.add(stem(wholeOf(identifier)));
      for (const word of wordsOf(identifier)) add(word, weight * QUOTED_WEIGHT);
    }
    const plain = identifiersIn(question);
    for (const [i, identifier] of plain.entries()) {
      if (partsOf(identifier).length > 1) identifiers.add(stem(wholeOf(identifier)));
      for (const word of wordsOf(identifier)) if (!STOP_WORDS.has(word)) add(word, weight);
      const next = plain[i + 1];
      if (next !== undefined && !isCommon(identifier) && !isCommon(next)) {
        add(stem(wholeOf(identifier + next)), weight * PAIR_WEIGHT);
      }
    }
  });
  return { words, identifiers };
}

function identifiersIn(text: string): readonly string[] {
  return text.match(/[\p{L}\p{N}_$]+/gu) ?? [];
}

function isCommon(word: string): boolean {
  return STOP_WORDS.has(stem(word.toLowerCase()));
}
