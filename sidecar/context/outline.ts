/**
 * A file that does not fit, as the list of what it defines: each signature with its line and the first sentence of its comment;
 * or, shorter, the names alone. The same bytes for the same text.
 */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import type { PackedFile } from './packed-file.ts';
import type { Definition, FileSymbols } from './symbols/extract.ts';

const LONGEST_LINE = 160;
/** Definitions of an outline; a file with more is a list itself. */
const MOST_LINES = 200;

/** Empty where the file defines nothing that is known of. */
export function outlineOf({ definitions }: FileSymbols): string {
  return definitions.slice(0, MOST_LINES).map(outlineLine).join('\n');
}

/** One line: the names at top level, each with its line. */
export function namesOf({ definitions }: FileSymbols): string {
  const names = definitions.filter(({ depth }) => depth === 0).slice(0, MOST_LINES);
  return names.map(({ name, line }) => `${name}:${line}`).join(', ');
}

/** Whether `told`, an outline or names, still says what the file defines; lines may have moved. */
export function stillHolds(told: string, symbols: FileSymbols): boolean {
  const plain = withoutLines(told);
  return plain === withoutLines(outlineOf(symbols)) || plain === withoutLines(namesOf(symbols));
}

/** Null where the file defines nothing, or the outline would take more than `most` tokens. */
export function packedOutline(
  tokenizer: Tokenizer,
  path: string,
  symbols: FileSymbols,
  most: number,
): PackedFile | null {
  for (const text of [outlineOf(symbols), namesOf(symbols)]) {
    if (text === '') return null;
    const packed = outlinePart(tokenizer, path, text);
    if (packed.tokens <= most) return packed;
  }
  return null;
}

export function outlinePart(tokenizer: Tokenizer, path: string, text: string): PackedFile {
  const part = { path, text, outline: true } as const;
  const ids = encodeFile(tokenizer, part);
  return { ...part, ids, tokens: ids.length, as: 'outline' };
}

function outlineLine({ line, depth, text, says }: Definition): string {
  const signature = `${line}| ${'  '.repeat(depth)}${shortened(text)}`;
  return says === null ? signature : `${signature} — ${shortened(says)}`;
}

function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ').replace(/\p{Cc}/gu, '\ufffd');
  const characters = Array.from(line);
  return characters.length <= LONGEST_LINE
    ? line
    : `${characters.slice(0, LONGEST_LINE).join('').trimEnd()} …`;
}

function withoutLines(text: string): string {
  return text.replace(/^\d+\| /gm, '').replace(/:\d+(?=,|$)/gm, '');
}
