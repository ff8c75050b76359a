/** Finds `path:line` in an answer and resolves it against the files the model was shown. */

export interface Citation {
  /** Where the citation stands in the answer, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
  /** The prompt's own path for it. */
  readonly path: string;
  readonly line: number;
}

const CITATION = /(?<path>[\w@.+-]+(?:\/[\w@.+-]+)*\.?\w*):(?<line>\d{1,7})\b/g;

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
  for (const match of answer.matchAll(CITATION)) {
    const path = resolve(match.groups?.['path'] ?? '');
    const line = Number(match.groups?.['line']);
    if (path !== undefined && line >= 1) {
      found.push({ start: match.index, end: match.index + match[0].length, path, line });
    }
  }
  return found;
}
