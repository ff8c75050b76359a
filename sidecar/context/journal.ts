/**
 * What changed since the head of the prompt was read, told after it, so that the head, and with it its KV, stays. One entry a file,
 * the file that changed last at the end: an edit then costs its own entry, and the next edit of the same file only that again.
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
  /** The text this entry tells; null for a deleted file. */
  readonly source: SourceFile | null;
  readonly files: readonly PackedFile[];
  readonly tokens: number;
}

/** Lines shown around a change, for a model to find its place. */
const AROUND = 1;

/**
 * The journal from `base` (what the head shows, by path) to `current`. Entries of `before` that still hold keep their place
 * and ids; new ones follow. `tellNew` is false where the head never held the whole workspace.
 */
export function journalOf(
  tokenizer: Tokenizer,
  base: ReadonlyMap<string, SourceFile>,
  current: readonly SourceFile[],
  before: readonly JournalEntry[],
  tellNew: boolean,
): JournalEntry[] {
  const now = new Map(current.map((file) => [file.path, file]));
  const gone = [...base.values()].filter(({ path }) => !now.has(path));
  const kept = before.filter((entry) => holds(entry, base, now));
  const told = new Set(kept.map(({ path }) => path));
  const added: JournalEntry[] = [];
  const moved = new Set<string>();
  for (const file of current) {
    if (told.has(file.path)) continue;
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
    const files = [said(tokenizer, path, `Since then ${shown(path)} was deleted.`)];
    added.push({ path, change: 'deleted', source: null, files, tokens: files[0]!.tokens });
  }
  return [...kept, ...added];
}

function holds(
  entry: JournalEntry,
  base: ReadonlyMap<string, SourceFile>,
  now: ReadonlyMap<string, SourceFile>,
): boolean {
  const file = now.get(entry.path);
  if (entry.source === null) return file === undefined && base.has(entry.path);
  return file !== undefined && file.text === entry.source.text && base.get(entry.path)?.text !== file.text;
}

/** The changed lines, or the whole file where that is no longer. */
function editedEntry(tokenizer: Tokenizer, old: SourceFile, file: SourceFile): JournalEntry {
  const before = withoutFinalLineFeeds(old.text).split('\n');
  const after = withoutFinalLineFeeds(file.text).split('\n');
  const changes = lineChanges(before, after);
  const sentences = changes.map(({ oldFirst, oldCount, newFirst, newCount }) => {
    const is = newCount === 0 ? 'are gone' : `are ${range(newFirst, newCount)} now`;
    return oldCount === 0 ? `${range(newFirst, newCount)} are new` : `${range(oldFirst, oldCount)} ${is}`;
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
  return tokens < whole.tokens ? { path: file.path, change: 'edited', source: file, files, tokens } : whole;
}

function wholeEntry(
  tokenizer: Tokenizer,
  file: SourceFile,
  heading: string,
  change: 'edited' | 'new',
): JournalEntry {
  const files = [headed(tokenizer, { path: file.path, text: file.text }, heading)];
  return { path: file.path, change, source: file, files, tokens: files[0]!.tokens };
}

function renamedEntry(tokenizer: Tokenizer, from: SourceFile, file: SourceFile): JournalEntry {
  const files = [
    said(tokenizer, file.path, `Since then ${shown(from.path)} was renamed to ${shown(file.path)}.`),
  ];
  return { path: file.path, change: 'renamed', source: file, files, tokens: files[0]!.tokens };
}

function headed(tokenizer: Tokenizer, part: PromptFile, heading: string): PackedFile {
  return { ...part, ...counted(tokenizer.encode(`\n\n${heading}\n\n${fileBlock(part)}`)) };
}

function said(tokenizer: Tokenizer, path: string, sentence: string): PackedFile {
  return { path, text: '', ...counted(tokenizer.encode(`\n\n${sentence}`)) };
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
