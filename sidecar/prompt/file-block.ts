/**
 * One file, or a contiguous part of one, as it stands in a prompt: a header and the text, with line numbers where they
 * help to cite (first lines of blocks, definitions, every tenth line), so that they cost few tokens. A part's numbers
 * are those of its lines in the file. The form is shared to the byte with training/pipeline/prompt_form.py.
 */

export interface PromptFile {
  /** Workspace-relative, forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Where `text` lies in its file when it is only a part: 1-based, inclusive. */
  readonly lines?: { readonly first: number; readonly last: number };
  /** No file: a difference, problems, a terminal. Its lines have no numbers. */
  readonly plain?: boolean;
  /** `text` is no part of the file but lists what it defines, with its own numbers. */
  readonly outline?: boolean;
}

/** A line is numbered at the latest when this many have passed since the last number. */
const NUMBER_EVERY = 10;

/** Ends without a line feed, unless the file has no text: then its header is followed by one. */
export function fileBlock(file: PromptFile): string {
  // A file name may hold line feeds; in a header they could pass for lines of the prompt.
  const path = file.path.replace(/\p{Cc}/gu, '\ufffd');
  if (file.outline) return `=== ${path} (outline)\n${withoutFinalLineFeeds(file.text)}`;
  const text = file.plain ? withoutFinalLineFeeds(file.text) : numberLines(file.text, file.lines?.first ?? 1);
  return `=== ${path}\n${text}`;
}

/** Text with its sparse line numbers; line feeds only, none at the end. */
export function numberLines(text: string, firstLine = 1): string {
  const lines = withoutFinalLineFeeds(text.replace(/\r\n/g, '\n')).split('\n');
  let lastNumbered = Number.NEGATIVE_INFINITY;
  let previousBlank = true;
  return lines
    .map((line, index) => {
      const blank = line.trim() === '';
      const starts = previousBlank || /^[A-Za-z_@#<]/.test(line) || index - lastNumbered >= NUMBER_EVERY;
      previousBlank = blank;
      if (blank || !starts) return line;
      lastNumbered = index;
      return `${firstLine + index}| ${line}`;
    })
    .join('\n');
}

/** In linear time, which a regular expression would not take on long runs of line feeds. */
export function withoutFinalLineFeeds(text: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === '\n') end--;
  return text.slice(0, end);
}
