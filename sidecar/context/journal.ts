/**
 * What changed since the head of the prompt was read, told after it, so that the head, and with it its KV, stays. One entry a file,
 * the file that changed last at the end: an edit then costs its own entry, and the next edit of the same file only that again. In a
 * conversation a question tells only what the questions before it have not told.
 */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import { fileBlock, type PromptFile, withoutFinalLineFeeds } from '../prompt/file-block.ts';
import type { SourceFile } from './files.ts';
import { lineChanges } from './line-changes.ts';
import type { PackedFile } from './packed-file.ts';

export interface JournalEntry {
  readonly path: string;
  readonly change: 'edited' | 'new' | 'deleted' | 'renamed';
  /** It says that the change, told before, no longer holds. */
  readonly undone?: boolean;
  /** What a renamed file was called. */
  readonly from?: string;
  /** The text this entry tells; null for a file that is gone. */
  readonly source: SourceFile | null;
  /** Of a file that the head only outlines: what it defines now. */
  readonly outline?: string;
  /** As it stands in the prompt. */
  readonly text: string;
  readonly files: readonly PackedFile[];
  readonly tokens: number;
}

/** Lines shown around a change, for a model to find its place. */
const AROUND = 1;

/** What a journal goes on from. */
export interface Told {
  /** What the head shows, by path. */
  readonly base: ReadonlyMap<string, SourceFile>;
  /** Files that the head outlines and that define something else now, with their outlines of now. */
  readonly outlines: ReadonlyMap<string, string>;
}

/**
 * The journal from what the head tells to `current`. Entries of `before` that still hold keep their place
 * and ids; new ones follow. `tellNew` is false where the head never held the whole workspace.
 */
export function journalOf(
  tokenizer: Tokenizer,
  { base, outlines }: Told,
  current: readonly SourceFile[],
  before: readonly JournalEntry[],
  tellNew: boolean,
): JournalEntry[] {
  const now = new Map(current.map((file) => [file.path, file]));
  const gone = [...base.values()].filter(({ path }) => !now.has(path));
  const kept = before.filter((entry) => holds(entry, { base, outlines }, now));
  const told = new Set(kept.map(({ path }) => path));
  const added: JournalEntry[] = [];
  const moved = new Set<string>();
  for (const file of current) {
    if (told.has(file.path)) continue;
    const outline = outlines.get(file.path);
    if (outline !== undefined) added.push(outlineEntry(tokenizer, file, outline));
    const old = base.get(file.path);
    if (old) {
      if (old.text !== file.text) added.push(editedEntry(tokenizer, old, file));
    } else if (tellNew || gone.some(({ text }) => text === file.text)) {
      const from = gone.find(({ path, text }) => text === file.text && !moved.has(path) && !told.has(path));
      if (from) {
        moved.add(from.path);
        added.push(renamedEntry(tokenizer, from, file));
      } else if (tellNew)
        added.push(wholeEntry(tokenizer, file, `Since then ${shown(file.path)} was added:`, 'new'));
    }
  }
  for (const { path } of gone) {
    const renamed =
      moved.has(path) || kept.some((e) => e.change === 'renamed' && e.source?.text === base.get(path)?.text);
    if (told.has(path) || renamed) continue;
    added.push(said(tokenizer, { path, change: 'deleted' }, `Since then ${shown(path)} was deleted.`));
  }
  return [...kept, ...added];
}

/** What of `journal` is yet to be told to somebody who was told `before`, and what of that no longer holds. */
export function untold(
  tokenizer: Tokenizer,
  journal: readonly JournalEntry[],
  before: readonly JournalEntry[],
): JournalEntry[] {
  const last = new Map(before.map((entry) => [entry.path, entry]));
  const now = new Set(journal.map(({ path }) => path));
  const gone = [...last.values()].filter(({ path, undone }) => !now.has(path) && !undone);
  return [
    ...gone.map((entry) => ({
      ...said(tokenizer, { path: entry.path, change: entry.change }, undoneSentence(entry, now)),
      undone: true,
    })),
    ...journal.filter((entry) => last.get(entry.path) !== entry),
  ];
}

function undoneSentence({ path, change, from }: JournalEntry, now: ReadonlySet<string>): string {
  if (change === 'renamed' && from !== undefined && !now.has(from))
    return `Since then ${shown(path)} is called ${shown(from)} again.`;
  if (change === 'new' || change === 'renamed') return `Since then ${shown(path)} was deleted.`;
  return `Since then ${shown(path)} is again as it was at first.`;
}

