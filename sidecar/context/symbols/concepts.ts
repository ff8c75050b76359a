/** Things that a question speaks of in plain words, and that code may define as a type: "the sampler", "the page pool". */

const WORD = /[\p{L}\p{N}]+/gu;
/** What stands before a thing. */
const ARTICLES: ReadonlySet<string> = new Set(['the', 'a', 'an', 'this', 'our', 'each', 'every']);
/** They end the name of a thing, and name none that code would define. */
const NO_THINGS: ReadonlySet<string> = new Set(
  (
    'is are was were be do does did has have had can could should would will and or of in on at to for from by with into that ' +
    'which who what when where how why it its they this there then than as if not file files line lines code function functions ' +
    'class classes method methods type types value values name names module modules folder repository project test tests ' +
    'import imports imported define defined defines call calls called use uses used'
  ).split(' '),
);
const LONGEST_NAME = 3;
const MOST_THINGS = 4;

/**
 * For each thing, in order of appearance, the names that a type of it may have, longest first: of several words joined, and
 * of abbreviations in both spellings.
 */
export function thingsIn(question: string): string[][] {
  const words = [...question.matchAll(WORD)].map(([word]) => word);
  const things = new Map<string, string[]>();
  for (const [i, word] of words.entries()) {
    if (!ARTICLES.has(word.toLowerCase())) continue;
    const following = words.slice(i + 1, i + 1 + LONGEST_NAME);
    const end = following.findIndex(
      (next) => NO_THINGS.has(next.toLowerCase()) || ARTICLES.has(next.toLowerCase()),
    );
    const name = end < 0 ? following : following.slice(0, end);
    const names = name.flatMap((_, length) => {
      const joined = name.slice(0, name.length - length);
      return [joined.map(capital).join(''), joined.map((part) => capital(part.toLowerCase())).join('')];
    });
    const key = names[0];
    if (key !== undefined && key.length > 2) things.set(key, [...new Set(names)]);
  }
  return [...things.values()].slice(0, MOST_THINGS);
}

function capital(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1);
}
