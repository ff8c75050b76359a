/** Reads the workspace's files, few at a time, and keeps text and token counts while a file stays the same. */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import { type LeftOutReason, leftOutByName } from './belongs.ts';
import { type Choice, decisionOn } from './choice.ts';
import { DIRECT_DISK, type Disk, type Looked, type ReadItem, type ReadResult, ThreadDisk } from './disk.ts';
import { type Passage, passageOf } from './relevance.ts';
import type { RepositoryFile } from './repository.ts';

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
  private searchable: Passage | null = null;

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

  /** Kept, so that the next question need not look at its words again. */
  passage(): Passage {
    this.searchable ??= passageOf(this.path, this.text);
    return this.searchable;
  }
}

export interface LeftOut {
  readonly path: string;
  readonly reason: LeftOutReason;
  readonly tokens?: number;
}

type Known = { readonly version: string; readonly content: SourceFile | LeftOutReason };

export class FileReader {
  private known = new Map<string, Known>();

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
  ): Promise<{ readonly sources: SourceFile[]; readonly leftOut: LeftOut[] }> {
    const sources: SourceFile[] = [];
    const leftOut: LeftOut[] = [];
    const seen = new Map<string, Known>();
    let held = 0;
    const thread = files.length > FILES_WITHOUT_THREAD ? new ThreadDisk() : null;
    const size = thread ? BATCH_ON_THREAD : READS_AT_ONCE;
    try {
      for (let first = 0; first < files.length; first += size) {
        signal?.throwIfAborted();
        const batch = files.slice(first, first + size);
        const known = await this.readBatch(batch, unsaved, choice, thread ?? DIRECT_DISK);
        for (const [i, { path, absolute }] of batch.entries()) {
          const entry = known[i]!;
          if (typeof entry.content === 'string') leftOut.push({ path, reason: entry.content });
          else {
            held += entry.content.text.length;
            if (held > MAX_TOTAL_TEXT) leftOut.push({ path, reason: 'budget' });
            else sources.push(entry.content);
          }
          if (held <= MAX_TOTAL_TEXT) seen.set(absolute, entry);
          onProgress(first + i + 1, files.length);
        }
      }
    } finally {
      await thread?.close();
    }
    this.known = seen;
    return { sources, leftOut };
  }

  private async readBatch(
    files: readonly RepositoryFile[],
    unsaved: ReadonlyMap<string, string>,
    choice: Choice,
    disk: Disk,
  ): Promise<Known[]> {
    const looked = await disk.look(files.map(({ absolute }) => absolute));
    const toRead: { readonly index: number; readonly item: ReadItem; readonly version: string }[] = [];
    const known = files.map((file, index): Known => {
      const decision = decisionOn(choice, file.path);
      if (decision === 'dropped') return { version: '', content: 'dropped' };
      const pinned = decision === 'pinned';
      const decided = this.decide(file, looked[index]!, unsaved.get(file.path), pinned);
      if (typeof decided === 'object') return decided;
      toRead.push({ index, item: { path: file.absolute, pinned }, version: decided });
      return { version: '', content: 'unreadable' };
    });
    if (toRead.length === 0) return known;
    const results = await disk.read(toRead.map(({ item }) => item));
    for (const [i, { index, version }] of toRead.entries()) {
      known[index] = this.withText(files[index]!, results[i]!, version);
    }
    return known;
  }

  /** What is known without reading the file; otherwise its version. */
  private decide(
    { path, absolute }: RepositoryFile,
    looked: Looked | null,
    unsaved: string | undefined,
    pinned: boolean,
  ): Known | string {
    const before = this.known.get(absolute);
    if (looked === null) return { version: '', content: 'unreadable' };
    // Git lists a submodule, and a repository within this one, as one entry.
    if (looked.kind === 'folder') return { version: '', content: 'repository' };
    if (looked.kind !== 'file') return { version: '', content: 'link' };
    const named = leftOutByName(path, looked.bytes);
    if (named !== null && !(pinned && mayBePinned(named, looked.bytes)))
      return { version: '', content: named };
    if (unsaved !== undefined) {
      const text = unsaved.replace(/\r\n?/g, '\n');
      if (before?.content instanceof SourceFile && before.content.text === text) return before;
      const version = `unsaved ${process.hrtime.bigint()}`;
      return { version, content: new SourceFile(path, text, version) };
    }
    const version = `${looked.mtimeMs} ${looked.bytes}${pinned ? ' pinned' : ''}`;
    return before?.version === version ? before : version;
  }

  private withText({ path, absolute }: RepositoryFile, result: ReadResult, version: string): Known {
    if ('reason' in result) {
      // It may be readable again without having changed.
      return { version: result.reason === 'unreadable' ? '' : version, content: result.reason };
    }
    // A file written again with the same text is the same file: its ids and symbols still hold.
    const before = this.known.get(absolute)?.content;
    const same = before instanceof SourceFile && before.text === result.text;
    return { version, content: same ? before : new SourceFile(path, result.text, version) };
  }
}

/** A person may insist on what is merely unlikely to help, within what a prompt could ever hold. */
function mayBePinned(reason: LeftOutReason, bytes: number): boolean {
  return (
    (reason === 'generated' || reason === 'lock-file' || reason === 'large') && bytes <= MAX_PINNED_BYTES
  );
}
