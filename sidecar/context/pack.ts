/**
 * What of the workspace goes into the prompt: all of it, verbatim, when it fits; otherwise the parts most relevant to the
 * question. Either way in stable order, with exact token counts, and with a list of everything that was left out. Once laid out,
 * this head of the prompt stays as it is while files change; a journal after it tells the changes, until folding it in is cheaper.
 */
import { createHash } from 'node:crypto';
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { IndexFact } from '../prompt/index-block.ts';
import { type Choice, decisionOn, NO_CHOICE } from './choice.ts';
import { FileReader, type LeftOut, SourceFile } from './files.ts';
import { shouldFold } from './fold.ts';
import type { HeadStore, StoredHead } from './head-store.ts';
import { type JournalEntry, journalOf } from './journal.ts';
import { mentionsIn, resolveMention, workspaceDiff } from './mentions.ts';
import { changeCounts, stableOrder } from './order.ts';
import { type PackedFile, packedPart } from './packed-file.ts';
import { listFiles, type RepositoryFile, type Root, WorkspaceError } from './repository.ts';
import { selectParts } from './select-parts.ts';
import { inSlices } from './slices.ts';
import { SymbolIndex } from './symbols/symbol-index.ts';

export interface Packed {
  /** Head, then journal. */
  readonly files: readonly PackedFile[];
  readonly leftOut: readonly LeftOut[];
  readonly tokens: number;
  /** All that belongs is in `files`. */
  readonly whole: boolean;
  /** The head is that of `previous`, or the one kept from before a restart. */
  readonly continued: boolean;
  /** Names the state of the workspace this was made from. */
  readonly fingerprint: string;
  readonly head: Head;
  readonly journal: readonly JournalEntry[];
}

/** The part of the prompt that stays while files change. */
export interface Head {
  readonly files: readonly PackedFile[];
  readonly tokens: number;
  /** The files shown, as they were then, by path. */
  readonly base: ReadonlyMap<string, SourceFile>;
  /** Journal tokens read since. */
  readonly spent: number;
  readonly choice: Choice;
}

export interface UnsavedText {
  /** As in RepositoryFile. */
  readonly path: string;
  readonly text: string;
}

export interface PackRequest {
  readonly tokenizer: Tokenizer;
  /** Tokens the files may take. */
  readonly budget: number;
  /** Tokens an earlier result may take to be used again. */
  readonly ceiling: number;
  /** The question, then earlier ones. */
  readonly question: readonly string[];
  readonly unsaved: readonly UnsavedText[];
  readonly choice?: Choice;
  /** Of the same moment as `unsaved` and `choice`; absent: the workspace is read now. */
  readonly snapshot?: Snapshot;
  /** What the last question saw: kept where it serves this one too, so that the prompt's head does not change. */
  readonly previous: Packed | null;
  readonly signal?: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

type ReadRequest = Pick<PackRequest, 'unsaved' | 'choice' | 'signal' | 'onProgress'>;

/** The files of the workspace at one moment: read once for all that a question needs of them. */
export interface Snapshot {
  /** In path order. */
  readonly sources: readonly SourceFile[];
  readonly leftOut: readonly LeftOut[];
}

/** An estimate this far over the limit is no matter of its error. */
const CLEARLY_MORE = 4;

/** How long counts of changes are taken as still true. */
const COUNTS_VALID_MS = 10 * 60 * 1000;

export class RepositoryContext {
  private readonly roots: readonly Root[];
  private readonly heads: HeadStore | null;
  private readonly reader = new FileReader();
  private readonly index = new SymbolIndex();
  private counts: { readonly value: ReadonlyMap<string, number>; readonly time: number } | null = null;

  /** `heads` keeps the head of the prompt for after a restart; null keeps it in memory alone. */
  constructor(roots: readonly Root[], heads: HeadStore | null = null) {
    this.roots = roots;
    this.heads = heads;
  }

  /** Throws WorkspaceError where there is nothing to read. */
  async pack(request: PackRequest): Promise<Packed> {
    const stored =
      request.previous === null ? await this.heads?.load(this.roots, request.tokenizer.size) : null;
    const previous = stored ? restored(stored, request.tokenizer) : request.previous;
    const packed = await this.packAfter({ ...request, previous });
    if (this.heads && !packed.continued) {
      await this.heads.save(this.roots, request.tokenizer.size, storedHead(packed));
    }
    return packed;
  }

  /** Throws WorkspaceError where a folder cannot be read. */
  async read({ unsaved, choice = NO_CHOICE, onProgress, signal }: ReadRequest): Promise<Snapshot> {
    const files = await listFiles(this.roots, signal);
    const texts = new Map(unsaved.map(({ path, text }) => [path, text]));
    return this.reader.read(files, texts, choice, onProgress, signal);
  }

