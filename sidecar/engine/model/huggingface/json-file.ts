/** JSON files of a Hugging Face checkpoint: read under a size limit, every value checked before it is used. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { quoted } from '../gguf-error.ts';

/**
 * - `incomplete`: a file is missing or ends before what it declares.
 * - `invalid`: a field contradicts the format, a limit or another field.
 * - `unsupported`: a well-formed checkpoint that is no Gemma 3 text model, or says what a GGUF file cannot.
 */
export type CheckpointProblem = 'incomplete' | 'invalid' | 'unsupported';

/** What is wrong with a checkpoint, in a sentence that begins with the file's path. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
  readonly problem: CheckpointProblem;
  readonly file: string;

  constructor(problem: CheckpointProblem, file: string, sentence: string) {
    super(`${file} ${sentence}`);
    this.problem = problem;
    this.file = file;
  }
}

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value`, or an object without fields where it is none. */
export function asObject(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/** Reads an object from `file`, of at most `limit` bytes. Throws {@link CheckpointError}, or the system's error. */
export function readJsonFile(file: string, limit: number): JsonObject {
  const { size } = statSync(file);
  if (size > limit) {
    throw new CheckpointError('invalid', file, `has ${size} bytes; at most ${limit} are read.`);
  }
  return parseJsonObject(readFileSync(file, 'utf8'), file);
}

/** Parses text that came from `file`. */
export function parseJsonObject(text: string, file: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? quoted(error.message) : 'unknown';
    throw new CheckpointError('invalid', file, `is not valid JSON: ${reason}.`);
  }
  if (!isObject(value)) throw new CheckpointError('invalid', file, 'holds no JSON object.');
  return value;
}

/** A name inside a checkpoint as a path, if it is a plain file name: an index must not lead elsewhere. */
export function siblingFile(folder: string, name: string, mentionedIn: string): string {
  if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name)) {
    throw new CheckpointError(
      'invalid',
      mentionedIn,
      `names the file ${quoted(name)}, which is not beside it.`,
    );
  }
  return path.join(folder, name);
}
