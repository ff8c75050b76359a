/**
 * Stable first: files that change rarely stand before files that change often, so that after an edit the prompt, and with
 * it the KV cache, stays the same for as long as possible. Changes are counted from git's log, coarsely, so that one more commit
 * seldom moves a file.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gitArguments, type RepositoryFile, type Root } from './repository.ts';
import { inSlices } from './slices.ts';

const run = promisify(execFile);
const COMMITS = 500;
const TIMEOUT_MS = 3000;
const MAX_LOG_BYTES = 16 * 1024 * 1024;

/** What git's log says of paths; empty without git, or where reading it takes too long. */
export interface ChangeHistory {
  /** Commits of the last COMMITS that touched a path. */
  readonly counts: ReadonlyMap<string, number>;
  /** From 1 for what was committed last towards 0. Times of files say less: a check-out sets them all. */
  readonly recency: ReadonlyMap<string, number>;
}

export async function changeHistory(roots: readonly Root[]): Promise<ChangeHistory> {
  const counts = new Map<string, number>();
  const recency = new Map<string, number>();
  await Promise.all(
    roots.map(async ({ folder, label }) => {
      try {
        const log = ['log', '-n', String(COMMITS), '--relative', '--name-only', '--format=', '-z', '--', '.'];
        const { stdout } = await run('git', gitArguments(log), {
          cwd: folder,
          timeout: TIMEOUT_MS,
          maxBuffer: MAX_LOG_BYTES,
          encoding: 'utf8',
        });
        const newestFirst = new Set<string>();
        for (const name of stdout.split('\0')) {
          const file = name.trim();
          if (file === '') continue;
          const path = label === null ? file : `${label}/${file}`;
          counts.set(path, (counts.get(path) ?? 0) + 1);
          newestFirst.add(path);
        }
        for (const [i, path] of [...newestFirst].entries()) recency.set(path, 1 - i / newestFirst.size);
      } catch {
        // Without counts the order is by path, which is stable too.
      }
    }),
  );
  return { counts, recency };
}

/** Least changed first, by powers of two; unsaved files last; within a power of two as given, which is by path. */
export async function stableOrder<T extends Pick<RepositoryFile, 'path'>>(
  files: readonly T[],
  counts: ReadonlyMap<string, number>,
  unsaved: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<T[]> {
  const steps = new Map<number, T[]>();
  const add = (file: T) => {
    const count = counts.get(file.path) ?? 0;
    const at = (unsaved.has(file.path) ? 100 : 0) + Math.floor(Math.log2(1 + count));
    const group = steps.get(at);
    if (group) group.push(file);
    else steps.set(at, [file]);
  };
  await inSlices(files, add, signal);
  return [...steps].sort(([a], [b]) => a - b).flatMap(([, group]) => group);
}
