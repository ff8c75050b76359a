/** The mention under the cursor of a draft, and what choosing one makes of the text. Pure. */

import type { Mention } from '../sidecar/protocol/context-types.ts';

/** Where a mention is being typed. */
export interface MentionTarget {
  /** Of the @. */
  readonly start: number;
  /** Of the cursor. */
  readonly end: number;
  /** Without the @, and without the quote of a path that has spaces. */
  readonly query: string;
}

const LONGEST_QUERY = 200;

/** Null when the cursor is in no mention: an @ counts only at the start of a word, so that addresses stay text. */
export function mentionAt(draft: string, cursor: number): MentionTarget | null {
  const before = draft.slice(Math.max(0, cursor - LONGEST_QUERY), cursor);
  const match = /(?:^|[\s(])@(?:"([^"\n]*)|([^\s"]*))$/.exec(before);
  if (match === null) return null;
  const query = match[1] ?? match[2] ?? '';
  const length = match[1] === undefined ? query.length + 1 : query.length + 2;
  return { start: cursor - length, end: cursor, query };
}

/** The draft with `mention` in place of what was typed, and where the cursor then stands. */
export function insertMention(
  draft: string,
  { start, end }: MentionTarget,
  mention: Mention,
): { readonly draft: string; readonly cursor: number } {
  // A folder may be typed on into; anything else is followed by a space.
  const rest = draft.slice(end);
  const space = mention.kind === 'folder' || /^\s/.test(rest) ? '' : ' ';
  const inserted = mention.insert + space;
  return { draft: draft.slice(0, start) + inserted + rest, cursor: start + inserted.length };
}

/** The draft without the mention `name`, as when it does not fit. */
export function withoutMention(draft: string, name: string): string {
  const spellings = [name, `@${name}`, `@"${name}"`, `@file:${name}`, `@folder:${name}`].sort(
    (a, b) => b.length - a.length,
  );
  for (const spelling of spellings) {
    const at = draft.indexOf(spelling);
    if (at >= 0)
      return (draft.slice(0, at) + draft.slice(at + spelling.length)).replace(/ {2,}/g, ' ').trim();
  }
  return draft;
}

/** `label` cut where it matches and where it does not, in order. */
export function matchedParts(
  label: string,
  matches: readonly number[],
): { readonly text: string; readonly matched: boolean }[] {
  const hits = new Set(matches);
  const parts: { text: string; matched: boolean }[] = [];
  for (let i = 0; i < label.length; i++) {
    const matched = hits.has(i);
    const last = parts.at(-1);
    if (last?.matched === matched) last.text += label[i];
    else parts.push({ text: label[i] ?? '', matched });
  }
  return parts;
}
