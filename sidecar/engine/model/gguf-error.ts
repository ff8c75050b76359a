/**
 * What is wrong with a GGUF file, in a sentence that names the field and the byte where it was seen. Who opens the file
 * adds its path ({@link namingFile}); what parses does not know it.
 */

/**
 * - `notGguf`: the first bytes are something else.
 * - `incomplete`: the file ends before what it declares.
 * - `invalid`: a field contradicts the format, a limit or another field.
 * - `unsupported`: a well-formed file that this program does not read.
 * - `missing`: a key or tensor that the caller needs is not there.
 */
export type GgufProblem = 'notGguf' | 'incomplete' | 'invalid' | 'unsupported' | 'missing';

export class GgufError extends Error {
  override readonly name = 'GgufError';
  readonly problem: GgufProblem;
  /** For example "version", "gemma3.block_count" or "blk.0.attn_q.weight.offset". */
  readonly field: string;
  /** Where in the file the field stands (0 for things that are absent). */
  readonly byteOffset: number;

  constructor(problem: GgufProblem, field: string, byteOffset: number, sentence: string) {
    super(sentence);
    this.problem = problem;
    this.field = field;
    this.byteOffset = byteOffset;
  }

  /** The same with the path in the sentence: in place of "The file", or in front. */
  in(path: string): GgufError {
    const { problem, field, byteOffset, message } = this;
    const sentence = message.startsWith(ANONYMOUS)
      ? `${path} ${message.slice(ANONYMOUS.length)}`
      : `${path}: ${message}`;
    return new GgufError(problem, field, byteOffset, sentence);
  }
}

/** How sentences about the file as a whole begin. */
const ANONYMOUS = 'The file ';

/** Runs `read`; a {@link GgufError} from it gets the name of the file. */
export function namingFile<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof GgufError ? error.in(path) : error;
  }
}

/** Text from a file, made safe to show: short, in quotes, with control and invisible characters escaped. */
export function quoted(text: string): string {
  const short = text.length > 64 ? `${text.slice(0, 64)}…` : text;
  const visible = short.replace(
    /[\p{C}\p{Zl}\p{Zp}"\\]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return `"${visible}"`;
}
