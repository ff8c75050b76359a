/** Reads the workspace's files, few at a time, and keeps text and token counts while a file stays the same. */
import { constants, promises as fs } from 'node:fs';
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import { type LeftOutReason, leftOutByName, textOrReason } from './belongs.ts';
import { type Choice, decisionOn } from './choice.ts';
import { type Passage, passageOf } from './relevance.ts';
import type { RepositoryFile } from './repository.ts';

/** Enough to keep a disk busy without holding many files in memory. */
const READS_AT_ONCE = 8;
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

  /** Never fails for the sake of one file: what cannot be read is listed as left out. Sources are in the order of `files`. */
  async read(
    files: readonly RepositoryFile[],
    unsaved: ReadonlyMap<string, string>,
    choice: Choice,
    onProgress: (done: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<{ readonly sources: SourceFile[]; readonly leftOut: LeftOut[] }> {
    const read: (SourceFile | null)[] = new Array(files.length).fill(null);
    const leftOut: LeftOut[] = [];
    const seen = new Map<string, Known>();
    let next = 0;
    let done = 0;
    let held = 0;
    const worker = async () => {
      while (next < files.length) {
        signal?.throwIfAborted();
        const index = next++;
        const file = files[index]!;
        const decision = decisionOn(choice, file.path);
        const entry: Known =
          decision === 'dropped'
            ? { version: '', content: 'dropped' }
            : await this.readOne(file, unsaved.get(file.path), decision === 'pinned');
        if (entry.content instanceof SourceFile) {
          held += entry.content.text.length;
          if (held > MAX_TOTAL_TEXT) leftOut.push({ path: file.path, reason: 'budget' });
          else read[index] = entry.content;
        }
        if (held <= MAX_TOTAL_TEXT) seen.set(file.absolute, entry);
        if (typeof entry.content === 'string') leftOut.push({ path: file.path, reason: entry.content });
        onProgress(++done, files.length);
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, worker));
    this.known = seen;
    leftOut.sort((a, b) => (a.path < b.path ? -1 : 1));
    return { sources: read.filter((file) => file !== null), leftOut };
  }

  private async readOne(file: RepositoryFile, unsaved: string | undefined, pinned: boolean): Promise<Known> {
    const before = this.known.get(file.absolute);
    try {
      const stat = await fs.lstat(file.absolute);
      // Git lists a submodule, and a repository within this one, as one entry.
      if (stat.isDirectory()) return { version: '', content: 'repository' };
      if (!stat.isFile()) return { version: '', content: 'link' };
      const named = leftOutByName(file.path, stat.size);
      if (named !== null && !(pinned && mayBePinned(named, stat.size)))
        return { version: '', content: named };
      if (unsaved !== undefined) {
        const text = unsaved.replace(/\r\n?/g, '\n');
        if (before?.content instanceof SourceFile && before.content.text === text) return before;
        const version = `unsaved ${process.hrtime.bigint()}`;
        return { version, content: new SourceFile(file.path, text, version) };
      }
      const version = `${stat.mtimeMs} ${stat.size}${pinned ? ' pinned' : ''}`;
      if (before?.version === version) return before;
      const read = textOrReason(await readRegularFile(file.absolute), pinned);
      // A file written again with the same text is the same file: its ids and symbols still hold.
      if ('text' in read && before?.content instanceof SourceFile && before.content.text === read.text) {
        return { version, content: before.content };
      }
      const content = 'text' in read ? new SourceFile(file.path, read.text, version) : read.reason;
      return { version, content };
    } catch {
      return { version: '', content: 'unreadable' };
    }
  }
}

/** A person may insist on what is merely unlikely to help, within what a prompt could ever hold. */
function mayBePinned(reason: LeftOutReason, bytes: number): boolean {
  return (
    (reason === 'generated' || reason === 'lock-file' || reason === 'large') && bytes <= MAX_PINNED_BYTES
  );
}

/** Refuses a link put in the file's place since it was looked at, and does not wait for a pipe's writer. */
async function readRegularFile(path: string): Promise<Buffer> {
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const handle = await fs.open(path, flags);
  try {
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}
