/** Reads the workspace's files, few at a time, and keeps text and token counts while a file stays the same. */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import { type LeftOutReason, leftOutByName } from './belongs.ts';
import { type Choice, decisionOn } from './choice.ts';
import { DIRECT_DISK, type Looked, type ReadResult, ThreadDisk } from './disk.ts';
import { type PathTraits, pathTraits } from './path-kind.ts';
import type { RepositoryFile } from './repository.ts';
import { inSlices } from './slices.ts';

/** Enough to keep a disk busy without holding many files in memory. */
const READS_AT_ONCE = 8;
/** Starting a thread pays from about here; it is handed so many files at a time. */
const FILES_WITHOUT_THREAD = 2000;
const BATCH_ON_THREAD = 500;
/** Characters of text held in memory at most; files beyond it are left out for lack of room. */
const MAX_TOTAL_TEXT = 128e6;
const CHARACTERS_PER_TOKEN = 3.5;
const MAX_PINNED_BYTES = 4 * 1024 * 1024;

/** A file whose text belongs in a prompt. */
export class SourceFile {
  readonly path: string;
  readonly text: string;
  /** Changes whenever the text does. */
  readonly version: string;
  private encoded: { readonly tokenizer: Tokenizer; readonly ids: Uint32Array } | null = null;
  private ofPath: PathTraits | null = null;

  constructor(path: string, text: string, version: string) {
    this.path = path;
    this.text = text;
    this.version = version;
  }

  /** Ids of the whole file as it stands in a prompt. */
  ids(tokenizer: Tokenizer): Uint32Array {
    if (this.encoded?.tokenizer !== tokenizer) {
      this.encoded = { tokenizer, ids: encodeFile(tokenizer, { path: this.path, text: this.text }) };
    }
    return this.encoded.ids;
  }

  /** Exact once it was encoded; before, from its length. */
  tokenEstimate(tokenizer: Tokenizer): number {
    if (this.encoded?.tokenizer === tokenizer) return this.encoded.ids.length;
    return Math.ceil((this.text.length + this.path.length) / CHARACTERS_PER_TOKEN);
  }

  /** Kept, since every question asks for them. */
  traits(): PathTraits {
    this.ofPath ??= pathTraits(this.path);
    return this.ofPath;
  }
}

export interface LeftOut {
  readonly path: string;
  readonly reason: LeftOutReason;
  readonly tokens?: number;
}

/** What the content of a file is decided from. */
interface From {
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly pinned: boolean;
}

interface Known {
  readonly content: SourceFile | LeftOutReason;
  /** Absent where it has to be decided anew each time. */
  readonly from?: From;
}

const DROPPED: Known = { content: 'dropped' };
const UNREADABLE: Known = { content: 'unreadable' };

export interface ReadFiles {
  readonly sources: readonly SourceFile[];
  readonly leftOut: readonly LeftOut[];
}

export class FileReader {
  private files: readonly RepositoryFile[] = [];
  private paths: readonly string[] = [];
  /** Of each of `files`. */
  private known: readonly Known[] = [];
  /** The same object again where nothing has changed, so that what was made of it need not be made again. */
  private last: ReadFiles = { sources: [], leftOut: [] };
  private thread: ThreadDisk | null = null;