  private async packAfter(request: PackRequest): Promise<Packed> {
    const { tokenizer, signal, previous, choice = NO_CHOICE } = request;
    const { sources, leftOut } = request.snapshot ?? (await this.read(request));
    if (sources.length === 0) throw new WorkspaceError(nothingToRead(this.roots, leftOut));
    const unsaved = new Set(request.unsaved.map(({ path }) => path));
    const ordered = stableOrder(sources, await this.changeCounts(), unsaved);
    const fingerprint = await fingerprintOf(ordered, signal);
    const goesOn =
      previous && sameChoice(previous.head.choice, choice) ? withJournal(previous, ordered, request) : null;
    const total = await countUpTo(ordered, tokenizer, Math.max(request.budget, request.ceiling), signal);
    if (goesOn?.whole) return { ...goesOn, leftOut, fingerprint };
    if (total <= (previous?.whole ? request.ceiling : request.budget)) {
      const files = afterHead(previous, ordered).map((file) =>
        packedPart(tokenizer, file, { path: file.path, text: file.text }),
      );
      return { ...laidOut(files, ordered, choice), leftOut, whole: true, fingerprint };
    }
    const pinned = ordered.filter((file) => decisionOn(choice, file.path) === 'pinned');
    const selection = await selectParts(ordered, { ...request, pinned });
    if (goesOn && (!selection.matches || selection.best.every((part) => covers(goesOn, part)))) {
      return {
        ...goesOn,
        leftOut:
          previous?.fingerprint === fingerprint
            ? previous.leftOut
            : [...leftOut, ...(await rest(ordered, goesOn.files, tokenizer, signal))],
        fingerprint,
      };
    }
    return {
      ...laidOut(selection.files, ordered, choice),
      leftOut: [...leftOut, ...(await rest(ordered, selection.files, tokenizer, signal))],
      whole: false,
      fingerprint,
    };
  }

  /** What the symbol index knows of the names in `question`. */
  facts(question: string, { sources }: Snapshot): Promise<IndexFact[]> {
    return this.index.facts(question, sources);
  }

  /** What the @-mentions of a question stand for, and those that stand for nothing. */
  async mentioned(
    question: string,
    { sources }: Snapshot,
  ): Promise<{ readonly files: PromptFile[]; readonly unknown: string[] }> {
    const mentions = mentionsIn(question).filter(({ kind }) => kind !== 'editor');
    const files = new Map<string, PromptFile>();
    const unknown: string[] = [];
    for (const mention of mentions) {
      if (mention.kind === 'diff') {
        const text = await workspaceDiff(this.roots);
        files.set('@diff', {
          path: 'git diff',
          text: text === '' ? 'Nothing has changed.' : text,
          plain: true,
        });
        continue;
      }
      const found = resolveMention(mention, sources);
      if (found.length === 0) unknown.push(mention.text);
      for (const { path, text } of found) files.set(path, { path, text });
    }
    return { files: [...files.values()], unknown };
  }

  /** Every file that could be shown, in path order, before any is read. */
  list(signal?: AbortSignal): Promise<RepositoryFile[]> {
    return listFiles(this.roots, signal);
  }