function holds(entry: JournalEntry, { base, outlines }: Told, now: ReadonlyMap<string, SourceFile>): boolean {
  const file = now.get(entry.path);
  if (entry.outline !== undefined) return file !== undefined && outlines.get(entry.path) === entry.outline;
  if (entry.source === null) return file === undefined && base.has(entry.path);
  return file !== undefined && file.text === entry.source.text && base.get(entry.path)?.text !== file.text;
}

/** The changed lines, or the whole file where that is no longer. */
function editedEntry(tokenizer: Tokenizer, old: SourceFile, file: SourceFile): JournalEntry {
  const before = withoutFinalLineFeeds(old.text).split('\n');
  const after = withoutFinalLineFeeds(file.text).split('\n');
  const changes = lineChanges(before, after);
  const sentences = changes.map(({ oldFirst, oldCount, newFirst, newCount }) => {
    const is = (count: number) => (count === 1 ? 'is' : 'are');
    if (oldCount === 0) return `${range(newFirst, newCount)} ${is(newCount)} new`;
    const become = newCount === 0 ? 'gone' : `${range(newFirst, newCount)} now`;
    return `${range(oldFirst, oldCount)} ${is(oldCount)} ${become}`;
  });
  const parts = changes.map(({ newFirst, newCount }): PromptFile => {
    const first = Math.max(1, newFirst - AROUND);
    const last = Math.min(after.length, newFirst + newCount - 1 + AROUND);
    return { path: file.path, text: after.slice(first - 1, last).join('\n'), lines: { first, last } };
  });
  const heading = `Since then ${shown(file.path)} has changed: ${sentences.join('; ')}.`;
  const whole = wholeEntry(
    tokenizer,
    file,
    `Since then ${shown(file.path)} has changed and is now:`,
    'edited',
  );
  if (parts.length === 0 || after.length <= 2 * AROUND) return whole;
  const files = parts.map((part, i) =>
    i === 0 ? headed(tokenizer, part, heading) : { ...part, ...counted(encodeFile(tokenizer, part)) },
  );
  const tokens = files.reduce((sum, part) => sum + part.tokens, 0);
  if (tokens >= whole.tokens) return whole;
  const text = [heading, ...parts.map(fileBlock)].join('\n\n');
  return { path: file.path, change: 'edited', source: file, text, files, tokens };
}

function wholeEntry(
  tokenizer: Tokenizer,
  file: SourceFile,
  heading: string,
  change: 'edited' | 'new',
): JournalEntry {
  const part = { path: file.path, text: file.text };
  const files = [headed(tokenizer, part, heading)];
  const text = `${heading}\n\n${fileBlock(part)}`;
  return { path: file.path, change, source: file, text, files, tokens: files[0]!.tokens };
}

function outlineEntry(tokenizer: Tokenizer, file: SourceFile, outline: string): JournalEntry {
  if (outline === '')
    return {
      ...said(
        tokenizer,
        { path: file.path, change: 'edited' },
        `Since then ${shown(file.path)} defines nothing any more.`,
      ),
      outline,
    };
  const heading = `Since then ${shown(file.path)} has changed and defines now:`;
  const part = { path: file.path, text: outline, outline: true } as const;
  const files = [headed(tokenizer, part, heading)];
  const text = `${heading}\n\n${fileBlock(part)}`;
  return { path: file.path, change: 'edited', source: file, outline, text, files, tokens: files[0]!.tokens };
}

function renamedEntry(tokenizer: Tokenizer, from: SourceFile, file: SourceFile): JournalEntry {
  const sentence = `Since then ${shown(from.path)} was renamed to ${shown(file.path)}.`;
  const entry = { path: file.path, change: 'renamed', from: from.path } as const;
  return { ...said(tokenizer, entry, sentence), source: file };
}

function headed(tokenizer: Tokenizer, part: PromptFile, heading: string): PackedFile {
  return { ...part, ...counted(tokenizer.encode(`\n\n${heading}\n\n${fileBlock(part)}`)) };
}

function said(
  tokenizer: Tokenizer,
  entry: Pick<JournalEntry, 'path' | 'change' | 'from'>,
  sentence: string,
): JournalEntry {
  const file = { path: entry.path, text: '', ...counted(tokenizer.encode(`\n\n${sentence}`)) };
  return { ...entry, source: null, text: sentence, files: [file], tokens: file.tokens };
}

function counted(ids: Uint32Array) {
  return { ids, tokens: ids.length, as: 'changed' as const };
}

function range(first: number, count: number): string {
  return count === 1 ? `line ${first}` : `lines ${first}-${first + count - 1}`;
}

/** As in file headers: no control character may pass for a line of the prompt. */
function shown(path: string): string {
  return path.replace(/\p{Cc}/gu, '\ufffd');
}