  /**
   * Never fails for the sake of one file: what cannot be read is listed as left out. Sources are in the order of `files`; where
   * their text is more than is held, the last ones are left out.
   */
  async read(
    files: readonly RepositoryFile[],
    unsaved: ReadonlyMap<string, string>,
    choice: Choice,
    onProgress: (done: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<ReadFiles> {
    const before = await this.knownOf(files, signal);
    const paths = files === this.files ? this.paths : files.map(({ absolute }) => absolute);
    const disk = files.length > FILES_WITHOUT_THREAD ? this.startedThread() : DIRECT_DISK;
    const size = disk === DIRECT_DISK ? READS_AT_ONCE : BATCH_ON_THREAD;
    const looked = await disk.look(paths);
    const known: Known[] = [];
    const toRead: { readonly index: number; readonly from: From }[] = [];
    const decide = (file: RepositoryFile, index: number) => {
      const decision = decisionOn(choice, file.path);
      const pinned = decision === 'pinned';
      const decided =
        decision === 'dropped'
          ? DROPPED
          : decidedOn(file, looked.at(index), unsaved.get(file.path), pinned, before[index]);
      if ('content' in decided) known.push(decided);
      else {
        known.push(UNREADABLE);
        toRead.push({ index, from: decided });
      }
    };
    await inSlices(files, decide, signal);
    const isKnown = files.length - toRead.length;
    onProgress(isKnown, files.length);
    for (let first = 0; first < toRead.length; first += size) {
      signal?.throwIfAborted();
      const batch = toRead.slice(first, first + size);
      const results = await disk.read(
        batch.map(({ index, from }) => ({ path: paths[index]!, pinned: from.pinned })),
      );
      for (const [i, { index, from }] of batch.entries()) {
        known[index] = withText(files[index]!, results[i]!, from, before[index]);
      }
      onProgress(isKnown + first + batch.length, files.length);
    }
    const { sources, leftOut } = within(files, known);
    this.files = files;
    this.paths = paths;
    this.known = known;
    if (!alike(this.last, sources, leftOut)) this.last = { sources, leftOut };
    return this.last;
  }

  private startedThread(): ThreadDisk {
    if (this.thread === null || this.thread.ended) this.thread = new ThreadDisk();
    return this.thread;
  }

  /** What was known of each of `files` after the last reading. */
  private async knownOf(
    files: readonly RepositoryFile[],
    signal: AbortSignal | undefined,
  ): Promise<readonly (Known | undefined)[]> {
    if (files === this.files) return this.known;
    const byPath = new Map<string, Known>();
    await inSlices(this.files, ({ absolute }, i) => byPath.set(absolute, this.known[i]!), signal);
    const known: (Known | undefined)[] = [];
    await inSlices(files, ({ absolute }) => known.push(byPath.get(absolute)), signal);
    return known;
  }
}

/** What is beyond the limit of held text is forgotten, and left out. */
function within(files: readonly RepositoryFile[], known: Known[]) {
  const sources: SourceFile[] = [];
  const leftOut: LeftOut[] = [];
  let held = 0;
  for (let i = 0; i < files.length; i++) {
    const { path } = files[i]!;
    const { content } = known[i]!;
    if (typeof content === 'string') {
      leftOut.push({ path, reason: content });
      continue;
    }
    held += content.text.length;
    if (held <= MAX_TOTAL_TEXT) sources.push(content);
    else {
      leftOut.push({ path, reason: 'budget' });
      known[i] = UNREADABLE;
    }
  }
  return { sources, leftOut };
}

/** What is known without reading the file; otherwise what that is decided from. */
function decidedOn(
  { path }: RepositoryFile,
  looked: Looked | null,
  unsaved: string | undefined,
  pinned: boolean,
  before: Known | undefined,
): Known | From {
  if (looked === null) return UNREADABLE;
  // Git lists a submodule, and a repository within this one, as one entry.
  if (looked.kind === 'folder') return { content: 'repository' };
  if (looked.kind !== 'file') return { content: 'link' };
  const { bytes, mtimeMs } = looked;
  const isBefore =
    before?.from?.bytes === bytes && before.from.mtimeMs === mtimeMs && before.from.pinned === pinned;
  if (unsaved === undefined && isBefore) return before;
  const from = { bytes, mtimeMs, pinned };
  const named = leftOutByName(path, bytes);
  if (named !== null && !(pinned && mayBePinned(named, bytes))) return { content: named, from };
  if (unsaved === undefined) return from;
  const text = unsaved.replace(/\r\n?/g, '\n');
  if (before?.content instanceof SourceFile && before.content.text === text) return before;
  return { content: new SourceFile(path, text, `unsaved ${process.hrtime.bigint()}`) };
}

function withText(
  { path }: RepositoryFile,
  result: ReadResult,
  from: From,
  before: Known | undefined,
): Known {
  if ('reason' in result) {
    // It may be readable again without having changed.
    return result.reason === 'unreadable' ? UNREADABLE : { content: result.reason, from };
  }
  // A file written again with the same text is the same file: its ids and symbols still hold.
  const same =
    before?.content instanceof SourceFile && before.content.text === result.text ? before.content : null;
  const version = `${from.mtimeMs} ${from.bytes}${from.pinned ? ' pinned' : ''}`;
  return { content: same ?? new SourceFile(path, result.text, version), from };
}

function alike(last: ReadFiles, sources: readonly SourceFile[], leftOut: readonly LeftOut[]): boolean {
  return (
    last.sources.length === sources.length &&
    last.leftOut.length === leftOut.length &&
    sources.every((file, i) => file === last.sources[i]) &&
    leftOut.every(
      ({ path, reason }, i) => path === last.leftOut[i]!.path && reason === last.leftOut[i]!.reason,
    )
  );
}

/** A person may insist on what is merely unlikely to help, within what a prompt could ever hold. */
function mayBePinned(reason: LeftOutReason, bytes: number): boolean {
  return (
    (reason === 'generated' || reason === 'lock-file' || reason === 'large') && bytes <= MAX_PINNED_BYTES
  );
}
