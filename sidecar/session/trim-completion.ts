/** What of a model's continuation is worth showing at the cursor: one line, or the block that the line opens. */

const MAX_LINES = 12;
/** Where the next line with text is looked for, and how long it is at least to be more than a closing bracket. */
const NEXT_LINES = 4;
const TELLING = 4;

export interface Trimmed {
  readonly text: string;
  /** More text from the model could not change `text`. */
  readonly complete: boolean;
}

export function trimCompletion(raw: string, prefix: string, suffix: string): Trimmed {
  const before = prefix.slice(prefix.lastIndexOf('\n') + 1);
  const after = suffix.split('\n', 1)[0]!;
  // In the middle of a line, or after code on it that opens no block, only the rest of this line.
  const multiline = after.trim() === '' && (before.trim() === '' || /[{([:]\s*$|=>\s*$/.test(before));
  const lines = raw.replace(/\r\n?/g, '\n').split('\n');
  // The editor has closed the bracket already.
  const insideBrackets = /[{([]\s*$/.test(before) && /^\s*[})\]]/.test(after);
  if (insideBrackets && lines.length > 1 && lines[0]!.trim() === '') return bodyInside(lines, before);
  const end = multiline ? Math.min(blockEnd(lines, indentation(before)), repeatedFrom(lines, suffix)) : 1;
  const text = withoutOverlap(lines.slice(0, end).join('\n').trimEnd(), after);
  return { text, complete: lines.length > end };
}

/** Number of lines until the block ends: a blank line, or a line less indented than where we began. */
function blockEnd(lines: readonly string[], indent: number): number {
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!;
    if (i >= MAX_LINES) return i;
    // The last line may still be growing: what it holds and how far it is indented is not known yet.
    if (i === lines.length - 1) break;
    if (line.trim() === '' || indentation(line) < indent) return i;
    if (indentation(line) === indent && /^\s*[})\]]/.test(line)) return i + 1;
  }
  return lines.length;
}

/** Index of the first line, after the cursor's own, that already stands next in the file; past the end if none does. */
function repeatedFrom(lines: readonly string[], suffix: string): number {
  const next = suffix
    .split(/\r?\n/, NEXT_LINES)
    .slice(1)
    .find((line) => line.trim().length >= TELLING);
  if (next === undefined) return lines.length;
  // The last line may still be growing into something else.
  const found = lines.findIndex(
    (line, i) => i > 0 && i < lines.length - 1 && line.trimEnd() === next.trimEnd(),
  );
  return found < 0 ? lines.length : found;
}

/** The lines that a bracket opened by `before` holds, and the line feed after which its closing one stands. */
function bodyInside(lines: readonly string[], before: string): Trimmed {
  const indent = indentation(before);
  const found = lines.findIndex((line, i) => {
    if (i === 0) return false;
    const growing = i === lines.length - 1;
    return i >= MAX_LINES || (line.trim() === '' ? !growing : indentation(line) <= indent);
  });
  const body = (found < 0 ? lines : lines.slice(0, found)).join('\n').trimEnd();
  const text = body === '' ? '' : `${body}\n${before.slice(0, indent)}`;
  return { text, complete: found >= 0 };
}

function indentation(line: string): number {
  return line.length - line.trimStart().length;
}

/** Drops from the end what already stands after the cursor, such as a closing bracket. */
function withoutOverlap(text: string, after: string): string {
  const rest = after.trim();
  if (rest === '') return text;
  for (let length = Math.min(rest.length, text.length); length > 0; length--) {
    if (text.endsWith(rest.slice(0, length))) return text.slice(0, -length);
  }
  return text;
}
