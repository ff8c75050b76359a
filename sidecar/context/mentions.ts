/** What an @ in a question names, and the search for what it could name. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gitArguments, type RepositoryFile, type Root } from './repository.ts';
import { inSlices } from './slices.ts';

const run = promisify(execFile);

export interface MentionedPath {
  /** As written, the @ included. */
  readonly text: string;
  readonly kind: 'file' | 'folder' | 'path' | 'diff' | 'editor';
  readonly path: string;
}

/** At the start or after white space or an opening bracket, so that an address is no mention. */
const MENTION =
  /(?<=^|[\s([{])@(?:(?<kind>file|folder):)?(?:"(?<quoted>[^"\n]{1,1024})"|(?<plain>[\p{L}\p{N}_$.][\p{L}\p{N}_$./+@~-]{0,1023}))/gu;
/** The editor attaches what these stand for. */
const OF_EDITOR: ReadonlySet<string> = new Set(['selection', 'problems', 'terminal']);

export function mentionsIn(question: string): MentionedPath[] {
  const found = new Map<string, MentionedPath>();
  for (const { groups, 0: text } of question.matchAll(MENTION)) {
    const kind = groups?.['kind'] as 'file' | 'folder' | undefined;
    const quoted = groups?.['quoted'];
    // A full stop or comma after a mention belongs to the sentence.
    const path = quoted ?? (groups?.['plain'] ?? '').replace(/[.-]+$/, '');
    if (kind === undefined && quoted === undefined && OF_EDITOR.has(path))
      found.set(text, { text, kind: 'editor', path });
    else if (kind === undefined && quoted === undefined && path === 'diff')
      found.set(text, { text, kind: 'diff', path });
    else found.set(text, { text, kind: kind ?? 'path', path });
  }
  return [...found.values()];
}

/** The files a mention stands for, in the order given: one file, all of a folder, or none. */
export function resolveMention<T extends { readonly path: string }>(
  { kind, path }: MentionedPath,
  files: readonly T[],
): readonly T[] {
  const clean = path.replace(/^\.\//, '').replace(/\/+$/, '');
  if (kind !== 'folder' && !path.endsWith('/')) {
    const exact = files.filter((file) => file.path === clean);
    if (exact.length > 0) return exact;
  }
  if (kind !== 'file') {
    const within = files.filter((file) => file.path.startsWith(`${clean}/`));
    if (within.length > 0) return within;
  }
  if (kind === 'folder') return [];
  const ending = files.filter((file) => file.path.endsWith(`/${clean}`));
  if (ending.length > 0) return ending.length === 1 ? ending : [];
  // File systems that take README.md and readme.md for the same let people write either.
  const lower = clean.toLowerCase();
  const alike = files.filter((file) => file.path.toLowerCase() === lower);
  return alike.length === 1 ? alike : [];
}

const MAX_DIFF_BYTES = 8 * 1024 * 1024;
const DIFF_TIMEOUT_MS = 5000;

/** What git says has changed since the last commit, staged or not; empty without git. No external program is run for it. */
export async function workspaceDiff(roots: readonly Root[]): Promise<string> {
  const parts = await Promise.all(
    roots.map(async ({ folder }) => {
      try {
        const command = ['diff', '--no-color', '--no-ext-diff', '--no-textconv', '--relative', 'HEAD'];
        const { stdout } = await run('git', gitArguments(command), {
          cwd: folder,
          timeout: DIFF_TIMEOUT_MS,
          maxBuffer: MAX_DIFF_BYTES,
        });
        return stdout;
      } catch {
        return '';
      }
    }),
  );
  return parts.join('').replace(/\r\n?/g, '\n').trimEnd();
}

export interface PathMatch {
  readonly path: string;
  readonly kind: 'file' | 'folder';
  /** UTF-16 offsets in `path` that matched. */
  readonly matches: readonly number[];
}

interface PathEntry {
  readonly path: string;
  readonly lower: string;
  readonly kind: 'file' | 'folder';
}

/** Fuzzy search: the letters of `query` in order; runs, starts of words and the last part of a path count for more. */
export class PathSearch {
  private readonly entries: readonly PathEntry[];

  private constructor(entries: readonly PathEntry[]) {
    this.entries = entries;
  }

  static async of(files: readonly Pick<RepositoryFile, 'path'>[], signal?: AbortSignal): Promise<PathSearch> {
    const folders = new Set<string>();
    const entries: PathEntry[] = [];
    const add = (path: string, kind: 'file' | 'folder') =>
      entries.push({ path, lower: path.toLowerCase(), kind });
    await inSlices(
      files,
      ({ path }) => {
        // The folders over a file whose own folder is known are known.
        for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
          const folder = path.slice(0, end + 1);
          if (folders.has(folder)) break;
          folders.add(folder);
          add(folder, 'folder');
        }
      },
      signal,
    );
    await inSlices(files, ({ path }) => add(path, 'file'), signal);
    return new PathSearch(entries);
  }

  async find(
    query: string,
    kind: 'file' | 'folder' | 'any',
    limit: number,
    signal?: AbortSignal,
  ): Promise<PathMatch[]> {
    const wanted = query.toLowerCase();
    const best: { readonly match: PathMatch; readonly score: number }[] = [];
    const look = ({ path, lower, kind: own }: PathEntry) => {
      if (kind !== 'any' && kind !== own) return;
      const matched = matchLetters(lower, path, wanted);
      if (!matched) return;
      const worst = best.at(-1);
      if (best.length === limit && worst && !isBetter(matched.score, path, worst)) return;
      const item = { match: { path, kind: own, matches: matched.matches }, score: matched.score };
      const place = best.findIndex((other) => isBetter(matched.score, path, other));
      best.splice(place < 0 ? best.length : place, 0, item);
      if (best.length > limit) best.pop();
    };
    await inSlices(this.entries, look, signal);
    return best.map(({ match }) => match);
  }
}

function isBetter(
  score: number,
  path: string,
  other: { readonly match: PathMatch; readonly score: number },
): boolean {
  if (score !== other.score) return score > other.score;
  const { path: against } = other.match;
  return path.length === against.length ? path < against : path.length < against.length;
}

/** From the end, so that the name of a file is preferred to the folders over it. */
function matchLetters(
  lower: string,
  path: string,
  wanted: string,
): { score: number; matches: number[] } | null {
  const matches: number[] = [];
  const name = lower.lastIndexOf('/', lower.length - 2) + 1;
  const whole = wanted === '' ? -1 : lower.indexOf(wanted, name);
  let score = 0;
  if (whole >= 0) {
    for (let i = 0; i < wanted.length; i++) matches.push(whole + i);
    return { score: 1000 + (whole === name ? 500 : 0) + (startsWord(path, whole) ? 100 : 0), matches };
  }
  let at = lower.length;
  for (let i = wanted.length - 1; i >= 0; i--) {
    at = at === 0 ? -1 : lower.lastIndexOf(wanted[i]!, at - 1);
    if (at < 0) return null;
    if (at + 1 === matches[0]) score += 3;
    if (startsWord(path, at)) score += 4;
    if (at >= name) score += 2;
    matches.unshift(at);
  }
  return { score, matches };
}

function startsWord(path: string, at: number): boolean {
  if (at === 0) return true;
  return /[^\p{L}\p{N}]/u.test(path[at - 1]!) || (/\p{Lu}/u.test(path[at]!) && /\p{Ll}/u.test(path[at - 1]!));
}
