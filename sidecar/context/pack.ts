/**
 * What of the workspace goes into the prompt: all of it, verbatim, when it fits; otherwise the parts most relevant to the
 * question. Either way in stable order, with exact token counts, and with a list of everything that was left out.
 */
import { createHash } from 'node:crypto';
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import { FileReader, inSlices, type LeftOut, type SourceFile } from './files.ts';
import { changeCounts, stableOrder } from './order.ts';
import { type PackedFile, packedPart } from './packed-file.ts';
import { listFiles, type Root, WorkspaceError } from './repository.ts';
import { selectParts } from './select-parts.ts';

export interface Packed {
  readonly files: readonly PackedFile[];
  readonly leftOut: readonly LeftOut[];
  readonly tokens: number;
  /** All that belongs is in `files`. */
  readonly whole: boolean;
  /** Names the state of the workspace this was made from. */
  readonly fingerprint: string;
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
  /** What the last question saw: kept where it serves this one too, so that the prompt's head does not change. */
  readonly previous: Packed | null;
  readonly signal?: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

/** How long counts of changes are taken as still true. */
const COUNTS_VALID_MS = 10 * 60 * 1000;

export class RepositoryContext {
  private readonly roots: readonly Root[];
  private readonly reader = new FileReader();
  private counts: { readonly value: ReadonlyMap<string, number>; readonly time: number } | null = null;

  constructor(roots: readonly Root[]) {
    this.roots = roots;
  }

  /** Throws WorkspaceError where there is nothing to read. */
  async pack(request: PackRequest): Promise<Packed> {
    const { tokenizer, signal, previous } = request;
    const files = await listFiles(this.roots, signal);
    const unsaved = new Map(request.unsaved.map(({ path, text }) => [path, text]));
    const { sources, leftOut } = await this.reader.read(files, unsaved, request.onProgress, signal);
    if (sources.length === 0) throw new WorkspaceError(nothingToRead(this.roots, leftOut));
    const ordered = stableOrder(sources, await this.changeCounts(), new Set(unsaved.keys()));
    await inSlices(ordered, (file) => file.ids(tokenizer), signal);

    const fingerprint = fingerprintOf(ordered);
    const total = ordered.reduce((sum, file) => sum + file.ids(tokenizer).length, 0);
    if (total <= (previous?.whole ? request.ceiling : request.budget)) {
      const all = ordered.map((file) => packedPart(tokenizer, file, { path: file.path, text: file.text }));
      return { files: all, leftOut, tokens: total, whole: true, fingerprint };
    }
    const selection = await selectParts(ordered, request);
    if (
      previous &&
      previous.fingerprint === fingerprint &&
      previous.tokens <= request.ceiling &&
      (!selection.matches || selection.best.every((part) => covers(previous, part)))
    ) {
      return previous;
    }
    const tokens = selection.files.reduce((sum, file) => sum + file.tokens, 0);
    return {
      files: selection.files,
      leftOut: [...leftOut, ...rest(ordered, selection.files, tokenizer)],
      tokens,
      whole: false,
      fingerprint,
    };
  }

  private async changeCounts(): Promise<ReadonlyMap<string, number>> {
    const now = performance.now();
    if (!this.counts || now - this.counts.time > COUNTS_VALID_MS) {
      this.counts = { value: await changeCounts(this.roots), time: now };
    }
    return this.counts.value;
  }
}

function covers(packed: Packed, part: PromptFile): boolean {
  return packed.files.some(
    (file) =>
      file.path === part.path &&
      (!file.lines ||
        (part.lines !== undefined &&
          file.lines.first <= part.lines.first &&
          file.lines.last >= part.lines.last)),
  );
}

/** Files, and the rest of files, that the budget left out. */
function rest(ordered: readonly SourceFile[], taken: readonly PackedFile[], tokenizer: Tokenizer): LeftOut[] {
  const used = new Map<string, number>();
  for (const file of taken) {
    used.set(file.path, file.lines ? (used.get(file.path) ?? 0) + file.tokens : Number.POSITIVE_INFINITY);
  }
  return ordered.flatMap((file): LeftOut[] => {
    const left = file.ids(tokenizer).length - (used.get(file.path) ?? 0);
    return left > 0 ? [{ path: file.path, reason: 'budget', tokens: left }] : [];
  });
}

function fingerprintOf(ordered: readonly SourceFile[]): string {
  const hash = createHash('sha256');
  for (const { path, version } of ordered) hash.update(`${path}\0${version}\0`);
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