  private async changeCounts(): Promise<ReadonlyMap<string, number>> {
    const now = performance.now();
    if (!this.counts || now - this.counts.time > COUNTS_VALID_MS) {
      this.counts = { value: await changeCounts(this.roots), time: now };
    }
    return this.counts.value;
  }
}

function storedHead({ head, whole }: Packed): StoredHead {
  const inWhole = new Set(head.files.filter(({ lines }) => !lines).map(({ path }) => path));
  return {
    whole,
    spent: head.spent,
    choice: head.choice,
    files: head.files.map(({ path, text, lines }) => ({ path, text, ...(lines && { lines }) })),
    base: [...head.base.values()]
      .filter(({ path }) => !inWhole.has(path))
      .map(({ path, text }) => ({ path, text })),
  };
}

/** As it was laid out before a restart; its fingerprint is none, since files may have changed. */
function restored(stored: StoredHead, tokenizer: Tokenizer): Packed {
  const { whole, spent, choice } = stored;
  const base = new Map(stored.base.map(({ path, text }) => [path, new SourceFile(path, text, 'stored')]));
  const files = stored.files.map((part) => {
    const file = base.get(part.path) ?? new SourceFile(part.path, part.text, 'stored');
    base.set(part.path, file);
    return packedPart(tokenizer, file, part);
  });
  const tokens = files.reduce((sum, file) => sum + file.tokens, 0);
  return {
    files,
    leftOut: [],
    tokens,
    whole,
    continued: true,
    fingerprint: '',
    head: { files, tokens, base, spent, choice },
    journal: [],
  };
}

/** A head of its own, with nothing changed since. */
function laidOut(files: readonly PackedFile[], ordered: readonly SourceFile[], choice: Choice) {
  const shown = new Set(files.map(({ path }) => path));
  const base = new Map(ordered.filter(({ path }) => shown.has(path)).map((file) => [file.path, file]));
  const tokens = files.reduce((sum, file) => sum + file.tokens, 0);
  return { files, tokens, head: { files, tokens, base, spent: 0, choice }, journal: [], continued: false };
}

/** The same head with what changed since; null where it is time to lay out another. */
function withJournal(
  previous: Packed,
  ordered: readonly SourceFile[],
  { tokenizer, ceiling }: PackRequest,
): Packed | null {
  const { head } = previous;
  const journal = journalOf(tokenizer, head.base, ordered, previous.journal, previous.whole);
  const journalTokens = journal.reduce((sum, { tokens }) => sum + tokens, 0);
  let same = 0;
  while (same < journal.length && journal[same] === previous.journal[same]) same++;
  const read = journal.slice(same).reduce((sum, { tokens }) => sum + tokens, 0);
  const changed = new Set(journal.map(({ path }) => path));
  const first = head.files.findIndex(({ path }) => changed.has(path));
  const foldTokens =
    first < 0 ? journalTokens : head.files.slice(first).reduce((sum, { tokens }) => sum + tokens, 0);
  const spent = head.spent + read;
  const cost = { headTokens: head.tokens, journalTokens, spent, foldTokens, room: ceiling };
  if (shouldFold(cost)) return null;
  return {
    ...previous,
    files: [...head.files, ...journal.flatMap(({ files }) => files)],
    tokens: head.tokens + journalTokens,
    head: { ...head, spent },
    journal,
    continued: true,
  };
}

/** Files that the head shows as they are keep their order; what changed, most likely to change again, goes to the end. */
function afterHead(previous: Packed | null, ordered: readonly SourceFile[]): readonly SourceFile[] {
  if (!previous?.whole) return ordered;
  const now = new Map(ordered.map((file) => [file.path, file]));
  const same = previous.head.files.flatMap(({ path, text }) => {
    const file = now.get(path);
    return file?.text === text ? [file] : [];
  });
  const kept = new Set(same);
  return [...same, ...ordered.filter((file) => !kept.has(file))];
}

function sameChoice(a: Choice, b: Choice): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Cuts move a little when a file changes; a part is there when nearly all of its lines are. */
const COVERED_SHARE = 0.8;

/** By text, since line numbers move when a file changes. */
function covers(packed: Packed, part: PromptFile): boolean {
  const shown = new Set(
    packed.files.filter(({ path }) => path === part.path).flatMap(({ text }) => text.split('\n')),
  );
  const lines = part.text.split('\n').filter((line) => line.trim() !== '');
  return lines.filter((line) => shown.has(line)).length >= COVERED_SHARE * lines.length && shown.size > 0;
}

/** Exact up to `limit`; once it is clear that not everything fits, the rest need not be encoded. */
async function countUpTo(
  files: readonly SourceFile[],
  tokenizer: Tokenizer,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  let total = 0;
  const estimate = files.reduce((sum, file) => sum + file.tokenEstimate(tokenizer), 0);
  if (estimate > CLEARLY_MORE * limit) return estimate;
  await inSlices(
    files,
    (file) => {
      if (total <= limit) total += file.ids(tokenizer).length;
    },
    signal,
  );
  return total;
}

/** Files, and the rest of files, that the budget left out. */
async function rest(
  ordered: readonly SourceFile[],
  taken: readonly PackedFile[],
  tokenizer: Tokenizer,
  signal: AbortSignal | undefined,
): Promise<LeftOut[]> {
  const used = new Map<string, number>();
  for (const file of taken) {
    if (file.as === 'changed') continue;
    used.set(file.path, file.lines ? (used.get(file.path) ?? 0) + file.tokens : Number.POSITIVE_INFINITY);
  }
  const left: LeftOut[] = [];
  await inSlices(
    ordered,
    (file) => {
      const taken = used.get(file.path);
      const tokens = taken === undefined ? file.tokenEstimate(tokenizer) : file.ids(tokenizer).length - taken;
      if (tokens > 0) left.push({ path: file.path, reason: 'budget', tokens });
    },
    signal,
  );
  return left;
}

async function fingerprintOf(ordered: readonly SourceFile[], signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await inSlices(ordered, ({ path, version }) => hash.update(`${path}\0${version}\0`), signal);
  return hash.digest('hex');
}

function nothingToRead(roots: readonly Root[], leftOut: readonly LeftOut[]): string {
  const where = roots.map((root) => root.folder).join(', ');
  const unreadable = leftOut.filter((file) => file.reason === 'unreadable').length;
  if (leftOut.length === 0) {
    return `The folder ${where} has no files. Open a folder that has some, or ask without the repository.`;
  }
  if (unreadable === leftOut.length) {
    return `None of the ${unreadable} files in ${where} can be read. Check their permissions.`;
  }
  return (
    `The folder ${where} has no text files to read: all ${leftOut.length} files are binary, generated, secret, ` +
    'too large or unreadable. Open a folder with source code, or ask without the repository.'
  );
}
