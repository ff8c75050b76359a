/** What a question names: code in backticks, words shaped like code, and plain words that may be symbols. */

export interface QuestionKey {
  readonly key: string;
  /** Written or shaped as code: worth saying when there is no such thing. */
  readonly code: boolean;
}

const WORD = /`(?<quoted>[^`\n]{1,200})`|(?<plain>[\p{L}_$][\p{L}\p{N}_$./:-]*)/gu;
/** A capital after a small letter, an underscore, a digit, or the marks of a path or module inside. */
const SHAPED = /\p{Ll}\p{Lu}|_|\p{L}\p{N}|[\p{L}\p{N}][./:][\p{L}\p{N}]/u;
/** Shaped like code, but names of something else. */
const NAMES =
  /^(?:TypeScript|JavaScript|GitHub|GitLab|PowerShell|MacOS|macOS|iOS|Node\.js|e\.g|i\.e|and\/or)$/i;
const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'the and for are was were has have had does did done can could should would will what when where which while who whose ' +
    'why how this that these those there here with without from into onto over under about after before between each every ' +
    'all any some none not but also only just then than them they you your our use used uses using file files line lines ' +
    'code function functions class classes method methods type types value values name names defined definition called call ' +
    'calls return returns work works happen happens show tell give make makes get gets set sets list find explain describe ' +
    'test tests repository project folder module import imports imported exported'
  ).split(' '),
);
const MOST_KEYS = 24;

/** What stands before a plain word that is meant as a name: "where is add defined", "the class Sum". */
const BEFORE_NAMES: ReadonlySet<string> = new Set(
  (
    'is are does do of function class method type variable constant module interface struct trait enum field property macro ' +
    'import imports imported define defines called named call calls use uses using'
  ).split(' '),
);

/** In order of appearance, each once. */
export function questionKeys(question: string): QuestionKey[] {
  const keys = new Map<string, QuestionKey>();
  let before = '';
  for (const { groups } of question.matchAll(WORD)) {
    const quoted = groups?.['quoted'];
    const key =
      quoted === undefined ? trimmed(groups?.['plain'] ?? '') : quoted.trim().replace(/\(\s*\)$/, '');
    const introduced = BEFORE_NAMES.has(before);
    before = key.toLowerCase();
    if (key === '' || keys.has(key)) continue;
    const shaped = SHAPED.test(key) && !NAMES.test(key);
    if (quoted !== undefined || shaped) keys.set(key, { key, code: true });
    else if (/^[\p{L}$]{3,}$/u.test(key) && !STOP_WORDS.has(key.toLowerCase())) {
      // Most words of a question that happen to be somebody's symbol are just words.
      if (introduced || /^\p{Lu}/u.test(key)) keys.set(key, { key, code: false });
    }
  }
  return [...keys.values()].slice(0, MOST_KEYS);
}

/** Without the sentence's own marks and without a line number. */
function trimmed(word: string): string {
  let end = word.length;
  while (end > 0 && './:-'.includes(word[end - 1]!)) end--;
  return word.slice(0, end).replace(/:\d+$/, '');
}
