/**
 * What of a workspace stands in the prompt: the head, which stays while files change and is kept on disk beside its KV, and the
 * journal of what changed since.
 */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import type { Choice } from './choice.ts';
import { type LeftOut, SourceFile } from './files.ts';
import type { StoredHead } from './head-store.ts';
import type { JournalEntry } from './journal.ts';
import { outlinePart } from './outline.ts';
import { type PackedFile, packedPart } from './packed-file.ts';

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

export function storedHead({ head, whole }: Packed): StoredHead {
  const inWhole = new Set(
    head.files.filter(({ lines, outline }) => !lines && !outline).map(({ path }) => path),
  );
  return {
    whole,
    spent: head.spent,
    choice: head.choice,
    files: head.files.map(({ path, text, lines, outline }) => ({
      path,
      text,
      ...(lines && { lines }),
      ...(outline && { outline }),
    })),
    base: [...head.base.values()]
      .filter(({ path }) => !inWhole.has(path))
      .map(({ path, text }) => ({ path, text })),
  };
}

/** As it was laid out before a restart; its fingerprint is none, since files may have changed. */
export function restored(stored: StoredHead, tokenizer: Tokenizer): Packed {
  const { whole, spent, choice } = stored;
  const base = new Map(stored.base.map(({ path, text }) => [path, new SourceFile(path, text, 'stored')]));
  const files = stored.files.map((part) => {
    if (part.outline) return outlinePart(tokenizer, part.path, part.text);
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
export function laidOut(files: readonly PackedFile[], ordered: readonly SourceFile[], choice: Choice) {
  const shown = new Set(files.filter((file) => !isOutline(file)).map(({ path }) => path));
  const base = new Map(ordered.filter(({ path }) => shown.has(path)).map((file) => [file.path, file]));
  const tokens = files.reduce((sum, file) => sum + file.tokens, 0);
  return { files, tokens, head: { files, tokens, base, spent: 0, choice }, journal: [], continued: false };
}

export function isOutline({ as }: PackedFile): boolean {
  return as === 'outline';
}
