/**
 * The files of a workspace: what git tracks plus what it neither tracks nor ignores, or, without git, a walk that
 * honours .gitignore files. Links are not followed: their target is listed by itself or lies outside.
 */
import { execFile } from 'node:child_process';
import { type Dirent, promises as fs } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import ignore, { type Ignore } from 'ignore';
import { inSlices, sortedInSlices } from './slices.ts';

const run = promisify(execFile);

export interface Root {
  readonly folder: string;
  /** Prefix of every path when several folders are open; null for a single one. */
  readonly label: string | null;
}

export interface RepositoryFile {
  /** As prompts show it: relative, forward slashes, with the root's label if there are several roots. */
  readonly path: string;
  readonly absolute: string;
  readonly root: Root;
}

/** The workspace cannot be read; the message is a sentence for a person. */
export class WorkspaceError extends Error {
  override readonly name = 'WorkspaceError';
}

/** A folder with more files than this is not a project somebody can ask about as a whole. */
export const MAX_FILES = 100_000;
const MAX_LISTING_BYTES = 64 * 1024 * 1024;
const GIT_TIMEOUT_MS = 20_000;
/** Left out even where no .gitignore says so. */
const NEVER_WALKED: ReadonlySet<string> = new Set([
  '.git',
  '.hg',
  '.svn',
  'node_modules',
  '.venv',
  '__pycache__',
]);

/** Sorted by path; throws WorkspaceError if a root is not a readable folder or holds too much. */
export function listFiles(roots: readonly Root[], signal?: AbortSignal): Promise<readonly RepositoryFile[]> {
  return new FileLister(roots).list(signal);
}

/** Lists files again and again; the same array while they are the same, so that what was made of it still holds. */
export class FileLister {
  private readonly roots: readonly Root[];
  private readonly before = new Map<Root, Listing>();
  private last: { readonly listings: readonly Listing[]; readonly files: readonly RepositoryFile[] } | null =
    null;

  constructor(roots: readonly Root[]) {
    this.roots = roots;
  }

  /** See {@link listFiles}. */
  async list(signal?: AbortSignal): Promise<readonly RepositoryFile[]> {
    const listings = await Promise.all(
      this.roots.map(async (root) => {
        const listing = await listRoot(root, this.before.get(root), signal);
        this.before.set(root, listing);
        return listing;
      }),
    );
    if (this.last?.listings.every((listing, i) => listing === listings[i])) return this.last.files;
    const files = listings.flatMap(({ files }) => files);
    if (files.length > MAX_FILES) {
      throw new WorkspaceError(
        `The workspace has ${files.length.toLocaleString('en-US')} files, more than the limit of ` +
          `${MAX_FILES.toLocaleString('en-US')}. Open a smaller folder, or ignore what is generated in .gitignore.`,
      );
    }
    const byPath = (a: RepositoryFile, b: RepositoryFile) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0);
    this.last = { listings, files: await sortedInSlices(files, byPath, signal) };
    return this.last.files;
  }
}

interface Listing {
  /** Paths, each with a zero character after it. */
  readonly names: string;
  readonly files: readonly RepositoryFile[];
}

async function listRoot(root: Root, before: Listing | undefined, signal?: AbortSignal): Promise<Listing> {
  try {
    await fs.readdir(root.folder);
  } catch (error) {
    throw new WorkspaceError(`The folder ${root.folder} cannot be read: ${reasonOf(error)}.`);
  }
  const names = (await listWithGit(root.folder, signal)) ?? (await walk(root.folder, signal));
  if (before?.names === names) return before;
  const files: RepositoryFile[] = [];
  // Many times as fast as path.join for each.
  const over = path.join(root.folder, path.sep);
  let last = '';
  const add = (file: string) => {
    // Git lists a file in conflict several times.
    if (file === '' || file === last) return;
    last = file;
    const inside = path.sep === '/' ? file : file.replaceAll('/', path.sep);
    files.push({ path: root.label === null ? file : `${root.label}/${file}`, absolute: over + inside, root });
  };
  await inSlices(names.split('\0'), add, signal);
  return { names, files };
}

/** Null when there is no git, or the folder is in no work tree, so that the walk has to do. */
async function listWithGit(folder: string, signal?: AbortSignal): Promise<string | null> {
  try {
    const { stdout } = await run('git', gitArguments(['ls-files', '-co', '--exclude-standard', '-z']), {
      cwd: folder,
      maxBuffer: MAX_LISTING_BYTES,
      timeout: GIT_TIMEOUT_MS,
      encoding: 'utf8',
      ...(signal && { signal }),
    });
    return stdout;
  } catch (error) {
    signal?.throwIfAborted();
    if ((error as { code?: unknown }).code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') {
      throw new WorkspaceError(`The folder ${folder} has too many files to list. Open a smaller folder.`);
    }
    return null;
  }
}

/** A workspace is not trusted to name programs: its git configuration may set a file-system monitor, which git would run. */
export function gitArguments(command: readonly string[]): string[] {
  return ['-c', 'core.fsmonitor=false', '-c', 'core.quotePath=false', ...command];
}

/** Paths, each with a zero character after it. */
async function walk(folder: string, signal?: AbortSignal): Promise<string> {
  const found: string[] = [];
  /** Rules of this folder and those above, each with the folder they count from. */
  type Rules = readonly { readonly base: string; readonly rules: Ignore }[];
  const ignored = (rules: Rules, relative: string, isFolder: boolean) => {
    let result = false;
    for (const { base, rules: own } of rules) {
      const inside = base === '' ? relative : relative.slice(base.length + 1);
      const verdict = own.test(isFolder ? `${inside}/` : inside);
      if (verdict.ignored) result = true;
      else if (verdict.unignored) result = false;
    }
    return result;
  };
  const visit = async (relative: string, above: Rules): Promise<void> => {
    signal?.throwIfAborted();
    let entries: Dirent[];
    try {
      entries = await fs.readdir(path.join(folder, relative), { withFileTypes: true });
    } catch {
      return; // A folder that vanished or is closed to us holds nothing to show.
    }
    let rules = above;
    if (entries.some((e) => e.name === '.gitignore' && e.isFile())) {
      const text = await fs.readFile(path.join(folder, relative, '.gitignore'), 'utf8').catch(() => '');
      rules = [...above, { base: relative, rules: ignore().add(text) }];
    }
    for (const entry of entries) {
      const name = relative === '' ? entry.name : `${relative}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!NEVER_WALKED.has(entry.name) && !ignored(rules, name, true)) await visit(name, rules);
      } else if ((entry.isFile() || entry.isSymbolicLink()) && !ignored(rules, name, false)) {
        found.push(name);
        if (found.length > MAX_FILES) return;
      }
    }
  };
  await visit('', []);
  return found.map((name) => `${name}\0`).join('');
}

/** What went wrong with a file or folder, in words. */
export function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  if (code === 'ENOENT') return 'it does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'permission is denied';
  if (code === 'ENOTDIR') return 'it is not a folder';
  return error instanceof Error ? error.message : String(error);
}
