/** Places of the form `path:line` or `path:line-line` in an answer. */

export interface Citation {
  readonly path: string;
  readonly line: number;
  readonly endLine?: number;
}

export type Piece = { readonly text: string; readonly citation?: Citation };

// A name may hold balanced brackets, as routes of web frameworks do: `app/(shop)/[id].ts`.
const NAME = String.raw`@?(?:[\w.+-]|\([\w-]+\)|\[[\w.-]+\])+`;
// The last part of a path needs an extension that starts with a letter, or a folder before it, or a well-known name.
const FILE = String.raw`(?:(?:${NAME}\/)+${NAME}|${NAME}\.[A-Za-z]\w{0,11}|Makefile|Dockerfile|LICENSE)`;
// It must not follow a character that makes it the tail of something else, such as an address.
const CITATION = new RegExp(
  String.raw`(?<![\w/:@.\\-])(?<path>${FILE})(?::|#L|, lines? )(?<line>[1-9]\d{0,6})(?:-L?(?<end>[1-9]\d{0,6}))?(?![\w/])`,
  'g',
);

/** The text cut into plain pieces and citations, in order; joined, they are the text again. */
export function splitCitations(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(CITATION)) {
    const { path, line, end } = match.groups ?? {};
    if (path === undefined || line === undefined) continue;
    if (match.index > at) pieces.push({ text: text.slice(at, match.index) });
    const citation = { path, line: Number(line), ...(end === undefined ? {} : { endLine: Number(end) }) };
    pieces.push({ text: match[0], citation });
    at = match.index + match[0].length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at) });
  return pieces;
}
