/** Finds `path:line` in an answer and resolves it against the files the model was shown. */

export interface Citation {
  /** Where the citation stands in the answer, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
  /** The prompt's own path for it. */
  readonly path: string;
  readonly line: number;
}

const LINE = /:(?<line>\d{1,7})\b/g;
const PATH_CHARACTER = /[\w@.+/-]/;
/** Longer ones are not looked for, so that the search takes linear time whatever the model wrote. */
const LONGEST_PATH = 512;

/** A path that matches no file, or the tails of several, is not a citation: a wrong link is worse than none. */
export function findCitations(answer: string, paths: readonly string[]): Citation[] {
  const known = new Set(paths);
  const resolve = (path: string): string | undefined => {
    const clean = path.replace(/^\.\//, '');
    if (known.has(clean)) return clean;
    const tails = paths.filter((p) => p.endsWith(`/${clean}`));
    return tails.length === 1 ? tails[0] : undefined;
  };
  const found: Citation[] = [];
  for (const match of answer.matchAll(LINE)) {
    let start = match.index;
    while (start > 0 && match.index - start < LONGEST_PATH && PATH_CHARACTER.test(answer[start - 1]!))
      start--;
    const path = resolve(answer.slice(start, match.index));
    const line = Number(match.groups?.['line']);
    if (path !== undefined && line >= 1)
      found.push({ start, end: match.index + match[0].length, path, line });
  }
  return found;
}
