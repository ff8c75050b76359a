/** What a subcommand is, what it is given, and how it says that it was called wrongly. */
import type { ParseArgsOptionsConfig } from 'node:util';
import type { EngineOptions } from '../engine/engine.ts';
import type { GemmaEngine } from '../engine/gemma-engine.ts';

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What follows the name, for example "[--file F] [TEXT]". */
  readonly usage: string;
  /** Options besides the common ones, as `node:util` parseArgs takes them. */
  readonly options: ParseArgsOptionsConfig;
  /** Throws {@link UsageError} for wrong arguments (exit code 2), anything else for a failure (exit code 1). */
  run(context: CliContext): Promise<void>;
}

/** Options that every subcommand takes, checked. */
export interface CommonOptions {
  /** Null: the built-in model. */
  readonly model: string | null;
  readonly mmproj: string | null;
  readonly threads: number | undefined;
  readonly backend: 'auto' | 'cpu' | 'gpu';
  readonly contextLength: number | undefined;
  readonly precision: 'int8' | 'bf16' | 'f32';
  readonly kv: 'auto' | 'f16' | 'int8' | 'int4';
  /** Positions that a token reads far behind; undefined: all. */
  readonly sparse: number | undefined;
  readonly speculation: boolean;
  /** Null: drafts come from repetitions only. */
  readonly draftModel: string | null;
  readonly outputShadow: boolean;
  /** Where KV is kept on disk; null keeps none. */
  readonly cacheFolder: string | null;
}

export interface CliContext {
  /** The command's own options as strings and booleans; read them with the functions of options.ts. */
  readonly values: OptionValues;
  readonly positionals: readonly string[];
  readonly common: CommonOptions;
  readonly json: boolean;
  /** Fires on the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  readonly version: string;
  /** Text for a person on stdout; nothing with `--json`. */
  print(text: string): void;
  /** The one object that `--json` writes to stdout; nothing without it. Called at most once. */
  result(value: object): void;
  /** One line on stderr. */
  log(line: string): void;
  /** The chosen model file. Throws if it is the built-in one and that is missing. */
  modelPath(): string;
  /** Loads the chosen model with the common options; the caller disposes of it. */
  loadEngine(options?: Partial<EngineOptions>): Promise<GemmaEngine>;
}

export type OptionValues = Readonly<
  Record<string, string | boolean | readonly (string | boolean)[] | undefined>
>;

/** Wrong usage: the message is one line that names the argument. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
