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
import { FileReader, type LeftOut, type SourceFile } from './files.ts';
import { shouldFold } from './fold.ts';
import { HeadStore } from './head-store.ts';
import { journalOf } from './journal.ts';
import { mentionsIn, resolveMention, workspaceDiff } from './mentions.ts';
import { type ChangeHistory, changeHistory, stableOrder } from './order.ts';
import { outlineOf, stillHolds } from './outline.ts';
import { type Head, isOutline, laidOut, type Packed, restored, storedHead } from './packed.ts';
import { type PackedFile, packedPart } from './packed-file.ts';
import { FileLister, type RepositoryFile, type Root, WorkspaceError } from './repository.ts';
import { indexFileOf } from './search/index-file.ts';
import { SearchThread } from './search/search-thread.ts';
import { type Attention, selectParts } from './select-parts.ts';
import { inSlices } from './slices.ts';
import { SymbolIndex } from './symbols/symbol-index.ts';

export interface Focus {
  readonly active?: string;
  readonly open: readonly string[];
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
  /** What the person has in front and open, by path. */
  readonly focus?: Focus;
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

/** Files in stable order, and what that was made from. */
interface Ordered {
  readonly sources: readonly SourceFile[];
  readonly history: ChangeHistory;
  readonly unsavedPaths: string;
  readonly ordered: readonly SourceFile[];
  readonly fingerprint: string;
}

/** An estimate this far over the limit is no matter of its error. */
const CLEARLY_MORE = 4;

const NAMES_AT_ONCE = 256;

/** How long counts of changes are taken as still true. */
const HISTORY_VALID_MS = 10 * 60 * 1000;

export class RepositoryContext {
  private readonly roots: readonly Root[];
  private readonly heads: HeadStore | null;
  private readonly lister: FileLister;
  private readonly reader = new FileReader();
  private readonly index = new SymbolIndex();
  private readonly search: SearchThread;
  private ordered: Ordered | null = null;
  private changes: { readonly value: ChangeHistory; readonly time: number } | null = null;

  /** `cacheFolder` keeps the head of the prompt and the lexical index for after a restart; null keeps them in memory alone. */
  constructor(roots: readonly Root[], cacheFolder: string | null = null) {
    this.roots = roots;
    this.lister = new FileLister(roots);
    this.heads = cacheFolder === null ? null : new HeadStore(cacheFolder);
    this.search = new SearchThread(cacheFolder === null ? null : indexFileOf(cacheFolder, roots));
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
    const files = await this.lister.list(signal);
    const texts = new Map(unsaved.map(({ path, text }) => [path, text]));
    return this.reader.read(files, texts, choice, onProgress, signal);
  }

  private async packAfter(request: PackRequest): Promise<Packed> {
    const { tokenizer, signal, previous, choice = NO_CHOICE } = request;
    const { sources, leftOut } = request.snapshot ?? (await this.read(request));
    if (sources.length === 0) throw new WorkspaceError(nothingToRead(this.roots, leftOut));
    const history = await this.history();
    const { ordered, fingerprint } = await this.inOrder(sources, history, request);
    const goesOn =
      previous && sameChoice(previous.head.choice, choice)
        ? withJournal(previous, ordered, await this.staleOutlines(previous.head, sources), request)
        : null;
    const total = await countUpTo(ordered, tokenizer, Math.max(request.budget, request.ceiling), signal);
    if (goesOn?.whole) return { ...goesOn, leftOut, fingerprint };
    if (total <= (previous?.whole ? request.ceiling : request.budget)) {
      const files = afterHead(previous, ordered).map((file) =>
        packedPart(tokenizer, file, { path: file.path, text: file.text }),
      );
      return { ...laidOut(files, ordered, choice), leftOut, whole: true, fingerprint };
    }
    const pinned = ordered.filter((file) => decisionOn(choice, file.path) === 'pinned');
    const selection = await selectParts(ordered, {
      ...request,
      pinned,
      attention: this.attention(request, history),
      symbols: (file) => this.index.symbols(file),
      scores: (files, query) => this.search.scores(files, query, signal),
    });
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
  list(signal?: AbortSignal): Promise<readonly RepositoryFile[]> {
    return this.lister.list(signal);
  }

  /** Files that the head outlines and that define something else now, with their outlines. */
  private async staleOutlines(head: Head, sources: readonly SourceFile[]): Promise<Map<string, string>> {
    const told = new Map(head.files.filter(isOutline).map(({ path, text }) => [path, text]));
    const stale = new Map<string, string>();
    if (told.size === 0) return stale;
    for (const file of sources) {
      const outline = told.get(file.path);
      if (outline === undefined) continue;
      const symbols = await this.index.symbols(file);
      if (!stillHolds(outline, symbols)) stale.set(file.path, outlineOf(symbols));
    }
    return stale;
  }

  private attention({ unsaved, focus }: PackRequest, { recency }: ChangeHistory): Attention {
    return {
      active: focus?.active ?? null,
      open: new Set(focus?.open),
      recency: new Map([...recency, ...unsaved.map(({ path }) => [path, 1] as const)]),
    };
  }

  /** Kept while nothing changes: a question about 100,000 files would take longest here. */
  private async inOrder(
    sources: readonly SourceFile[],
    history: ChangeHistory,
    { unsaved, signal }: PackRequest,
  ): Promise<Ordered> {
    const unsavedPaths = unsaved.map(({ path }) => path).join('\0');
    const before = this.ordered;
    if (before?.sources === sources && before.history === history && before.unsavedPaths === unsavedPaths) {
      return before;
    }
    const changed = new Set(unsaved.map(({ path }) => path));
    const ordered = await stableOrder(sources, history.counts, changed, signal);
    const fingerprint = await fingerprintOf(ordered, signal);
    this.ordered = { sources, history, unsavedPaths, ordered, fingerprint };
    return this.ordered;
  }

  private async history(): Promise<ChangeHistory> {
    const now = performance.now();
    if (!this.changes || now - this.changes.time > HISTORY_VALID_MS) {
      this.changes = { value: await changeHistory(this.roots), time: now };
    }
    return this.changes.value;
  }
}

/** The same head with what changed since; null where it is time to lay out another. */
function withJournal(
  previous: Packed,
  ordered: readonly SourceFile[],
  outlines: ReadonlyMap<string, string>,
  { tokenizer, ceiling }: PackRequest,
): Packed | null {
  const { head } = previous;
  // Where not all files are in the head, the others matter only if one of them may be what became of one that is gone.
  const shown = ordered.filter(({ path }) => head.base.has(path) || outlines.has(path));
  const isAll = previous.whole || shown.length < head.base.size + outlines.size;
  const current = isAll ? ordered : shown;
  const journal = journalOf(tokenizer, { ...head, outlines }, current, previous.journal, previous.whole);
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
    if (file.as === 'changed' || isOutline(file)) continue;
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
  let names = '';
  const add = ({ path, version }: SourceFile, i: number) => {
    names += `${path}\0${version}\0`;
    // A call for each would take longer than all of the hashing.
    if (i % NAMES_AT_ONCE > 0) return;
    hash.update(names);
    names = '';
  };
  await inSlices(ordered, add, signal);
  return hash.update(names).digest('hex');
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
