/** Cuts a file into contiguous parts at blank lines and definitions, for when not all of it fits. */

import { withoutFinalLineFeeds } from '../prompt/file-block.ts';

export interface Chunk {
  /** 1-based, inclusive. */
  readonly first: number;
  readonly last: number;
  readonly text: string;
  /** It goes on with what the part before it began. */
  readonly continues: boolean;
}

/** A line that begins something of its own: not indented, and a word, a decorator, a heading, a tag or a comment. */
const BEGINS = /^(?:[A-Za-z_@#<]|\/[/*])/;
/** A comment or a decorator belongs to what follows it. */
const BELONGS_TO_NEXT = /^\s*(?:\/\/|\/?\*|#(?!include|define|endif|pragma)|@)/;

/** Parts of at most about `characters` each (a single longer line stays whole); together they are the file. */
export function chunksOf(text: string, characters: number): Chunk[] {
  const lines = withoutFinalLineFeeds(text).split('\n');
  const chunks: Chunk[] = [];
  let first = 0;
  while (first < lines.length) {
    let last = first;
    let size = lines[first]!.length + 1;
    while (last + 1 < lines.length && size + lines[last + 1]!.length + 1 <= characters) {
      last++;
      size += lines[last]!.length + 1;
    }
    if (last + 1 < lines.length) last = bestCut(lines, first, last);
    const continues = first > 0 && lines[first - 1]!.trim() !== '' && !BEGINS.test(lines[first]!);
    chunks.push({
      first: first + 1,
      last: last + 1,
      text: lines.slice(first, last + 1).join('\n'),
      continues: continues || /^\s/.test(firstFilled(lines, first)),
    });
    first = last + 1;
  }
  return chunks;
}

/** A comment or docstring that a file begins with; longer ones are licences. */
const HEADING =
  /^(?:#![^\n]*\n)?\s{0,8}(?:\/\*[\s\S]{0,600}?\*\/|(?:(?:\/\/|#)[^\n]{0,200}\n){1,8}|"""[\s\S]{0,600}?""")/;

/** What a file says of itself at its beginning; empty where it says nothing. */
export function headingOf(text: string): string {
  return HEADING.exec(text)?.[0] ?? '';
}

function firstFilled(lines: readonly string[], from: number): string {
  let i = from;
  while (i < lines.length - 1 && lines[i]!.trim() === '') i++;
  return lines[i]!;
}

/** The line to end a part with: before a definition after a blank line, else a blank line, else a definition, else the last. */
function bestCut(lines: readonly string[], first: number, last: number): number {
  let best = last;
  let bestScore = 0;
  // A cut in the first half would make parts too small to be worth their header.
  for (let i = last; i > first + (last - first) / 2; i--) {
    const blank = lines[i]!.trim() === '';
    const begins = BEGINS.test(lines[i + 1] ?? '');
    if (BELONGS_TO_NEXT.test(lines[i]!)) continue;
    const score = (blank ? 2 : 0) + (begins ? 1 : 0);
    if (score > bestScore) {
      best = i;
      bestScore = score;
    }
  }
  return best;
}
